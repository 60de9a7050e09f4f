//! What carries messages between enclaves: attested links, and nothing else in
//! what is shipped.
//!
//! Owns opening, accepting and telling links apart. Refuses a peer that says it
//! is neither a head nor the stage before, and one that says something else
//! than its evidence. It knows bytes; what they mean is `message`'s.

use std::sync::Arc;

use bastide_attestation::SpkiDigest;
use bastide_attestation::link::Hello;
use bastide_attested_tls::{AttestedLink, LinkEnd, LinkEndpoint, LinkError, LinkPeer, LinkSender};
use tokio::io::{AsyncRead, AsyncWrite};

#[cfg(feature = "plain-transport")]
use super::plain::{self, PlainReceiver, PlainSender};
use crate::head::Loss;

/// What a link is for. Stage 0 has both kinds to stage 1, which are told apart by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkKind {
    /// The head's own: what must be quick.
    Head,
    /// From one stage to the next: what must stay in order.
    Ring,
}

impl LinkKind {
    /// The capability in HELLO.
    const fn capability(self) -> &'static str {
        match self {
            Self::Head => "pipeline-head/1",
            Self::Ring => "pipeline-ring/1",
        }
    }

    /// What a peer says that its link is for, if it is one of both.
    fn of(hello: &Hello) -> Option<Self> {
        let says = |kind: Self| {
            let capability = kind.capability();
            hello.capabilities.iter().any(|known| known == capability)
        };
        match (says(Self::Head), says(Self::Ring)) {
            (true, false) => Some(Self::Head),
            (false, true) => Some(Self::Ring),
            _ => None,
        }
    }
}

/// Why there is no link, or no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link to a stage ended, or did not open: {code}")]
pub(super) struct LinkClosed {
    /// The link's stable dotted code.
    pub(super) code: &'static str,
    /// What it means for the ring.
    pub(super) why: Loss,
}

impl From<&LinkEnd> for LinkClosed {
    fn from(end: &LinkEnd) -> Self {
        use bastide_attestation::link::CloseCode;
        let why = match end {
            LinkEnd::Malformed(_)
            | LinkEnd::Refused(_)
            | LinkEnd::NotAdmitted(_)
            | LinkEnd::Context { .. }
            | LinkEnd::Confirm
            | LinkEnd::NotRenewed
            | LinkEnd::LeaseOver
            | LinkEnd::PeerClosed {
                code: CloseCode::Refused | CloseCode::NotAdmitted | CloseCode::Context | CloseCode::LeaseOver,
            } => Loss::Refused,
            LinkEnd::PeerClosed {
                code: CloseCode::Taken,
            } => Loss::Unreachable,
            _ => Loss::Ended,
        };
        let code = end.code();
        Self { code, why }
    }
}

impl From<LinkError> for LinkClosed {
    fn from(error: LinkError) -> Self {
        match error.end() {
            Some(end) => Self::from(end),
            None => Self {
                code: error.code(),
                why: match error {
                    LinkError::Alpn | LinkError::Session(_) => Loss::Refused,
                    _ => Loss::Unreachable,
                },
            },
        }
    }
}

/// Opens and accepts the links of one enclave.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "endpoints of keys")]
pub struct Connector(Kind);

#[derive(Clone)]
enum Kind {
    Attested {
        /// Links with the next stage, and a head's with every stage.
        connecting: LinkEndpoint,
        /// Links of heads and of the stage before, and of nobody else.
        accepting: LinkEndpoint,
    },
    #[cfg(feature = "plain-transport")]
    Plain { stage: u16 },
}

impl Connector {
    /// Over attested links: what a peer at each stage must prove is the
    /// endpoint's to say. Of its peers, the head and the stage before are let in.
    #[must_use]
    pub fn attested(endpoint: LinkEndpoint) -> Self {
        let stages = endpoint.own().stage.checked_sub(1);
        let let_in = stages.map_or(Vec::new(), |before| vec![0, before]);
        let peers = endpoint.peers().only(&let_in);
        Self(Kind::Attested {
            accepting: endpoint.clone().with_peers(peers),
            connecting: endpoint,
        })
    }

    /// Over bare TCP, which proves nothing and hides nothing: for the benchmark
    /// that states what attestation costs. No enclave is built with it.
    #[cfg(feature = "plain-transport")]
    #[doc(hidden)]
    #[must_use]
    pub const fn plain(stage: u16) -> Self {
        Self(Kind::Plain { stage })
    }

