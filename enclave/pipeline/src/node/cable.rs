//! A link at work: one task that reads and decodes what comes, and encodes and
//! writes what is to go.
//!
//! Owns the task's life: dropping a [`Cable`] ends the link in order. Refuses
//! bytes that are no message: the link ends.

use std::future::Future;

use tokio::sync::mpsc;
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

/// Runs a link until it ends, its queue's senders are gone, or `deliver` refuses.
pub(super) async fn run<D, F>(
    link: Link,
    mut outgoing: mpsc::Receiver<Envelope>,
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
        while let Some(envelope) = outgoing.recv().await {
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
            code: "link.done",
            why: Loss::Ended,
        }
    };
    tokio::pin!(read);
    tokio::select! {
        closed = &mut read => closed,
        // A link that takes no more has ended: why, the receiving half knows.
        closed = write => match tokio::time::timeout(LAST_WORDS, read).await {
            Ok(known) if closed.code != "link.done" => known,
            _ => closed,
        },
    }
}

/// How long to wait for the reason of an end that sending has met.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(2);
