//! The head of a pipeline: sequences, speculation, the ring and its repair.
//!
//! Owns every token of every running sequence, and nothing else does. It is
//! told what happened and when ([`Event`]), and says what to do ([`Effect`]).
//! Stage 0 is a stage like the others, reached by [`Effect::Send`], and always
//! up. Refuses requests that don't fit, and stages that aren't the plan's.

mod draft;
mod event;
mod status;
mod terms;

use std::time::Duration;

pub use draft::{DraftTask, Drafter};
pub use event::{Effect, Event, Finish, Loss, Record, Replan, Request};
pub use status::{Counts, HeadStatus};
pub use terms::{HeadTerms, HeadTimes, Speculation};

/// The head's machine.
#[expect(missing_debug_implementations, reason = "it holds users' text")]
pub struct Head {
    terms: HeadTerms,
}

impl Head {
    /// A head that has no ring yet: [`start`](Self::start) makes one.
    #[must_use]
    pub fn new(terms: HeadTerms) -> Self {
        Self { terms }
    }

    /// Opens links to the first candidates. Call once.
    pub fn start(&mut self, _now: Duration) -> Vec<Effect> {
        (0u16..)
            .zip(&self.terms.nodes)
            .skip(1)
            .filter_map(|(stage, nodes)| {
                let node = nodes.first()?.clone();
                Some(Effect::Link { stage, node })
            })
            .collect()
    }

    /// What to do about an event. `now` is since any fixed moment, and doesn't
    /// go back.
    pub fn handle(&mut self, _now: Duration, event: Event) -> Vec<Effect> {
        match event {
            Event::Submit(request) => vec![Effect::Failed {
                sequence: request.sequence,
                code: "pipeline.no_stage",
            }],
            _ => Vec::new(),
        }
    }

    /// The next thing to ask of the draft, if there is one. To be asked after
    /// every event while no draft is being made; one at a time is enough.
    pub fn next_draft(&mut self, _now: Duration) -> Option<DraftTask> {
        None
    }

    /// When [`Event::Tick`] is due, if nothing happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        None
    }

    /// The state, for metrics.
    #[must_use]
    pub fn status(&self) -> HeadStatus {
        HeadStatus::default()
    }
}