    /// The same that asks `free`, of links that it accepts, whether their place
    /// is: by kind, stage and key of the peer. Links that prove nothing have no
    /// key, and are not asked about.
    pub(super) fn gated(
        self,
        free: impl Fn(LinkKind, u16, &SpkiDigest) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self(match self.0 {
            Kind::Attested {
                connecting,
                accepting,
            } => Kind::Attested {
                connecting,
                accepting: accepting.with_gate(move |hello, key| {
                    // What is of no kind is refused once the link is open.
                    LinkKind::of(hello).is_none_or(|kind| free(kind, hello.context.stage, key))
                }),
            },
            #[cfg(feature = "plain-transport")]
            plain @ Kind::Plain { .. } => plain,
        })
    }

    /// Opens a link of this kind with exactly this stage.
    pub(super) async fn connect(
        &self,
        kind: LinkKind,
        stage: u16,
        address: &str,
    ) -> Result<Link, LinkClosed> {
        match &self.0 {
            Kind::Attested { connecting, .. } => {
                let capabilities = vec![kind.capability().to_owned()];
                let endpoint = connecting.clone().with_capabilities(capabilities);
                let link = endpoint.connect(stage, address).await?;
                Ok(Link::attested(link, stage, kind))
            }
            #[cfg(feature = "plain-transport")]
            Kind::Plain { stage: own } => plain::connect(*own, kind, stage, address).await,
        }
    }

    /// Takes a link over a stream that was accepted, and says whose it is.
    pub(super) async fn accept<IO>(&self, stream: IO) -> Result<Link, LinkClosed>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match &self.0 {
            Kind::Attested { accepting, .. } => {
                let link = accepting.accept_over(stream).await?;
                let refused = LinkClosed {
                    code: "pipeline.link_kind",
                    why: Loss::Nonsense,
                };
                let peer = link.peer().ok_or(refused)?;
                let kind = LinkKind::of(&peer.hello).ok_or(refused)?;
                let stage = peer.hello.context.stage;
                Ok(Link::attested(link, stage, kind))
            }
            #[cfg(feature = "plain-transport")]
            Kind::Plain { .. } => plain::accept(stream).await,
        }
    }
}

/// An open link.
pub(super) struct Link {
    /// Stage of the peer.
    pub(super) stage: u16,
    pub(super) kind: LinkKind,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
}

impl Link {
    fn attested(link: AttestedLink, stage: u16, kind: LinkKind) -> Self {
        Self {
            stage,
            kind,
            sender: Sender::Attested(link.sender()),
            receiver: Receiver::Attested(link),
        }
    }

    /// The peer's key, by which the same enclave is known again.
    pub(super) fn key(&self) -> Option<SpkiDigest> {
        match &self.receiver {
            Receiver::Attested(link) => link.peer().map(|peer| peer.spki),
            #[cfg(feature = "plain-transport")]
            Receiver::Plain(_) => None,
        }
    }

    /// Who the peer is, by its evidence.
    pub(super) fn peer(&self) -> Option<Arc<LinkPeer>> {
        match &self.receiver {
            Receiver::Attested(link) => link.peer(),
            #[cfg(feature = "plain-transport")]
            Receiver::Plain(_) => None,
        }
    }
}

/// Sends on a link.
pub(super) enum Sender {
    Attested(LinkSender),
    #[cfg(feature = "plain-transport")]
    Plain(PlainSender),
}

impl Sender {
    /// Sends one message. Waits while the peer doesn't read.
    pub(super) async fn send(&mut self, message: Vec<u8>) -> Result<(), &'static str> {
        match self {
            Self::Attested(link) => link.send(message).await.map_err(|error| error.code()),
            #[cfg(feature = "plain-transport")]
            Self::Plain(plain) => plain.send(&message).await,
        }
    }
}

/// Receives on a link. Dropping it and the sender closes the link.
pub(super) enum Receiver {
    Attested(AttestedLink),
    #[cfg(feature = "plain-transport")]
    Plain(PlainReceiver),
}

impl Receiver {
    /// The next message. Dropping the future loses none.
    pub(super) async fn recv(&mut self) -> Result<Vec<u8>, LinkClosed> {
        match self {
            Self::Attested(link) => match link.recv().await {
                Ok(Some(message)) => Ok(message),
                Ok(None) => Err(LinkClosed::from(&LinkEnd::Done)),
                Err(end) => Err(LinkClosed::from(&end)),
            },
            #[cfg(feature = "plain-transport")]
            Self::Plain(plain) => plain.recv().await,
        }
    }
}
