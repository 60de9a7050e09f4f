//! What an enclave is on its links: connects and accepts, and gives out links
//! that are open and nothing else.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bastide_attestation::binding::Role;
use bastide_attestation::link::{Hello, LinkContext};
use bastide_attestation::{Nonce, SpkiDigest, UnixTime};
use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, split};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::lane_m::LaneM;
use crate::link::attested::{AttestedLink, LinkSender, QUEUE};
use crate::link::credential::LinkCredential;
use crate::link::driver::{Driver, Judge, READ_BYTES, timer};
use crate::link::end::{LinkEnd, stages};
use crate::link::machine::{LinkMachine, Terms};
use crate::link::peers::{LinkGate, LinkPeers};
use crate::link::times::LinkTimes;
use crate::link::tls::{LinkIdentity, LinkSession, server_name};
use crate::link::writer::write_frames;
use crate::provider::fill_random;
use crate::session::SessionFault;

/// Where an enclave stands in its pipeline, and whom it links with.
#[derive(Debug, Clone)]
pub struct LinkTerms {
    /// Pipeline, stage and model of this enclave.
    pub own: LinkContext,
    /// The stages that peers may be, and what each must meet; pipeline and model
    /// are the same.
    pub peers: LinkPeers,
    /// This enclave's membership credential, if its peers want one.
    pub credential: LinkCredential,
    /// Extensions that this end knows, in ascending order.
    pub capabilities: Vec<String>,
    /// Time limits. A lease is at most 300 s whatever they say.
    pub times: LinkTimes,
}

/// Why there is no link. Nothing of the application was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// No TCP connection.
    #[error("no TCP connection to the peer")]
    Tcp(#[source] io::Error),
    /// The peer speaks something else, or another version of it.
    #[error("the peer did not agree on ALPN `bastide-link/1`")]
    Alpn,
    /// The TLS handshake failed.
    #[error("the TLS handshake of the link failed; both ends must show a certificate and speak TLS 1.3")]
    Tls(#[source] io::Error),
    /// The TLS handshake took too long.
    #[error("the TLS handshake of the link took longer than {limit_s} s")]
    TimedOut {
        /// The limit, in seconds.
        limit_s: u64,
    },
    /// The handshake ended, but with nothing to bind evidence to.
    #[error("the TLS session can't be attested")]
    Session(#[source] SessionFault),
    /// This end was not told what a peer at that stage must meet.
    #[error("there is no policy for a peer at stage {stage}; this end links with {}", stages(.known))]
    NoPolicy {
        /// The stage to connect to.
        stage: u16,
        /// The stages that it links with.
        known: Vec<u16>,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes for a nonce")]
    NoRandomness,
    /// The link ended before it was open.
    #[error("the link did not open")]
    Ended(#[source] LinkEnd),
}

impl LinkError {
    /// The stable dotted code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "link.tcp",
            Self::Alpn => "link.alpn",
            Self::Tls(_) => "link.tls",
            Self::TimedOut { .. } => "link.timeout",
            Self::Session(_) => "link.not_bindable",
            Self::NoPolicy { .. } | Self::NoRandomness => "internal",
            Self::Ended(end) => end.code(),
        }
    }

    /// Why the link ended, if it had got as far as frames.
    #[must_use]
    pub const fn end(&self) -> Option<&LinkEnd> {
        match self {
            Self::Ended(end) => Some(end),
            _ => None,
        }
    }

    fn of_handshake(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(
                rustls::Error::NoApplicationProtocol
                | rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol),
            ) => Self::Alpn,
            _ => Self::Tls(error),
        }
    }
}

impl From<SessionFault> for LinkError {
    fn from(fault: SessionFault) -> Self {
        match fault {
            SessionFault::Alpn => Self::Alpn,
            other => Self::Session(other),
        }
    }
}

/// Opens and accepts links.
#[derive(Clone)]
pub struct LinkEndpoint {
    identity: LinkIdentity,
    lane: LaneM,
    judge: Judge,
    terms: Arc<LinkTerms>,
    /// Of links that are accepted.
    gate: LinkGate,
}

impl fmt::Debug for LinkEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkEndpoint")
            .field("identity", &self.identity)
            .field("own", &self.terms.own)
            .field("peers", &self.terms.peers)
            .finish_non_exhaustive()
    }
}

