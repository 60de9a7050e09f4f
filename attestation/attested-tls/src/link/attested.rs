//! An open link, as the application has it: the only thing on which a message
//! can be sent to another enclave. Made by the driver alone, once both ends have
//! accepted and confirmed.

use std::sync::Arc;

use bastide_attestation::link::{Admission, Hello, MAX_DATA_BYTES};
use bastide_attestation::{AttestationResult, SpkiDigest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::link::end::LinkEnd;

/// Messages that may wait for the socket, and for the application.
pub(super) const QUEUE: usize = 8;

/// Who is at the other end, by evidence that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPeer {
    /// What it said of itself; stage, pipeline and model are bound to its evidence.
    pub hello: Hello,
    /// SHA-256 of the SPKI of the key that it holds.
    pub spki: SpkiDigest,
    /// What its evidence came to.
    pub result: AttestationResult,
    /// By what it was admitted.
    pub admission: Admission,
    /// The envelope as it came.
    pub evidence: Vec<u8>,
}

/// What the application asks of the driver.
#[derive(Debug)]
pub(super) enum Command {
    Message(Vec<u8>, OwnedSemaphorePermit),
    Finish,
}

/// Why the link ended, once it has.
pub(super) type EndWatch = watch::Receiver<Option<LinkEnd>>;

fn ended(end: &EndWatch) -> LinkEnd {
    end.borrow().clone().unwrap_or_else(|| LinkEnd::Internal {
        reason: "its task has ended".to_owned(),
    })
}

/// Why a message was not sent. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkSendError {
    /// Empty, or too long. The link is as it was.
    #[error("a message has 1 to {MAX_DATA_BYTES} bytes, got {got}; send it in pieces")]
    Length {
        /// Its bytes.
        got: usize,
    },
    /// The link has ended, or takes no more because it is about to.
    #[error(transparent)]
    Ended(#[from] LinkEnd),
}

impl LinkSendError {
    /// The stable dotted code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "link.message_length",
            Self::Ended(end) => end.code(),
        }
    }
}

/// The sending half of a link. Clones send on the same link, one message after
/// the other.
#[derive(Debug, Clone)]
pub struct LinkSender {
    pub(super) commands: mpsc::UnboundedSender<Command>,
    /// Places for messages that wait. They bound the queue.
    pub(super) places: Arc<Semaphore>,
    pub(super) end: EndWatch,
}

impl LinkSender {
    /// Sends one message, of 1 byte to 1 MiB. Waits while 8 messages wait for the
    /// peer to read. `Ok` means that it will be sent unless the link ends.
    ///
    /// # Errors
    /// [`LinkSendError`]; nothing of it was sent.
    pub async fn send(&self, message: Vec<u8>) -> Result<(), LinkSendError> {
        if !(1..=MAX_DATA_BYTES).contains(&message.len()) {
            return Err(LinkSendError::Length { got: message.len() });
        }
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| self.closed())?;
        self.commands
            .send(Command::Message(message, place))
            .map_err(|_| self.closed().into())
    }

    /// While a link drains there is no end yet, and no more sending.
    fn closed(&self) -> LinkEnd {
        self.end.borrow().clone().unwrap_or(LinkEnd::Done)
    }
}

/// A link whose peer has proved itself and accepted this end's proof. Dropping
/// it closes the link in order.
#[derive(Debug)]
pub struct AttestedLink {
    pub(super) sender: LinkSender,
    pub(super) incoming: mpsc::Receiver<Vec<u8>>,
    pub(super) peer: watch::Receiver<Option<Arc<LinkPeer>>>,
}

impl AttestedLink {
    /// The sending half.
    #[must_use]
    pub fn sender(&self) -> LinkSender {
        self.sender.clone()
    }

    /// Sends one message: see [`LinkSender::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send(&self, message: Vec<u8>) -> Result<(), LinkSendError> {
        self.sender.send(message).await
    }

    /// The next message of the peer; `None` once it has closed the link in order
    /// and everything it sent was taken. Dropping the future loses no message.
    ///
    /// A message that isn't taken holds up what comes after it, the peer's fresh
    /// evidence too: leave none lying for as long as a minute.
    ///
    /// # Errors
    /// Why the link ended. Messages may be lost.
    pub async fn recv(&mut self) -> Result<Option<Vec<u8>>, LinkEnd> {
        // INVARIANT: what a peer said is not taken once it must not be believed.
        if let Some(end) = self.sender.end.borrow().clone()
            && end.disowns()
        {
            return Err(end);
        }
        if let Some(message) = self.incoming.recv().await {
            return Ok(Some(message));
        }
        match ended(&self.sender.end) {
            LinkEnd::Done => Ok(None),
            end => Err(end),
        }
    }

    /// Who is at the other end, by its latest evidence.
    #[must_use]
    pub fn peer(&self) -> Option<Arc<LinkPeer>> {
        self.peer.borrow().clone()
    }

    /// Closes the link in order: what was sent goes out, and what still comes is
    /// thrown away.
    ///
    /// # Errors
    /// Why the link ended, if it ended in any other way.
    pub async fn close(mut self) -> Result<(), LinkEnd> {
        // If the driver has ended, there is nothing to finish.
        drop(self.sender.commands.send(Command::Finish));
        while self.recv().await?.is_some() {}
        Ok(())
    }
}
