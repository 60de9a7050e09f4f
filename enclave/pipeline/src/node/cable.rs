//! A link at work: one task that reads and decodes what comes, and encodes and
//! writes what is to go.
//!
//! Owns the task's life: dropping a [`Cable`] ends the link in order. Refuses
//! bytes that are no message: the link ends.

use std::future::Future;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::transport::{Link, LinkClosed};
use crate::head::Loss;
use crate::message::{Bounds, Envelope};

/// Messages that wait to be encoded. What is encoded waits in the link, 8 at most.
pub(super) const OUTGOING: usize = 4;

/// Which link of an enclave's life it is: a later one has a higher number.
pub(super) type LinkNumber = u64;

/// A link's task. Dropping it ends the link; what was given to it before goes
/// out only as far as the link has taken it.
pub(super) struct Cable {
    pub(super) number: LinkNumber,
    task: JoinHandle<()>,
}

impl Cable {
    pub(super) fn new(number: LinkNumber, task: JoinHandle<()>) -> Self {
        Self { number, task }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs a link until it ends, its queue's senders are gone, or `deliver` refuses;
/// or, once `leaving` is true, until what is in the queue has gone out.
pub(super) async fn run<D, F>(
    link: Link,
    mut outgoing: mpsc::Receiver<Envelope>,
    mut leaving: watch::Receiver<bool>,
    bounds: Bounds,
    mut deliver: D,
) -> LinkClosed
where
    D: FnMut(Envelope) -> F + Send,
    F: Future<Output = Result<(), &'static str>> + Send,
{
    let Link {
        mut sender,
        mut receiver,
        ..
    } = link;
    let nonsense = |code| LinkClosed {
        code,
        why: Loss::Nonsense,
    };
    let read = async {
        loop {
            let bytes = match receiver.recv().await {
                Ok(bytes) => zeroize::Zeroizing::new(bytes),
                Err(closed) => return closed,
            };
            let envelope = match Envelope::decode(&bytes, &bounds) {
                Ok(envelope) => envelope,
                Err(error) => return nonsense(error.code()),
            };
            drop(bytes);
            if let Err(code) = deliver(envelope).await {
                return nonsense(code);
            }
        }
    };
    let write = async {
        while let Some(envelope) = next(&mut outgoing, &mut leaving).await {
            let mut bytes = match envelope.encode() {
                Ok(bytes) => bytes,
                // This end's own message: there is nothing to blame the peer for.
                Err(error) => {
                    return LinkClosed {
                        code: error.code(),
                        why: Loss::Ended,
                    };
                }
            };
            if let Err(code) = sender.send(std::mem::take(&mut *bytes)).await {
                return LinkClosed {
                    code,
                    why: Loss::Ended,
                };
            }
        }
        LinkClosed {
            code: DONE,
            why: Loss::Ended,
        }
    };
    tokio::pin!(read);
    tokio::select! {
        closed = &mut read => closed,
        closed = write => {
            if closed.code == DONE {
                return closed;
            }
            // A link that takes no more has ended: why, the receiving half knows.
            tokio::time::timeout(LAST_WORDS, read).await.unwrap_or(closed)
        }
    }
}

/// The next message to send. Once the enclave is leaving, only what waits already.
async fn next(
    outgoing: &mut mpsc::Receiver<Envelope>,
    leaving: &mut watch::Receiver<bool>,
) -> Option<Envelope> {
    let left = async {
        if leaving.wait_for(|leaving| *leaving).await.is_err() {
            // Who could say so is gone.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        envelope = outgoing.recv() => envelope,
        () = left => None,
    }
}

/// This end has sent all that it wanted to.
const DONE: &str = "link.done";
/// How long to wait for the reason of an end that sending has met.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(2);
