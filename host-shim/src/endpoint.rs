//! Where to listen and where to connect: `tcp:HOST:PORT` and `vsock:CID:PORT`.
//! Owns the text forms. Sockets are in [`socket`]. It resolves no name: a host
//! name is looked up when a connection is made.

pub mod socket;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The context id that means "any" when listening.
const VSOCK_CID_ANY: u32 = u32::MAX;
/// The port number that means "any" to the kernel; written as 0 here, as in TCP.
const VSOCK_PORT_ANY: u32 = u32::MAX;
/// Longest host name, in bytes [RFC 1035 §2.3.4].
const HOST_NAME_LIMIT: usize = 253;

/// One end of the relay.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `tcp:HOST:PORT`.
    Tcp {
        /// Address or name.
        host: Host,
        /// Port; 0 picks a free one when listening.
        port: u16,
    },
    /// `vsock:CID:PORT`.
    Vsock {
        /// Whose context.
        cid: Cid,
        /// Port; 0 picks a free one when listening. Never `u32::MAX`.
        port: u32,
    },
}

/// The host of a TCP endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address; IPv6 is written in brackets.
    Address(IpAddr),
    /// A name of letters, digits, hyphens and dots; at most 253 bytes.
    Name(String),
}

/// The context of a vsock endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cid {
    /// Every context of this machine; to listen only. Written `any`.
    Any,
    /// One context: 1 this machine, 2 the host, 3 and up a guest.
    Is(u32),
}

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Neither `tcp:` nor `vsock:`, or no port.
    #[error(
        "expected `tcp:HOST:PORT` or `vsock:CID:PORT`, such as `tcp:127.0.0.1:8443`, `tcp:[::1]:8443` or `vsock:42:8443`"
    )]
    Form,
    /// The host is neither an address nor a name.
    #[error(
        "`{0}` is neither an IP address nor a host name; write an IPv6 address in brackets: `tcp:[::1]:8443`"
    )]
    Host(String),
    /// The TCP port is out of range.
    #[error("`{0}` is no TCP port: expected a number from 0 to 65535")]
    TcpPort(String),
    /// The context id is out of range.
    #[error("`{0}` is no vsock context id: expected a number, or `any` to listen on every context")]
    Cid(String),
    /// The vsock port is out of range.
    #[error("`{0}` is no vsock port: expected a number from 0 to 4294967294")]
    VsockPort(String),
    /// Good to listen on, but not to connect to.
    #[error("`{0}` names no one to connect to: port 0 and context `any` are for --listen")]
    NotConnectable(String),
}

impl Endpoint {
    /// Parses an endpoint that one can connect to.
    ///
    /// # Errors
    /// As [`FromStr`], and [`EndpointError::NotConnectable`] for port 0 and
    /// context `any`.
    pub fn parse_connectable(text: &str) -> Result<Self, EndpointError> {
        let endpoint: Self = text.parse()?;
        match endpoint {
            Self::Tcp { port: 0, .. } | Self::Vsock { port: 0, .. } | Self::Vsock { cid: Cid::Any, .. } => {
                Err(EndpointError::NotConnectable(text.to_owned()))
            }
            endpoint => Ok(endpoint),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (scheme, rest) = text.split_once(':').ok_or(EndpointError::Form)?;
        let (place, port) = rest.rsplit_once(':').ok_or(EndpointError::Form)?;
        match scheme {
            "tcp" => Ok(Self::Tcp {
                host: parse_host(place)?,
                port: parse_number(port).ok_or_else(|| EndpointError::TcpPort(port.to_owned()))?,
            }),
            "vsock" => {
                let cid = match place {
                    "any" => Some(Cid::Any),
                    digits => parse_number::<u32>(digits).map(Cid::from),
                };
                let port_number = parse_number(port).filter(|port| *port != VSOCK_PORT_ANY);
                Ok(Self::Vsock {
                    cid: cid.ok_or_else(|| EndpointError::Cid(place.to_owned()))?,
                    port: port_number.ok_or_else(|| EndpointError::VsockPort(port.to_owned()))?,
                })
            }
            _ => Err(EndpointError::Form),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => match host {
                Host::Address(IpAddr::V6(address)) => write!(f, "tcp:[{address}]:{port}"),
                Host::Address(IpAddr::V4(address)) => write!(f, "tcp:{address}:{port}"),
                Host::Name(name) => write!(f, "tcp:{name}:{port}"),
            },
            Self::Vsock { cid: Cid::Any, port } => write!(f, "vsock:any:{port}"),
            Self::Vsock {
                cid: Cid::Is(cid),
                port,
            } => write!(f, "vsock:{cid}:{port}"),
        }
    }
}

impl From<u32> for Cid {
    fn from(number: u32) -> Self {
        match number {
            VSOCK_CID_ANY => Self::Any,
            number => Self::Is(number),
        }
    }
}

/// Digits only: `FromStr` of integers would take a sign, too.
fn parse_number<N: FromStr>(text: &str) -> Option<N> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn parse_host(text: &str) -> Result<Host, EndpointError> {
    let wrong = || EndpointError::Host(text.to_owned());
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address: Ipv6Addr = inner.parse().map_err(|_| wrong())?;
        return Ok(Host::Address(address.into()));
    }
    match text.parse() {
        // Without brackets the port could be part of the address.
        Ok(IpAddr::V6(_)) => Err(wrong()),
        Ok(address) => Ok(Host::Address(address)),
        Err(_) if is_name(text) => Ok(Host::Name(text.to_owned())),
        Err(_) => Err(wrong()),
    }
}

/// A last label of digits is refused: resolvers take `127.1` and `1.2.3.256`
/// for addresses, each in its own way.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_number = text
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= HOST_NAME_LIMIT && text.split('.').all(label) && !last_is_number
}

#[cfg(test)]
mod tests;
