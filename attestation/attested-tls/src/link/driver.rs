//! A link's task: gives the machine what comes from the socket, the lane, the
//! appraiser and the clock, and carries out what it says. It never waits for the
//! socket to take bytes, which is the writer's to do, so that it always reads.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bastide_attestation::link::{FrameType, Hello, encode_frame};
use bastide_attestation::{Evidence, Nonce, Omission, SessionExpectation, SpkiDigest, UnixTime};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::lane_m::LaneM;
use crate::link::attested::{Command, LinkPeer};
use crate::link::end::LinkEnd;
use crate::link::machine::{Effect, Input, LinkMachine};
use crate::link::peers::LinkPeers;
use crate::link::writer::Outgoing;
use crate::provider::fill_random;

/// Bytes taken from the socket at once.
pub(super) const READ_BYTES: usize = 64 * 1024;
/// How long the last frames of a link that ended badly may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Who judges peers, and by what time.
#[derive(Clone)]
pub(super) struct Judge {
    pub(super) peers: LinkPeers,
    pub(super) clock: fn() -> UnixTime,
}

impl Judge {
    /// Authentic, bound and by the policy of the stage that the peer said in
    /// HELLO, which is the one that its evidence is bound to; then admitted.
    fn judge(
        &self,
        envelope: Vec<u8>,
        expected: &SessionExpectation,
        hello: Hello,
        spki: SpkiDigest,
    ) -> Result<LinkPeer, LinkEnd> {
        let stage = hello.context.stage;
        // The machine has refused other stages by their HELLO.
        let policy = self
            .peers
            .policy(stage)
            .ok_or_else(|| LinkEnd::no_stage(self.peers.stages(), stage))?;
        let evidence = Evidence::decode(&envelope).map_err(LinkEnd::Malformed)?;
        let now = (self.clock)();
        let result = policy
            .appraiser
            .appraise(&evidence, expected, now)
            .map_err(LinkEnd::Refused)?;
        let credential = hello.credential.as_deref();
        let admission = policy
            .rules
            .admit(&result, &hello.context, &spki, credential, now)?;
        Ok(LinkPeer {
            hello,
            spki,
            result,
            admission,
            evidence: envelope,
        })
    }
}

type MakingEvidence = Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>>;

/// What a link's task has in its hands.
pub(super) struct Driver {
    pub(super) machine: LinkMachine,
    pub(super) began: Instant,
    /// The same moment on the other clock, which goes on while a machine sleeps.
    pub(super) began_at: UnixTime,
    pub(super) judge: Judge,
    pub(super) lane: LaneM,
    pub(super) spki_peer: SpkiDigest,
    /// How long what was accepted for sending may take to go out.
    pub(super) flush: Duration,
    pub(super) queue: Option<mpsc::UnboundedSender<Outgoing>>,
    pub(super) writer: JoinHandle<Result<(), String>>,
    pub(super) discard: watch::Sender<bool>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) places: Arc<Semaphore>,
    pub(super) incoming: mpsc::Sender<Vec<u8>>,
    pub(super) opened: Option<oneshot::Sender<()>>,
    pub(super) peer: watch::Sender<Option<Arc<LinkPeer>>>,
    pub(super) end: watch::Sender<Option<LinkEnd>>,
    pub(super) evidence: Option<MakingEvidence>,
    pub(super) pending: VecDeque<Vec<u8>>,
    pub(super) timer: Pin<Box<Sleep>>,
}

/// What the task woke up for.
enum Woke {
    Read(std::io::Result<usize>),
    Evidence(Result<Vec<u8>, String>),
    Command(Option<Command>),
    Delivered(bool),
    Timer,
    Written(Result<(), String>),
}

impl Driver {
    /// Runs the link to its end. `first` are the effects of the machine's start.
    pub(super) async fn run<R: AsyncRead + Unpin>(mut self, mut stream: R, first: Vec<Effect>) {
        let mut end = self.carry_out(first);
        let mut buffer = vec![0; READ_BYTES];
        let mut finished = false;
        let mut taken = true;
        while end.is_none() {
            let woke = tokio::select! {
                // Nothing more is read while the application has messages to take.
                read = stream.read(&mut buffer), if self.pending.is_empty() => Woke::Read(read),
                evidence = made(&mut self.evidence) => Woke::Evidence(evidence),
                command = self.commands.recv(), if !finished => Woke::Command(command),
                place = self.incoming.reserve(), if !self.pending.is_empty() => {
                    Woke::Delivered(match (place, self.pending.pop_front()) {
                        (Ok(place), Some(message)) => {
                            place.send(message);
                            true
                        }
                        _ => false,
                    })
                }
                () = self.timer.as_mut() => Woke::Timer,
                written = &mut self.writer => {
                    Woke::Written(written.unwrap_or_else(|error| Err(error.to_string())))
                }
            };
            let now = self.now();
            let effects = match woke {
                Woke::Read(Ok(0)) => self.machine.step(now, Input::Ended),
                Woke::Read(Ok(read)) => {
                    let bytes = buffer.get(..read).unwrap_or_default();
                    self.machine.step(now, Input::Received(bytes))
                }
                // Without close_notify, TLS says so by an error of this kind.
                Woke::Read(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    self.machine.step(now, Input::Ended)
                }
                Woke::Read(Err(error)) => {
                    let reason = error.to_string();
                    end = Some((LinkEnd::Connection { reason }, false));
                    break;
                }
                Woke::Evidence(evidence) => {
                    self.evidence = None;
                    self.machine.step(now, Input::Evidence(evidence))
                }
                Woke::Command(Some(Command::Message(message, place))) => {
                    end = self.message(now, &message, place);
                    continue;
                }
                Woke::Command(Some(Command::Finish) | None) => {
                    finished = true;
                    self.machine.step(now, Input::Finish)
                }
                Woke::Delivered(true) => Vec::new(),
                Woke::Delivered(false) => {
                    // Nobody will take messages: what still comes is thrown away.
                    taken = false;
                    Vec::new()
                }
                Woke::Timer => {
                    // It is armed anew if there is anything left to wait for.
                    self.timer.as_mut().reset(Instant::now() + READ_AGAIN);
                    self.machine.step(now, Input::Timer)
                }
                Woke::Written(written) => {
                    let reason = written.err().unwrap_or_else(|| "its writer has ended".to_owned());
                    end = Some((LinkEnd::Connection { reason }, false));
                    break;
                }
            };
            end = self.carry_out(effects);
            if !taken {
                self.pending.clear();
            }
        }
        let (end, flush) = end.unwrap_or((LinkEnd::Truncated, false));
        self.finish(end, flush).await;
    }

