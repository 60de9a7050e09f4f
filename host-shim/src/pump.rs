//! One connection's bytes, both ways. Owns buffers, half-close and the clocks
//! of a connection. It looks at no byte, keeps none after writing it, and reads
//! no further before what it read is written: that is the back-pressure.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::counters::Counter;

/// Bytes of a connection that this process holds at most, per direction. Two
/// TLS records of the largest size fit.
pub(crate) const BUFFER: usize = 36 * 1024;
/// How long an end may go on sending that nobody reads any more. Closing a
/// socket with unread bytes resets it, and a reset can overtake the other
/// end's last answer.
const LINGER: Duration = Duration::from_secs(1);
/// Longest silence of a client whose guest has closed. The guest has its own
/// time-outs; a client that ignores them must not keep its place here.
const AFTER_GUEST: Duration = Duration::from_secs(30);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Both ends closed, and everything was delivered.
    Complete,
    /// An end broke off.
    Broken,
    /// Nothing moved for too long.
    Idle,
    /// It had its time.
    Lifetime,
    /// The relay stopped.
    Cut,
}

impl Ended {
    /// As in logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Broken => "broken",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::Cut => "cut",
        }
    }
}

/// When a connection must end, whatever its ends do.
#[derive(Debug)]
pub(crate) struct Deadlines<'a> {
    /// Longest time without a byte moved.
    pub(crate) idle: Duration,
    /// End of the connection's life.
    pub(crate) lifetime: Instant,
    /// The relay's own end.
    pub(crate) cut: &'a CancellationToken,
}

/// Where moved bytes are counted.
#[derive(Debug)]
pub(crate) struct Meters<'a> {
    pub(crate) to_guest: &'a Counter,
    pub(crate) to_client: &'a Counter,
}

/// How one direction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    /// The reader's end closed, and the writer was told.
    Finished,
    /// The reader's end broke off; the writer was told that it is over.
    ReaderLost,
    /// The writer's end takes nothing any more.
    WriterLost,
}

/// Moves bytes between `client` and `guest` until both directions are over, or
/// a deadline is. Each direction ends on its own: an end that closes its
/// sending half still gets the rest of the other's bytes.
pub(crate) async fn pump<C, G>(
    client: &mut C,
    guest: &mut G,
    deadlines: &Deadlines<'_>,
    meters: &Meters<'_>,
) -> Ended
where
    C: AsyncRead + AsyncWrite + Unpin,
    G: AsyncRead + AsyncWrite + Unpin,
{
    let activity = Activity::new();
    tokio::select! {
        ended = both(client, guest, &activity, deadlines, meters) => ended,
        () = activity.idle_for(deadlines.idle) => Ended::Idle,
        () = sleep_until(deadlines.lifetime) => Ended::Lifetime,
        () = deadlines.cut.cancelled() => Ended::Cut,
    }
}

async fn both<C, G>(
    client: &mut C,
    guest: &mut G,
    activity: &Activity,
    deadlines: &Deadlines<'_>,
    meters: &Meters<'_>,
) -> Ended
where
    C: AsyncRead + AsyncWrite + Unpin,
    G: AsyncRead + AsyncWrite + Unpin,
{
    let (from_client, to_client) = tokio::io::split(client);
    let (from_guest, to_guest) = tokio::io::split(guest);
    let mut up = pin!(copy(from_client, to_guest, activity, meters.to_guest));
    let mut down = pin!(copy(from_guest, to_client, activity, meters.to_client));
    tokio::select! {
        first = &mut up => finish(first, down).await,
        first = &mut down => {
            let guest_closed = first.0 == Half::Finished;
            let rest = finish(first, up);
            if !guest_closed {
                return rest.await;
            }
            // The silence counts from the closing.
            activity.touch();
            tokio::select! {
                ended = rest => ended,
                () = activity.idle_for(deadlines.idle.min(AFTER_GUEST)) => Ended::Idle,
            }
        }
    }
}

/// How the direction that ended first lets the other one go on.
async fn finish<R, S>(first: (Half, R), other: impl Future<Output = (Half, S)>) -> Ended
where
    R: AsyncRead + Unpin,
    S: AsyncRead + Unpin,
{
    let (first, mut reader) = first;
    let (second, mut other_reader) = match first {
        Half::Finished => other.await,
        // Nothing can be delivered to an end that is lost.
        Half::ReaderLost => match timeout(LINGER, other).await {
            Ok(end) => end,
            Err(_) => return Ended::Broken,
        },
        // An end may answer and close before it has read everything. Its answer
        // must reach a peer that is still sending.
        Half::WriterLost => {
            let mut other = pin!(other);
            tokio::select! {
                end = &mut other => end,
                () = discard(&mut reader) => other.await,
            }
        }
    };
    if first == Half::Finished && second == Half::Finished {
        return Ended::Complete;
    }
    let unread = async {
        if first == Half::WriterLost {
            discard(&mut reader).await;
        }
        if second == Half::WriterLost {
            discard(&mut other_reader).await;
        }
    };
    // Whoever sends longer than this is cut off by the closing that follows.
    let _ = timeout(LINGER, unread).await;
    Ended::Broken
}

/// Moves one direction's bytes and gives the reader back with its end.
async fn copy<R, W>(mut reader: R, mut writer: W, activity: &Activity, meter: &Counter) -> (Half, R)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; BUFFER];
    let half = loop {
        let mut pending = match reader.read(&mut buffer).await {
            Ok(0) => break Half::Finished,
            Ok(count) => &buffer[..count],
            Err(_) => break Half::ReaderLost,
        };
        activity.touch();
        while !pending.is_empty() {
            match writer.write(pending).await {
                Ok(0) | Err(_) => return (Half::WriterLost, reader),
                Ok(count) => {
                    activity.touch();
                    meter.add(u64::try_from(count).unwrap_or(u64::MAX));
                    pending = &pending[count..];
                }
            }
        }
    };
    // An end that is gone already needn't be told.
    let _ = writer.shutdown().await;
    (half, reader)
}

/// Reads to the end and keeps nothing.
async fn discard<R: AsyncRead + Unpin>(reader: &mut R) {
    let mut buffer = vec![0; BUFFER];
    while matches!(reader.read(&mut buffer).await, Ok(count) if count > 0) {}
}

/// When a byte moved last, in milliseconds since the connection began.
#[derive(Debug)]
struct Activity {
    began: Instant,
    last: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    fn touch(&self) {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }

    /// Returns when nothing has moved for `limit`.
    async fn idle_for(&self, limit: Duration) {
        loop {
            let last = self.began + Duration::from_millis(self.last.load(Ordering::Relaxed));
            if last.elapsed() >= limit {
                return;
            }
            sleep_until(last + limit).await;
        }
    }
}

#[cfg(test)]
mod tests;