impl LinkEndpoint {
    /// An endpoint that attests by `lane`, and judges peers by what `terms` say
    /// of their stage.
    #[must_use]
    pub fn new(identity: LinkIdentity, lane: LaneM, terms: LinkTerms) -> Self {
        let terms = LinkTerms {
            times: terms.times.bounded(),
            ..terms
        };
        Self {
            identity,
            lane,
            judge: Judge {
                peers: terms.peers.clone(),
                clock: system_time,
            },
            terms: Arc::new(terms),
            gate: LinkGate::default(),
        }
    }

    /// The same with another clock for appraisals, credentials and leases.
    #[must_use]
    pub fn with_clock(self, clock: fn() -> UnixTime) -> Self {
        Self {
            judge: Judge { clock, ..self.judge },
            ..self
        }
    }

    /// The same with another membership credential, for links that are opened
    /// from now on.
    #[must_use]
    pub fn with_credential(self, credential: LinkCredential) -> Self {
        let terms = LinkTerms {
            credential,
            ..LinkTerms::clone(&self.terms)
        };
        Self {
            terms: Arc::new(terms),
            ..self
        }
    }

    /// The same with other capabilities in its HELLO, in ascending order: an
    /// application has more than one kind of link.
    #[must_use]
    pub fn with_capabilities(self, capabilities: Vec<String>) -> Self {
        let terms = LinkTerms {
            capabilities,
            ..LinkTerms::clone(&self.terms)
        };
        Self {
            terms: Arc::new(terms),
            ..self
        }
    }

    /// The same with other peers, for links that are opened from now on.
    #[must_use]
    pub fn with_peers(self, peers: LinkPeers) -> Self {
        let terms = LinkTerms {
            peers: peers.clone(),
            ..LinkTerms::clone(&self.terms)
        };
        Self {
            judge: Judge { peers, ..self.judge },
            terms: Arc::new(terms),
            ..self
        }
    }

    /// The same that asks `gate`, of links that it accepts, whether the place is
    /// free which a peer asks for by its HELLO and with the key of its TLS. A
    /// peer that is turned away is told so, and neither end sends evidence.
    #[must_use]
    pub fn with_gate(self, gate: impl Fn(&Hello, &SpkiDigest) -> bool + Send + Sync + 'static) -> Self {
        Self {
            gate: LinkGate::new(gate),
            ..self
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn own(&self) -> &LinkContext {
        &self.terms.own
    }

    /// Whom it links with.
    #[must_use]
    pub fn peers(&self) -> &LinkPeers {
        &self.terms.peers
    }

    /// Connects over TCP and opens a link with a peer at exactly this stage.
    ///
    /// # Errors
    /// [`LinkError`]; the connection is closed.
    pub async fn connect(&self, stage: u16, address: impl ToSocketAddrs) -> Result<AttestedLink, LinkError> {
        self.require_policy(stage)?;
        let open = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream = self.within(open).await?.map_err(LinkError::Tcp)?;
        self.connect_over(stage, stream).await
    }

    /// Opens a link with a peer at exactly this stage, as the TLS client, over a
    /// stream that is open already.
    ///
    /// # Errors
    /// [`LinkError`]; `io` is closed.
    pub async fn connect_over<IO>(&self, stage: u16, io: IO) -> Result<AttestedLink, LinkError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.require_policy(stage)?;
        let name = server_name()?;
        let handshake = self.identity.connector().connect(name, buffered(io));
        let stream = self.within(handshake).await?.map_err(LinkError::of_handshake)?;
        let (_, connection) = stream.get_ref();
        let session = LinkSession::take(connection, connection.is_early_data_accepted())?;
        let peers = BTreeSet::from([stage]);
        self.open(Role::Client, peers, session, stream).await
    }

    /// Opens a link, as the TLS server, over a stream that was accepted. The
    /// peer may be at any stage that the terms list, and says at which.
    ///
    /// # Errors
    /// [`LinkError`]; `io` is closed.
    pub async fn accept_over<IO>(&self, io: IO) -> Result<AttestedLink, LinkError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = self.identity.acceptor().accept(buffered(io));
        let stream = self.within(handshake).await?.map_err(LinkError::of_handshake)?;
        let (_, connection) = stream.get_ref();
        // Early data can't have been accepted: the configuration's limit is 0 bytes.
        let session = LinkSession::take(connection, false)?;
        let peers = self.terms.peers.stage_set();
        self.open(Role::Server, peers, session, stream).await
    }

