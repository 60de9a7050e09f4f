//! The numbers of admission, and what counts as one client. Owns no state.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

pub use super::bucket::Rate;

/// What counts as one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ClientKey {
    /// Its address, except where many can't be told apart by it: on a loopback
    /// address, where a relay on this machine is the peer of all, a connection
    /// is a client.
    Auto,
    /// Its address, whatever it is.
    Address,
    /// Each connection: for nodes behind a relay on another machine.
    Connection,
}

impl ClientKey {
    /// The key of a peer, or `None` where its connection is the client. IPv6 by
    /// the 64 bits that one subscriber is given; IPv4 in IPv6 is IPv4.
    pub(super) fn address(self, peer: IpAddr) -> Option<[u8; 16]> {
        let peer = peer.to_canonical();
        match self {
            Self::Connection => None,
            Self::Auto if peer.is_loopback() => None,
            Self::Auto | Self::Address => Some(match peer {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => {
                    let [a, b, c, d, ..] = v6.segments();
                    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).octets()
                }
            }),
        }
    }
}

/// Limits on who may come in, and how fast. Counts of one client don't apply
/// where each connection is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// What counts as one client.
    pub client_key: ClientKey,
    /// TLS handshakes at once, of all clients.
    pub handshakes: usize,
    /// TLS handshakes at once, of one client; 0 for no limit of its own.
    pub client_handshakes: usize,
    /// Connections at once, of one client; 0 for no limit of its own.
    pub client_connections: usize,
    /// New connections of one client.
    pub client_arrivals: Rate,
    /// Attests of all clients.
    pub attests: Rate,
    /// Attests of one client.
    pub client_attests: Rate,
    /// Attests on one connection: the first and its renewals.
    pub connection_attests: Rate,
    /// Clients that are remembered; those beyond share one place.
    pub clients: usize,
    /// Longest time for a request's head, from its first byte.
    pub head: Duration,
    /// Longest time for a request's body, from its head.
    pub body: Duration,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            client_key: ClientKey::Auto,
            handshakes: 512,
            client_handshakes: 64,
            client_connections: 256,
            client_arrivals: Rate {
                per_minute: 3_000,
                burst: 256,
            },
            attests: Rate {
                per_minute: 600_000,
                burst: 16_384,
            },
            client_attests: Rate {
                per_minute: 6_000,
                burst: 512,
            },
            connection_attests: Rate {
                // Leases of a second are renewed as often.
                per_minute: 120,
                burst: 16,
            },
            clients: 16_384,
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
        }
    }
}

impl AdmissionLimits {
    /// Every number, in the order of the fields, for the configuration digest:
    /// counts, rates as two, milliseconds.
    #[must_use]
    pub fn numbers(&self) -> [u64; 15] {
        let Self {
            client_key,
            handshakes,
            client_handshakes,
            client_connections,
            client_arrivals,
            attests,
            client_attests,
            connection_attests,
            clients,
            head,
            body,
        } = self;
        let count = |number: &usize| u64::try_from(*number).unwrap_or(u64::MAX);
        let time = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        [
            match client_key {
                ClientKey::Auto => 0,
                ClientKey::Address => 1,
                ClientKey::Connection => 2,
            },
            count(handshakes),
            count(client_handshakes),
            count(client_connections),
            client_arrivals.per_minute.into(),
            client_arrivals.burst.into(),
            attests.per_minute.into(),
            attests.burst.into(),
            client_attests.per_minute.into(),
            client_attests.burst.into(),
            connection_attests.per_minute.into(),
            connection_attests.burst.into(),
            count(clients),
            time(head),
            time(body),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::ClientKey;
    use std::net::IpAddr;

    fn key(how: ClientKey, peer: &str) -> Option<[u8; 16]> {
        how.address(peer.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn one_subscriber_is_one_client_however_it_writes_its_address() {
        let auto = ClientKey::Auto;
        assert_eq!(key(auto, "192.0.2.7"), key(auto, "::ffff:192.0.2.7"));
        assert_ne!(key(auto, "192.0.2.7"), key(auto, "192.0.2.8"));
        assert_eq!(key(auto, "2001:db8:0:1::1"), key(auto, "2001:db8:0:1:ffff::2"));
        assert_ne!(key(auto, "2001:db8:0:1::1"), key(auto, "2001:db8:0:2::1"));
        for relay in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(key(auto, relay), None, "{relay}");
            assert!(key(ClientKey::Address, relay).is_some(), "{relay}");
        }
        assert_eq!(key(ClientKey::Connection, "192.0.2.7"), None);
    }
}
