//! Where a node is: host and port of an `https://` address, and nothing more.
//! Whatever else a URL can carry is refused, because it would be ignored.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::ServerName;

const SCHEME: &str = "https://";
const DEFAULT_PORT: u16 = 443;

/// Why a text is no node address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The text does not begin with `https://`.
    #[error("a node address begins with `https://`, not with `{got}`")]
    Scheme {
        /// What it begins with, up to `://`; empty if there is no such thing.
        got: String,
    },
    /// Something follows the host and port.
    #[error("a node address ends after host and port; leave out `{extra}`")]
    Path {
        /// What follows.
        extra: String,
    },
    /// There is a user name or password.
    #[error("a node address has no user name or password")]
    UserInfo,
    /// The host is neither a DNS name nor an IP address.
    #[error("`{host}` is neither a DNS name nor an IP address")]
    Host {
        /// The host.
        host: String,
    },
    /// The port is not a number from 1 to 65535.
    #[error("`{port}` is not a port from 1 to 65535")]
    Port {
        /// The port.
        port: String,
    },
}

/// Host and port of a node: `https://host[:port]`, port 443 if none is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeAddress {
    /// DNS name or IP address; an IPv6 address without brackets.
    host: String,
    port: u16,
}

impl NodeAddress {
    /// DNS name or IP address; an IPv6 address has no brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `host:port` as a `Host` header has it; the port only if it isn't 443.
    pub(crate) fn authority(&self) -> String {
        let (open, close) = if self.host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        if self.port == DEFAULT_PORT {
            format!("{open}{}{close}", self.host)
        } else {
            format!("{open}{}{close}:{}", self.host, self.port)
        }
    }

    /// The name sent as SNI, so that a relay can route; nothing relies on it.
    pub(crate) fn server_name(&self) -> Result<ServerName<'static>, AddressError> {
        ServerName::try_from(self.host.clone()).map_err(|_| AddressError::Host {
            host: self.host.clone(),
        })
    }
}

impl FromStr for NodeAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = text
            .split_at_checked(SCHEME.len())
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME))
            .map(|(_, rest)| rest)
            .ok_or_else(|| AddressError::Scheme {
                // Not the rest: a password may be in it.
                got: text
                    .split_once("://")
                    .map_or_else(String::new, |(scheme, _)| format!("{scheme}://")),
            })?;
        // A lone slash at the end is how browsers write an empty path.
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Some((_, extra)) = rest.find(['/', '?', '#', '\\']).map(|at| rest.split_at(at)) {
            return Err(AddressError::Path {
                extra: extra.to_owned(),
            });
        }
        if rest.contains('@') {
            return Err(AddressError::UserInfo);
        }
        let bad_host = |host: &str| AddressError::Host {
            host: host.to_owned(),
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(|| bad_host(rest))?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| bad_host(host))?;
                match after.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if after.is_empty() => (host, None),
                    None => return Err(bad_host(rest)),
                }
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => parse_port(port)?,
        };
        let address = Self {
            host: host.to_ascii_lowercase(),
            port,
        };
        address.server_name()?;
        Ok(address)
    }
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    // `u16::from_str` alone would take a leading `+`.
    text.parse()
        .ok()
        .filter(|port| *port != 0 && text.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| AddressError::Port {
            port: text.to_owned(),
        })
}

impl TryFrom<&str> for NodeAddress {
    type Error = AddressError;

    fn try_from(text: &str) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl fmt::Display for NodeAddress {
    /// `https://host[:port]`, which parses to an equal address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip_through_their_text() {
        for (text, host, port, shown) in [
            (
                "https://node.example",
                "node.example",
                443,
                "https://node.example",
            ),
            (
                "https://node.example/",
                "node.example",
                443,
                "https://node.example",
            ),
            (
                "HTTPS://Node.Example:8443",
                "node.example",
                8443,
                "https://node.example:8443",
            ),
            (
                "https://127.0.0.1:7000",
                "127.0.0.1",
                7000,
                "https://127.0.0.1:7000",
            ),
            ("https://[::1]:7000", "::1", 7000, "https://[::1]:7000"),
            (
                "https://[2001:db8::1]",
                "2001:db8::1",
                443,
                "https://[2001:db8::1]",
            ),
        ] {
            let address: NodeAddress = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), (host, port), "{text}");
            assert_eq!(address.to_string(), shown);
            assert_eq!(NodeAddress::try_from(shown), Ok(address));
        }
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        let kind = |text: &str| text.parse::<NodeAddress>().unwrap_err();
        for text in [
            "",
            "node.example",
            "http://node.example",
            "https:/node",
            "ws://a",
            "é://aaaaaa",
        ] {
            assert!(matches!(kind(text), AddressError::Scheme { .. }), "{text}");
        }
        for text in [
            "https://a/v1",
            "https://a//",
            "https://a?x",
            "https://a#x",
            "https://a:1/v1",
        ] {
            assert!(matches!(kind(text), AddressError::Path { .. }), "{text}");
        }
        for text in ["https://user@a", "https://user:secret@a"] {
            assert_eq!(kind(text), AddressError::UserInfo);
            assert!(!kind(text).to_string().contains("secret"));
        }
        for text in [
            "https://",
            "https://a b",
            "https://[::1",
            "https://[::1]x",
            "https://[a]",
            "https://-a-:1",
            "https://[fe80::1%eth0]",
        ] {
            assert!(matches!(kind(text), AddressError::Host { .. }), "{text}");
        }
        for text in [
            "https://a:",
            "https://a:0",
            "https://a:65536",
            "https://a:+1",
            "https://::1",
        ] {
            assert!(matches!(kind(text), AddressError::Port { .. }), "{text}");
        }
    }
}