    fn require_policy(&self, stage: u16) -> Result<(), LinkError> {
        if self.terms.peers.policy(stage).is_some() {
            return Ok(());
        }
        let known = self.terms.peers.stages().collect();
        Err(LinkError::NoPolicy { stage, known })
    }

    async fn within<F: Future>(&self, future: F) -> Result<F::Output, LinkError> {
        let limit = self.terms.times.tls;
        timeout(limit, future).await.map_err(|_| LinkError::TimedOut {
            limit_s: limit.as_secs(),
        })
    }

    /// Starts the link's two tasks, and waits until it is open or has ended.
    /// Dropping the future ends both.
    async fn open<S>(
        &self,
        role: Role,
        peers: BTreeSet<u16>,
        session: LinkSession,
        stream: S,
    ) -> Result<AttestedLink, LinkError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let spki_peer = session.spki_peer;
        let mut nonce = [0; Nonce::LEN];
        fill_random(&mut nonce).map_err(|_| LinkError::NoRandomness)?;
        // The lease runs from here: evidence for this nonce can't be older.
        let (began, began_at) = (Instant::now(), (self.judge.clock)());
        let terms = self.machine_terms(role, peers, session);
        let times = terms.times;
        let (machine, first) = LinkMachine::start(terms, Nonce::new(nonce)).map_err(LinkError::Ended)?;

        let (reader, writer) = split(stream);
        let (queue, outgoing) = mpsc::unbounded_channel();
        let (discard, discarded) = watch::channel(false);
        let (commands, received) = mpsc::unbounded_channel();
        let (incoming, messages) = mpsc::channel(QUEUE);
        let (opened, is_open) = oneshot::channel();
        let (peer, who) = watch::channel(None);
        let (end, ended) = watch::channel(None);
        let places = Arc::new(Semaphore::new(QUEUE));
        let writer = tokio::spawn(write_frames(writer, outgoing, discarded, times.write));
        let driver = Driver {
            machine,
            began,
            began_at,
            judge: self.judge.clone(),
            lane: self.lane.clone(),
            spki_peer,
            flush: times.close,
            queue: Some(queue),
            writer,
            discard,
            commands: received,
            places: Arc::clone(&places),
            incoming,
            opened: Some(opened),
            peer,
            end,
            evidence: None,
            pending: VecDeque::new(),
            timer: timer(began),
        };
        let link = AttestedLink {
            sender: LinkSender {
                commands,
                places,
                end: ended.clone(),
            },
            incoming: messages,
            peer: who,
        };
        let driver = tokio::spawn(driver.run(reader, first));
        if is_open.await.is_ok() {
            return Ok(link);
        }
        // The driver ends once it has said why to the peer, too.
        drop(driver.await);
        let end = ended.borrow().clone().unwrap_or(LinkEnd::Truncated);
        Err(LinkError::Ended(end))
    }

    fn machine_terms(&self, role: Role, peers: BTreeSet<u16>, session: LinkSession) -> Terms {
        let (exporter_own, exporter_peer) = match role {
            Role::Server => (session.exporter_server, session.exporter_client),
            Role::Client => (session.exporter_client, session.exporter_server),
        };
        Terms {
            role,
            own: self.terms.own,
            peers,
            gate: match role {
                Role::Server => self.gate.clone(),
                Role::Client => LinkGate::default(),
            },
            spki_own: self.identity.spki(),
            spki_peer: session.spki_peer,
            exporter_own,
            exporter_peer,
            credential: self.terms.credential.now(),
            capabilities: self.terms.capabilities.clone(),
            times: self.terms.times,
        }
    }
}

/// TLS reads 4 KiB at a time, and a record has up to 16 KiB: one read of the
/// socket does for what would take five.
fn buffered<IO: AsyncRead>(io: IO) -> BufReader<IO> {
    BufReader::with_capacity(READ_BYTES, io)
}

/// The system's clock; a clock before 1970 reads 1970.
fn system_time() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixTime::from_secs(since.map_or(0, |elapsed| elapsed.as_secs()))
}
