//! The client's gate: TCP, TLS, challenge, appraisal, and only then a
//! connection that a request can be written to. Any failure closes the
//! connection; nothing is tried again on it, and there is no way round.

mod connection;
mod error;
mod exchange;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bastide_attestation::binding::LeafType;
use bastide_attestation::{Appraiser, Evidence, Nonce, SessionExpectation, UnixTime};
use rustls::ClientConfig;
use rustls::client::Resumption;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub use connection::{AttestedConnection, LEASE, SendError};
pub use error::{ConnectError, State};

use crate::address::NodeAddress;
use crate::client::connection::Lease;
use crate::client::exchange::Exchange;
use crate::peer_certificate::{self, EvidenceDecides};
use crate::provider::{ALPN, fill_random, provider};
use crate::session::{SessionBinding, SessionFault};

/// How long each state may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Name resolution and TCP. 10 s.
    pub connect: Duration,
    /// The TLS handshake. 10 s.
    pub tls: Duration,
    /// From the attest request to the last byte of the evidence. 20 s.
    pub attest: Duration,
    /// From a request of the user to the head of its answer. 150 s: an enclave
    /// may take 120 for an answer that isn't streamed, and then says so itself.
    pub request_head: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            tls: Duration::from_secs(10),
            attest: Duration::from_secs(20),
            request_head: Duration::from_secs(150),
        }
    }
}

/// Opens attested connections, judged by one appraiser.
#[derive(Clone)]
pub struct Connector {
    appraiser: Arc<dyn Appraiser>,
    timeouts: Timeouts,
    clock: fn() -> UnixTime,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

impl Connector {
    /// A connector whose connections all pass `appraiser`, with the default
    /// time-outs and the system's clock.
    #[must_use]
    pub fn new(appraiser: Arc<dyn Appraiser>) -> Self {
        Self {
            appraiser,
            timeouts: Timeouts::default(),
            clock: system_time,
        }
    }

    /// The same with other time-outs.
    #[must_use]
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// The same with another clock for appraisals and leases.
    #[must_use]
    pub fn with_clock(self, clock: fn() -> UnixTime) -> Self {
        Self { clock, ..self }
    }

    /// Connects to a node over TCP and makes it prove itself.
    ///
    /// # Errors
    /// [`ConnectError`] names the state and what failed in it. The connection
    /// is closed then, and nothing but the challenge was written to it.
    pub async fn connect(&self, node: &NodeAddress) -> Result<AttestedConnection, ConnectError> {
        let open = async {
            let stream = TcpStream::connect((node.host(), node.port())).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream = within(State::Tcp, self.timeouts.connect, open)
            .await?
            .map_err(ConnectError::Tcp)?;
        self.connect_over(stream, node).await
    }

    /// The same over a stream that is open already (vsock, a relay's tunnel).
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_over<IO>(
        &self,
        io: IO,
        node: &NodeAddress,
    ) -> Result<AttestedConnection, ConnectError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let name = node.server_name().map_err(ConnectError::Address)?;
        let config = client_config().map_err(|error| ConnectError::Internal {
            reason: error.to_string(),
        })?;
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, io);
        let stream = within(State::Tls, self.timeouts.tls, handshake)
            .await?
            .map_err(ConnectError::of_handshake)?;
        let (_, connection) = stream.get_ref();
        let spki = connection
            .peer_certificates()
            .and_then(<[_]>::first)
            .and_then(peer_certificate::spki)
            .ok_or(SessionFault::NoCertificate)?;
        let binding = SessionBinding::take(connection, connection.is_early_data_accepted(), spki)?;

        let nonce = fresh_nonce()?;
        // The lease runs from before the challenge: evidence can't be older than it.
        let lease = Lease::begin(self.clock);
        let exchange = async {
            let mut exchange = Exchange::begin(stream).await?;
            let envelope = exchange.attest(node, &nonce).await?;
            Ok::<_, ConnectError>((exchange, envelope))
        };
        let (exchange, envelope) = within(State::Attest, self.timeouts.attest, exchange).await??;

        let evidence = Evidence::decode(&envelope).map_err(ConnectError::Malformed)?;
        let binder = binding.binder(&nonce);
        let expected = SessionExpectation {
            binder,
            leaf: LeafType::ServerTls,
        };
        match self.appraiser.appraise(&evidence, &expected, (self.clock)()) {
            Ok(result) => Ok(AttestedConnection {
                sender: exchange.into_sender(),
                node: node.clone(),
                nonce,
                binder,
                evidence: envelope,
                result,
                lease,
                request_head: self.timeouts.request_head,
                failed: false,
            }),
            Err(verdict) => Err(ConnectError::Refused {
                verdict,
                evidence: envelope,
            }),
        }
    }
}

async fn within<F: Future>(state: State, limit: Duration, future: F) -> Result<F::Output, ConnectError> {
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| ConnectError::TimedOut { state })
}

fn fresh_nonce() -> Result<Nonce, ConnectError> {
    let mut nonce = [0; Nonce::LEN];
    fill_random(&mut nonce).map_err(|_| ConnectError::Internal {
        reason: "the operating system gave no random bytes".to_owned(),
    })?;
    Ok(Nonce::new(nonce))
}

/// Made anew for every connection: nothing of an earlier one can be in it.
fn client_config() -> Result<ClientConfig, rustls::Error> {
    let provider = provider();
    let verifier = EvidenceDecides::new(provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    // INVARIANT: a resumed session skips the certificate and its key (T4).
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // INVARIANT: never a `KeyLogFile`: it would write the exporter secret (T16).
    config.key_log = Arc::new(rustls::NoKeyLog {});
    Ok(config)
}

/// The system's clock; a clock before 1970 reads 1970.
fn system_time() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixTime::from_secs(since.map_or(0, |elapsed| elapsed.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node's own limit (120 s by default) must be heard of, not cut short.
    #[test]
    fn a_whole_answer_may_take_as_long_as_an_enclave_allows() {
        assert!(Timeouts::default().request_head > Duration::from_secs(120 + 20));
    }

    #[test]
    fn the_configuration_neither_resumes_nor_logs_keys() {
        let config = client_config().unwrap();
        assert!(!config.enable_early_data);
        assert_eq!(format!("{:?}", config.key_log), "NoKeyLog");
        assert_eq!(config.alpn_protocols, [ALPN]);
        assert!(
            format!("{:?}", config.resumption).contains("NoClientSessionStorage"),
            "{:?}",
            config.resumption
        );
    }
}
