//! The head of a pipeline: sequences, speculation, the ring and its repair.
//!
//! Owns every token of every running sequence, and nothing else does. It is
//! told what happened and when ([`Event`]), and says what to do ([`Effect`]).
//! Stage 0 is a stage like the others, reached by [`Effect::Send`], and always
//! up. Refuses requests that don't fit, and stages that aren't the plan's.
//!
//! | module | owns |
//! |---|---|
//! | `terms`, `event`, `draft`, `status` | the types at its border |
//! | `sequence` | one answer, and which of its tokens are final |
//! | `batch`, `flight` | what is sent next, what is under way |
//! | `hearing` | what stages say |
//! | `ring`, `candidate` | links, joins, heartbeats, spares |
//! | `pace` | what was measured, what to do by it |
//! | `evidence` | what stages answer to a client's challenge |

mod batch;
mod candidate;
mod draft;
mod event;
mod evidence;
mod flight;
mod hearing;
mod pace;
mod ring;
mod sequence;
mod status;
mod terms;

use std::time::Duration;

pub use draft::{DraftTask, Drafter};
pub use event::{Effect, Event, Finish, Loss, Record, Replan, Request};
pub use status::{Counts, HeadStatus};
pub use terms::{HeadTerms, HeadTimes, Speculation};

use crate::message::{RingId, SequenceId};
use evidence::Challenges;
use flight::Flight;
use pace::{Mode, Pace};
use ring::Ring;
use sequence::Sequence;

/// Answers that may wait beside those in progress.
const MOST_WAITING: usize = 64;

/// The head's machine.
#[expect(missing_debug_implementations, reason = "it holds users' text")]
pub struct Head {
    terms: HeadTerms,
    ring: Ring,
    flight: Flight,
    pace: Pace,
    challenges: Challenges,
    /// In the order in which they came.
    sequences: Vec<Sequence>,
    /// Rows that fit a frame.
    rows: usize,
    /// Where the next frame begins to look for runs.
    turn: usize,
    /// Where the next draft begins to look for an answer.
    draft_turn: usize,
    counts: Counts,
    now: Duration,
}

impl Head {
    /// A head that has no ring yet: [`start`](Self::start) makes one.
    #[must_use]
    pub fn new(terms: HeadTerms) -> Self {
        let ring = Ring::new(&terms);
        Self {
            pace: Pace::new(terms.speculation, usize::from(ring.stages()), &terms.times),
            rows: batch::most_rows(terms.width),
            ring,
            terms,
            flight: Flight::default(),
            challenges: Challenges::default(),
            sequences: Vec::new(),
            turn: 0,
            draft_turn: 0,
            counts: Counts::default(),
            now: Duration::ZERO,
        }
    }

    /// The same that counts its rings from another number than 0. A random one
    /// keeps apart what two heads of one pipeline say, should there ever be two.
    #[must_use]
    pub fn counting_from(mut self, ring: RingId) -> Self {
        self.ring.count_from(ring);
        self
    }

    /// Opens links to the first candidates, or joins at once if there is only
    /// stage 0. Call once, before anything else.
    pub fn start(&mut self, now: Duration) -> Vec<Effect> {
        self.now = now;
        let mut out = Vec::new();
        self.ring.start(now, &self.terms, &mut out);
        out
    }

