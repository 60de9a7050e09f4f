//! The client's gate: TCP, TLS, challenge, appraisal, and only then a
//! connection that a request can be written to. Any failure closes the
//! connection; nothing is tried again on it, and there is no way round.

mod connection;
mod epochs;
mod error;
mod exchange;
mod judge;
mod lease;
mod pipelines;
mod pool;
mod rules;
mod tasks;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bastide_attestation::{Appraiser, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub use connection::{AttestedConnection, SendError};
pub use epochs::{EPOCH_LIFE, EpochCache};
pub(crate) use error::reason;
pub use error::{ConnectError, State};
pub use judge::{SessionAttestation, SessionLane};
pub use lease::{LEASE, RENEW_AFTER};
pub use pipelines::{AppraisePipeline, PipelineRefused};
pub use pool::{AttestedPool, NodeFailure, PoolError, PoolLimits, PoolObserver, PooledConnection};
pub use rules::{HttpVersions, KeyExchange, RootError, ServerNames, SessionRules, TrustRoots};

use crate::address::NodeAddress;
use crate::client::exchange::Exchange;
use crate::client::judge::Judge;
use crate::peer_certificate;
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
    /// For the stages behind a head of a pipeline to prove themselves. 60 s.
    pub pipeline: Duration,
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
            pipeline: Duration::from_secs(60),
            request_head: Duration::from_secs(150),
        }
    }
}

/// Opens attested connections, judged by one appraiser. Clones share what was
/// learnt by it: which epochs were accepted, and which statement a node made last.
#[derive(Clone)]
pub struct Connector {
    appraiser: Arc<dyn Appraiser>,
    judge: Arc<Judge>,
    timeouts: Timeouts,
    rules: SessionRules,
    http: HttpVersions,
    pipelines: Option<Arc<dyn AppraisePipeline>>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("timeouts", &self.timeouts)
            .field("rules", &self.rules)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

impl Connector {
    /// A connector whose connections all pass `appraiser`, with the default
    /// time-outs and rules and the system's clock.
    #[must_use]
    pub fn new(appraiser: Arc<dyn Appraiser>) -> Self {
        Self {
            judge: Arc::new(Judge::new(Arc::clone(&appraiser), system_time)),
            appraiser,
            timeouts: Timeouts::default(),
            rules: SessionRules::default(),
            http: HttpVersions::default(),
            pipelines: None,
        }
    }

    /// The same with other time-outs.
    #[must_use]
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// The same with other rules for TLS.
    #[must_use]
    pub fn with_session_rules(self, rules: SessionRules) -> Self {
        Self { rules, ..self }
    }

    /// The same with other HTTP versions.
    #[must_use]
    pub fn with_http(self, http: HttpVersions) -> Self {
        Self { http, ..self }
    }

    /// The same that admits heads of pipelines whose stages `pipelines` accepts.
    /// Without it every head is refused: what is asked of one is seen by others,
    /// of which its own evidence proves nothing.
    #[must_use]
    pub fn with_pipelines(self, pipelines: Arc<dyn AppraisePipeline>) -> Self {
        Self {
            pipelines: Some(pipelines),
            ..self
        }
    }

    /// The same with another clock for appraisals and leases, and nothing learnt yet.
    #[must_use]
    pub fn with_clock(self, clock: fn() -> UnixTime) -> Self {
        Self {
            judge: Arc::new(Judge::new(Arc::clone(&self.appraiser), clock)),
            ..self
        }
    }

    /// Connects to a node over TCP and makes it prove itself; a head of a
    /// pipeline that closes the connection while its stages are asked, once more.
    ///
    /// # Errors
    /// [`ConnectError`] names the state and what failed in it. The connection
    /// is closed then, and nothing but challenges was written to it.
    pub async fn connect(&self, node: &NodeAddress) -> Result<AttestedConnection, ConnectError> {
        match self.connect_once(node).await {
            Err(ConnectError::Stages(refused)) if refused.interrupted => self.connect_once(node).await,
            connected => connected,
        }
    }

    async fn connect_once(&self, node: &NodeAddress) -> Result<AttestedConnection, ConnectError> {
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
        let config = rules::client_config(&self.rules, self.http)?;
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, io);
        let stream = within(State::Tls, self.timeouts.tls, handshake)
            .await?
            .map_err(|error| ConnectError::of_handshake(error, self.rules.asks_for_names()))?;
        let (_, connection) = stream.get_ref();
        let spki = connection
            .peer_certificates()
            .and_then(<[_]>::first)
            .and_then(peer_certificate::spki)
            .ok_or(SessionFault::NoCertificate)?;
        let binding = SessionBinding::take(connection, connection.is_early_data_accepted(), spki)?;
        let group = connection.negotiated_key_exchange_group();
        self.rules.key_exchange.require(group.map(|group| group.name()))?;

        // The lease runs from before the challenge: evidence can't be older than it.
        let asked = self.judge.ask(node)?;
        let exchange = async {
            let mut exchange = Exchange::begin(stream, binding.protocol()).await?;
            let answer = exchange.attest(node, &asked.request).await?;
            Ok::<_, ConnectError>((exchange, answer))
        };
        let (exchange, answer) = within(State::Attest, self.timeouts.attest, exchange).await??;
        let attestation = self.judge.judge(node, &binding, asked, answer)?;
        let (sender, tasks) = exchange.into_parts();
        let mut connection = AttestedConnection::new(
            sender,
            tasks,
            node.clone(),
            binding,
            Arc::clone(&self.judge),
            self.timeouts,
            attestation,
        );
        // INVARIANT: nobody has a connection to a head before its stages were
        // accepted, so that no prompt can come before that either.
        if connection.result().statement.pipeline {
            let Some(pipelines) = &self.pipelines else {
                return Err(ConnectError::Pipeline);
            };
            connection.appraise_stages(pipelines).await?;
        }
        Ok(connection)
    }
}

async fn within<F: Future>(state: State, limit: Duration, future: F) -> Result<F::Output, ConnectError> {
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| ConnectError::TimedOut { state })
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
}