    /// Time since the beginning, on two clocks: the later one counts.
    fn now(&self) -> Duration {
        let by_clock = (self.judge.clock)()
            .as_secs()
            .saturating_sub(self.began_at.as_secs());
        // Whole seconds: by itself it must not be ahead of the monotonic clock.
        let by_clock = Duration::from_secs(by_clock.saturating_sub(1));
        self.began.elapsed().max(by_clock)
    }

    fn message(
        &mut self,
        now: Duration,
        message: &[u8],
        place: OwnedSemaphorePermit,
    ) -> Option<(LinkEnd, bool)> {
        let (mut effects, sent) = self.machine.data(now, message);
        let frame = match (sent, effects.pop()) {
            (Ok(()), Some(Effect::Send(frame))) => Some(frame),
            (_, last) => {
                effects.extend(last);
                None
            }
        };
        let end = self.carry_out(effects);
        if let Some(frame) = frame {
            self.write(frame, Some(place));
        }
        end
    }

    fn write(&self, frame: Vec<u8>, place: Option<OwnedSemaphorePermit>) {
        if let Some(queue) = &self.queue {
            // A writer that has ended is noticed by itself.
            drop(queue.send(Outgoing { frame, place }));
        }
    }

    /// Carries out effects, and those that follow from them. Gives the end, if
    /// this is it.
    fn carry_out(&mut self, effects: Vec<Effect>) -> Option<(LinkEnd, bool)> {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Send(frame) => self.write(frame, None),
                Effect::MakeEvidence { binder, leaf } => {
                    let lane = self.lane.clone();
                    self.evidence = Some(Box::pin(async move {
                        let attested = lane.attest_as(leaf, binder).await;
                        attested
                            .map(|attested| attested.envelope(Omission::default()))
                            .map_err(|error| error.to_string())
                    }));
                }
                Effect::Appraise {
                    evidence,
                    expected,
                    peer,
                } => {
                    let judged = self.judge.judge(evidence, &expected, *peer, self.spki_peer);
                    let judged = judged.map(|peer| {
                        self.peer.send_replace(Some(Arc::new(peer)));
                    });
                    let now = self.now();
                    effects.extend(self.machine.step(now, Input::Appraised(judged)));
                }
                Effect::DrawNonce => {
                    let mut nonce = [0; Nonce::LEN];
                    // Without random bytes the lease isn't renewed, and ends.
                    if fill_random(&mut nonce).is_ok() {
                        let now = self.now();
                        effects.extend(self.machine.step(now, Input::Nonce(Nonce::new(nonce))));
                    }
                }
                Effect::Opened => {
                    // Whoever waited may have left: then `commands` says so.
                    let _ = self.opened.take().map(|opened| opened.send(()));
                }
                Effect::Deliver(message) => self.pending.push_back(message),
                Effect::Draining => self.drain(),
                Effect::ArmTimer(at) => self.timer.as_mut().reset(self.began + at),
                Effect::Close { end, flush } => return Some((end, flush)),
            }
        }
        None
    }

    /// Takes no more for sending; what was taken goes out before what follows.
    fn drain(&mut self) {
        self.places.close();
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Message(message, place) = command
                && let Ok(frame) = encode_frame(FrameType::Data, &message)
            {
                self.write(frame, Some(place));
            }
        }
    }

    async fn finish(mut self, end: LinkEnd, flush: bool) {
        let disowned = end.disowns();
        self.places.close();
        self.commands.close();
        if !flush {
            self.discard.send_replace(true);
        }
        if disowned {
            // Before the application learns of anything else: see `AttestedLink::recv`.
            self.end.send_replace(Some(end.clone()));
        }
        // Without its queue the writer ends once it has written what is in it.
        self.queue = None;
        let limit = if flush { self.flush } else { LAST_WORDS };
        if !self.writer.is_finished() && timeout(limit, &mut self.writer).await.is_err() {
            self.writer.abort();
        }
        self.end.send_replace(Some(end));
        if !disowned {
            for message in self.pending.drain(..) {
                if self.incoming.send(message).await.is_err() {
                    break;
                }
            }
        }
    }
}

/// Between two looks at the time where the machine armed no other.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// The evidence that is being made; never, if none is.
async fn made(evidence: &mut Option<MakingEvidence>) -> Result<Vec<u8>, String> {
    match evidence {
        Some(evidence) => evidence.await,
        None => std::future::pending().await,
    }
}

/// A timer for the machine to arm.
pub(super) fn timer(began: Instant) -> Pin<Box<Sleep>> {
    Box::pin(sleep_until(began))
}