    /// What to do about an event. `now` is since any fixed moment; if it goes
    /// back, time stands still.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Effect> {
        self.now = self.now.max(now);
        let now = self.now;
        let mut out = Vec::new();
        if !matches!(event, Event::Stop { .. }) {
            self.sequences.iter_mut().for_each(Sequence::settle);
        }
        match event {
            Event::Submit(request) => self.submit(request, &mut out),
            Event::Up { stage } => self.counts.stale += u64::from(!self.ring.up(stage)),
            Event::Down { stage, why } => {
                let known = self.ring.down(stage, why, now, &self.terms);
                self.counts.stale += u64::from(!known);
            }
            Event::Message { stage, envelope } => self.hear(stage, envelope, now, &mut out),
            Event::Drafted {
                sequence,
                epoch,
                ids,
                took,
            } => {
                let found = self.sequences.iter_mut().find(|known| known.id == sequence);
                let (eos, vocabulary) = (&self.terms.eos, self.terms.vocabulary);
                let added = found.and_then(|found| found.drafted(epoch, &ids, eos, vocabulary));
                self.pace.drafted(ids.len(), took);
                match added {
                    Some(added) => {
                        self.counts.drafted += u64::try_from(added).unwrap_or(u64::MAX);
                        self.counts.rounds += u64::from(added > 0);
                    }
                    None => self.counts.stale += 1,
                }
            }
            Event::Stop { sequence, produced } => self.stop(sequence, produced, &mut out),
            Event::Cancel { sequence } => {
                self.forget(sequence, &mut out);
            }
            Event::Challenge { id, nonce } => {
                let until = now.saturating_add(self.terms.times.evidence);
                self.challenges
                    .begin(id, nonce, until, self.ring.stages(), &mut out);
            }
            Event::Tick => {}
        }
        self.pass(now, &mut out);
        self.pump(now, &mut out);
        out
    }

    /// The next thing to ask of the draft, if there is one. To be asked after
    /// every event while no draft is being made. Each task is to be answered
    /// by [`Event::Drafted`], except after the answer has ended.
    pub fn next_draft(&mut self, now: Duration) -> Option<DraftTask> {
        self.now = self.now.max(now);
        let mode = self.mode();
        let count = self.sequences.len();
        if !self.ring.whole() || mode == Mode::Plain {
            return None;
        }
        for step in 0..count {
            let place = (self.draft_turn + step) % count;
            let task = self
                .sequences
                .get_mut(place)
                .and_then(|sequence| sequence.draft(mode));
            if task.is_some() {
                self.draft_turn = place + 1;
                return task;
            }
        }
        None
    }

    /// When [`Event::Tick`] is due, if nothing happens before. A moment that
    /// has passed means at once.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let mode = self.mode();
        let patience = self.pace.patience(mode.k());
        let answers = self.sequences.iter().flat_map(|sequence| {
            let give_up = self
                .ring
                .broken()
                .map(|since| since.max(sequence.since).saturating_add(self.terms.times.give_up));
            let part = sequence
                .finishing
                .map(|since| since.saturating_add(self.allowance()));
            // What waits for a credit waits for an answer, not for a moment.
            let impatient = sequence.impatient(mode, patience).filter(|due| *due > self.now);
            [give_up, part, impatient]
        });
        let frame = self
            .flight
            .oldest()
            .map(|frame| frame.sent.saturating_add(self.allowance()));
        answers
            .chain([self.ring.due(), self.challenges.due(), frame])
            .flatten()
            .min()
    }

    /// The state, for metrics.
    #[must_use]
    pub fn status(&self) -> HeadStatus {
        let running = self.opened();
        HeadStatus {
            ring: self.ring.id().0,
            whole: self.ring.whole(),
            nodes: self.ring.nodes(),
            running,
            waiting: self.sequences.len() - running,
            frames: self.flight.len(),
            round_trip: self
                .pace
                .round_trip()
                .and_then(|trip| Duration::try_from_secs_f64(trip).ok()),
            acceptance: self.pace.acceptance(),
            k: u8::try_from(self.mode().k()).unwrap_or(u8::MAX),
            counts: Counts {
                lost: self.ring.lost,
                ..self.counts
            },
        }
    }

    /// How the draft is used now.
    fn mode(&self) -> Mode {
        self.pace.mode(self.opened())
    }

    /// Answers in progress.
    fn opened(&self) -> usize {
        self.sequences.iter().filter(|sequence| sequence.opened).count()
    }

    /// Answers that may be in progress.
    fn places(&self) -> usize {
        let least = self.ring.ready().map(|ready| ready.max_sequences).min();
        usize::from(self.terms.max_sequences.min(least.unwrap_or(u16::MAX)).max(1))
    }

    /// How long a frame or a part may take now.
    fn allowance(&self) -> Duration {
        self.pace.allowance(self.flight.rows())
    }

    fn submit(&mut self, request: Request, out: &mut Vec<Effect>) {
        let id = request.sequence;
        if self.sequences.iter().any(|sequence| sequence.id == id) {
            self.counts.stale += 1;
            return;
        }
        let refused = self.refusal(&request);
        if let Some(code) = refused {
            out.push(Effect::Failed { sequence: id, code });
            return;
        }
        let stages = self.ring.stages();
        self.sequences.push(Sequence::new(
            &request,
            self.terms.max_positions,
            stages,
            self.now,
        ));
    }

    /// Why a request isn't taken on.
    fn refusal(&self, request: &Request) -> Option<&'static str> {
        let fits = u32::try_from(request.prompt.len()).is_ok_and(|prompt| prompt < self.terms.max_positions);
        let sampling = &request.sampling;
        let sampled = (0.0..=100.0).contains(&sampling.temperature)
            && sampling.top_p > 0.0
            && sampling.top_p <= 1.0
            && sampling.top_logprobs.is_none_or(|count| count <= 20);
        let most = usize::from(self.terms.max_sequences.max(1)).saturating_add(MOST_WAITING);
        if request.prompt.is_empty() {
            Some("generate.empty_prompt")
        } else if !fits {
            Some("generate.prompt_too_long")
        } else if !sampled || request.budget == 0 {
            Some("generate.parameter")
        } else if request.prompt.iter().any(|id| *id >= self.terms.vocabulary) {
            Some("pipeline.vocabulary")
        } else if self.sequences.len() >= most {
            Some("pipeline.busy")
        } else {
            None
        }
    }

    fn stop(&mut self, id: SequenceId, produced: u32, out: &mut Vec<Effect>) {
        let sequence = self.sequences.iter_mut().find(|sequence| sequence.id == id);
        let stopped = sequence.and_then(|sequence| Some((sequence.stop(produced)?, sequence.epoch)));
        match stopped {
            Some((true, epoch)) => self.call_off(id, epoch, out),
            Some((false, _)) => {}
            None => self.counts.stale += 1,
        }
    }

    /// Does what is due, and clears up after a ring that fell.
    fn pass(&mut self, now: Duration, out: &mut Vec<Effect>) {
        self.blame(now, out);
        self.ring.pass(now, &self.terms, out);
        if self.ring.fell() {
            self.flight.clear();
            let cause = self.ring.cause().unwrap_or((0, Loss::Ended));
            for sequence in &mut self.sequences {
                sequence.rewind(cause, now);
            }
        }
        self.challenges.ask(now, self.ring.id(), &self.ring.links(), out);
        if let Some(broken) = self.ring.broken() {
            let give_up = self.terms.times.give_up;
            let tired = |sequence: &&Sequence| now >= broken.max(sequence.since).saturating_add(give_up);
            let tired: Vec<SequenceId> = self
                .sequences
                .iter()
                .filter(tired)
                .map(|sequence| sequence.id)
                .collect();
            for id in tired {
                self.fail(id, "pipeline.no_stage", out);
            }
        }
    }

    /// Finds who keeps a frame or a part for too long.
    fn blame(&mut self, now: Duration, out: &mut Vec<Effect>) {
        if !self.ring.whole() {
            return;
        }
        let allowance = self.allowance();
        let late = |since: Duration| now >= since.saturating_add(allowance);
        let frame = self
            .flight
            .oldest()
            .filter(|frame| late(frame.sent))
            .map(|frame| self.ring.behind(frame.number));
        let part = self.sequences.iter().find_map(|sequence| {
            sequence.finishing.filter(|since| late(*since))?;
            sequence.unsigned()
        });
        if let Some(stage) = frame.or(part) {
            self.ring.lose(stage, Loss::Slow, now, &self.terms, out);
        }
    }
}
