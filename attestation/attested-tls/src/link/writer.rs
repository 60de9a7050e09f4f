//! The task that alone writes to a link's socket, one frame after the other. It
//! holds the places of messages that wait, so that a sender is held up by a peer
//! that doesn't read, and throws messages away once the link has ended badly.

use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

/// A frame to be written.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) frame: Vec<u8>,
    /// The place of a message, given up when it is written; `None` for the
    /// protocol's own frames, whose number the protocol bounds.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// Writes until the queue's other end is dropped, then closes the stream. Ends
/// early, and says why, if a frame can't be written within `limit`.
///
/// When `discard` becomes true, messages that wait are dropped, and one that is
/// half written is the last thing on the wire: half a frame can't be followed
/// by another.
pub(super) async fn write_frames<W: AsyncWrite + Unpin>(
    mut stream: W,
    mut queue: mpsc::UnboundedReceiver<Outgoing>,
    mut discard: watch::Receiver<bool>,
    limit: Duration,
) -> Result<(), String> {
    while let Some(Outgoing { frame, place }) = queue.recv().await {
        let is_message = place.is_some();
        if is_message && *discard.borrow() {
            continue;
        }
        let write = async {
            stream.write_all(&frame).await?;
            stream.flush().await
        };
        let written = async {
            match tokio::time::timeout(limit, write).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("a frame was not taken within {} s", limit.as_secs())),
            }
        };
        if is_message {
            tokio::select! {
                // A message that was asked for before the end may go out whole.
                biased;
                written = written => written?,
                () = discarded(&mut discard) => return Ok(()),
            }
        } else {
            written.await?;
        }
        drop(place);
    }
    // Tells the peer's TLS that nothing was cut off. It may be gone already.
    drop(tokio::time::timeout(limit, stream.shutdown()).await);
    Ok(())
}

async fn discarded(discard: &mut watch::Receiver<bool>) {
    if discard.wait_for(|discard| *discard).await.is_err() {
        // Its sender is gone, so that it never will be.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::io::AsyncReadExt as _;
    use tokio::sync::Semaphore;

    fn message(places: &Arc<Semaphore>, byte: u8, length: usize) -> Outgoing {
        Outgoing {
            frame: vec![byte; length],
            place: Some(Arc::clone(places).try_acquire_owned().unwrap()),
        }
    }

    #[tokio::test]
    async fn frames_go_out_in_order_and_give_up_their_places() {
        let (near, mut far) = tokio::io::duplex(64);
        let places = Arc::new(Semaphore::new(2));
        let (queue, receiver) = mpsc::unbounded_channel();
        let (_discard, watch) = watch::channel(false);
        queue.send(message(&places, 1, 100)).unwrap();
        queue.send(message(&places, 2, 100)).unwrap();
        assert_eq!(places.available_permits(), 0);
        let writer = tokio::spawn(write_frames(near, receiver, watch, Duration::from_secs(5)));
        drop(queue);
        let mut bytes = Vec::new();
        far.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, [[1; 100], [2; 100]].concat());
        assert_eq!(writer.await.unwrap(), Ok(()));
        assert_eq!(places.available_permits(), 2);
    }

    #[tokio::test]
    async fn messages_that_wait_are_thrown_away_once_discarded_and_other_frames_are_not() {
        let (near, mut far) = tokio::io::duplex(1024);
        let places = Arc::new(Semaphore::new(2));
        let (queue, receiver) = mpsc::unbounded_channel();
        let (discard, watch) = watch::channel(false);
        queue.send(message(&places, 1, 100)).unwrap();
        queue
            .send(Outgoing {
                frame: vec![7; 10],
                place: None,
            })
            .unwrap();
        discard.send_replace(true);
        drop(queue);
        let result = write_frames(near, receiver, watch, Duration::from_secs(5)).await;
        assert_eq!(result, Ok(()));
        let mut bytes = Vec::new();
        far.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, [7; 10]);
    }

    #[tokio::test]
    async fn a_message_half_written_is_cut_off_and_nothing_follows() {
        let (near, mut far) = tokio::io::duplex(64);
        let places = Arc::new(Semaphore::new(1));
        let (queue, receiver) = mpsc::unbounded_channel();
        let (discard, watch) = watch::channel(false);
        queue.send(message(&places, 1, 1000)).unwrap();
        let writer = tokio::spawn(write_frames(near, receiver, watch, Duration::from_secs(5)));
        let mut first = [0; 64];
        far.read_exact(&mut first).await.unwrap();
        discard.send_replace(true);
        queue
            .send(Outgoing {
                frame: vec![7; 10],
                place: None,
            })
            .unwrap();
        assert_eq!(writer.await.unwrap(), Ok(()));
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        assert!(
            rest.len() < 900 && rest.iter().all(|byte| *byte == 1),
            "{}",
            rest.len()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_ends_the_link() {
        let (near, _far) = tokio::io::duplex(64);
        let places = Arc::new(Semaphore::new(1));
        let (queue, receiver) = mpsc::unbounded_channel();
        let (_discard, watch) = watch::channel(false);
        queue.send(message(&places, 1, 1000)).unwrap();
        let result = write_frames(near, receiver, watch, Duration::from_secs(30)).await;
        assert!(result.unwrap_err().contains("30 s"));
    }
}
