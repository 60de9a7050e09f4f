//! A connection that carries sealed bytes and nothing else: to a relay, or to a
//! node. Nobody is authenticated on it, on purpose. What it carries can be opened
//! by one key, which was attested by other means; whoever answers in the other's
//! place can withhold an answer, as anybody on the way can, and make none up.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Body;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::Resumption;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::address::{AddressError, NodeAddress};
use crate::peer_certificate::EvidenceDecides;
use crate::provider::{ALPN_HTTP1, provider};

const PLAIN: &str = "http://";
const PLAIN_PORT: u16 = 80;
const TLS_PORT: u16 = 443;
const MAX_HEADERS: usize = 64;
const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// Why there is no connection. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarrierError {
    /// The host can't be named in a TLS handshake.
    #[error(transparent)]
    Address(AddressError),
    /// No TCP connection.
    #[error("no TCP connection")]
    Tcp(#[source] std::io::Error),
    /// No TLS session.
    #[error("no TLS session")]
    Tls(#[source] std::io::Error),
    /// TLS could not be set up.
    #[error("TLS could not be set up: {reason}")]
    Internal {
        /// What TLS said.
        reason: String,
    },
    /// It took too long.
    #[error("no connection within {} s", .limit.as_secs())]
    TimedOut {
        /// The time that was allowed.
        limit: Duration,
    },
    /// No HTTP on the connection.
    #[error("the connection was closed before a request was sent")]
    Http(#[source] hyper::Error),
}

/// Where sealed bytes are handed over: `https://HOST[:PORT]` or `http://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrier {
    address: NodeAddress,
    port: u16,
    tls: bool,
}

impl From<&NodeAddress> for Carrier {
    fn from(address: &NodeAddress) -> Self {
        Self {
            port: address.port(),
            address: address.clone(),
            tls: true,
        }
    }
}

impl FromStr for Carrier {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let plain = text
            .split_at_checked(PLAIN.len())
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(PLAIN));
        let Some((_, rest)) = plain else {
            return text.parse::<NodeAddress>().map(|address| Self::from(&address));
        };
        let address: NodeAddress = format!("https://{rest}").parse()?;
        // 443 is what an address has that names none.
        let named = rest.trim_end_matches('/').ends_with(":443");
        let port = match address.port() {
            TLS_PORT if !named => PLAIN_PORT,
            port => port,
        };
        Ok(Self {
            address,
            port,
            tls: false,
        })
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl Carrier {
    /// `HOST[:PORT]` as a `Host` header has it; the port only if it isn't the scheme's.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = self.address.host();
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let usual = if self.tls { TLS_PORT } else { PLAIN_PORT };
        if self.port == usual {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// Opens a connection for one request. None is ever used again: requests on
    /// one connection would be known to be of one client.
    ///
    /// # Errors
    /// [`CarrierError`]; nothing was sent.
    pub async fn open<B>(&self, limit: Duration) -> Result<SendRequest<B>, CarrierError>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let open = async {
            let stream = TcpStream::connect((self.address.host(), self.port))
                .await
                .map_err(CarrierError::Tcp)?;
            stream.set_nodelay(true).map_err(CarrierError::Tcp)?;
            if !self.tls {
                return begin(stream).await;
            }
            let name = self.address.server_name().map_err(CarrierError::Address)?;
            let config = config().map_err(|error| CarrierError::Internal {
                reason: error.to_string(),
            })?;
            let stream = TlsConnector::from(Arc::new(config))
                .connect(name, stream)
                .await
                .map_err(CarrierError::Tls)?;
            begin(stream).await
        };
        tokio::time::timeout(limit, open)
            .await
            .map_err(|_| CarrierError::TimedOut { limit })?
    }
}

async fn begin<S, B>(stream: S) -> Result<SendRequest<B>, CarrierError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (sender, connection) = Builder::new()
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_BUFFER_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(CarrierError::Http)?;
    // Ends when the answer is read or dropped; its errors reach who waits for it.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// As for an attested session, but for what is made of the certificate later:
/// there, evidence has to be bound to its key; here, nothing rests on it.
fn config() -> Result<ClientConfig, rustls::Error> {
    let provider = provider();
    let verifier = EvidenceDecides::new(provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    // A ticket would link the requests of one client.
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.key_log = Arc::new(rustls::NoKeyLog {});
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemes_have_their_port() {
        for (text, shown, port) in [
            ("http://relay.example", "http://relay.example", 80),
            ("http://relay.example:443", "http://relay.example:443", 443),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080", 8080),
            ("https://relay.example", "https://relay.example", 443),
            ("https://[::1]:4180", "https://[::1]:4180", 4180),
        ] {
            let carrier: Carrier = text.parse().unwrap();
            assert_eq!((carrier.to_string().as_str(), carrier.port), (shown, port));
        }
        for text in [
            "relay.example",
            "ftp://relay.example",
            "http://a/b",
            "http://u@a",
            "http://",
        ] {
            assert!(text.parse::<Carrier>().is_err(), "{text}");
        }
    }
}
