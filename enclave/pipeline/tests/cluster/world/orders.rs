//! What the head is told, and what it orders.

use bastide_pipeline::head::{DraftTask, Effect, Event};
use bastide_pipeline::message::{Message, SequenceId};
use zeroize::Zeroizing;

use super::{CANDIDATES, Drafts, Ends, Happening, World};
use crate::model::{VOCABULARY, plain};

impl World {
    /// Tells the head something, and does what it says.
    pub(crate) fn tell(&mut self, event: Event) {
        let effects = self.head.handle(self.moment(), event);
        self.obey(effects);
        let status = self.head.status();
        assert!(
            status.frames <= 32 + usize::from(self.setting.stages) + 1,
            "{} frames",
            status.frames
        );
        self.most_frames = self.most_frames.max(status.frames);
        assert!(status.running <= usize::from(self.setting.max_sequences));
        if !self.drafting
            && let Some(task) = self.head.next_draft(self.moment())
        {
            assert!((1..=16).contains(&task.k));
            self.drafting = true;
            let k = u64::try_from(task.k).unwrap();
            let time = if self.setting.steady {
                self.now + k * 1_000
            } else {
                self.now + 50 + self.below(400)
            };
            self.at(time, Happening::Drafted(task));
        }
        if let Some(deadline) = self.head.deadline() {
            let time = u64::try_from(deadline.as_micros()).unwrap() + 1;
            self.at(time.max(self.now + 1), Happening::Tick);
        }
    }

    pub(super) fn obey(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Link { stage, node } => {
                    let node: usize = node.parse().unwrap();
                    assert_eq!(node / CANDIDATES, usize::from(stage));
                    self.open_link(Ends::Head(node));
                }
                Effect::Unlink { stage } => {
                    assert!(stage > 0);
                    let of = usize::from(stage);
                    for link in 0..self.links.len() {
                        if matches!(self.links[link].ends, Ends::Head(node) if node / CANDIDATES == of) {
                            self.cut(link);
                            self.links[link].open = false;
                        }
                    }
                }
                Effect::Send { stage, envelope } => {
                    let along = matches!(
                        envelope.message,
                        Message::Open(_) | Message::Frame(_) | Message::Finish(_)
                    );
                    assert!(!along || stage == 0);
                    let link = if stage == 0 {
                        Some(0)
                    } else {
                        let of = usize::from(stage);
                        self.find(|ends| matches!(ends, Ends::Head(node) if node / CANDIDATES == of))
                    };
                    if let Some(link) = link {
                        self.carry(link, envelope, false);
                    }
                }
                Effect::Emit { sequence, targets } => {
                    assert!(!targets.is_empty());
                    self.first_at.get_or_insert(self.now);
                    self.last_at = self.now;
                    let place = usize::try_from(sequence.0).unwrap();
                    let outcome = &mut self.outcomes[place];
                    assert!(!outcome.over(), "emitted after the end");
                    outcome.emitted.extend(targets.iter().map(|target| target.id));
                    let length = outcome.emitted.len();
                    assert!(length <= self.expected[place].len(), "more than one node answers");
                    assert_eq!(
                        outcome.emitted,
                        self.expected[place][..length],
                        "not what one node answers"
                    );
                    let ask = &self.setting.asks[place];
                    if ask.cancel.is_some_and(|cancel| length >= cancel) {
                        outcome.cancelled = true;
                    } else if let Some(stop) = ask.stop
                        && length >= usize::try_from(stop).unwrap()
                    {
                        self.stops.push((place, stop));
                    }
                }
                Effect::Done { sequence, record } => {
                    let outcome = &mut self.outcomes[usize::try_from(sequence.0).unwrap()];
                    assert!(!outcome.over(), "done after the end");
                    outcome.record = Some(*record);
                }
                Effect::Failed { sequence, code } => {
                    let outcome = &mut self.outcomes[usize::try_from(sequence.0).unwrap()];
                    assert!(!outcome.over(), "failed after the end");
                    outcome.failed = Some(code);
                }
                Effect::Evidence { id, stage, envelope } => self.evidence.push((id, stage, envelope)),
            }
        }
        while let Some((place, produced)) = self.stops.pop() {
            // Told once: later ones are of an answer that has ended.
            self.setting.asks[place].stop = None;
            let sequence = SequenceId(u64::try_from(place).unwrap());
            self.setting.asks[place].budget = produced;
            self.tell(Event::Stop { sequence, produced });
        }
        for place in 0..self.outcomes.len() {
            if self.outcomes[place].cancelled && self.setting.asks[place].cancel.take().is_some() {
                let sequence = SequenceId(u64::try_from(place).unwrap());
                self.tell(Event::Cancel { sequence });
            }
        }
    }

    pub(super) fn draft(&mut self, task: &DraftTask) -> Zeroizing<Vec<u32>> {
        let budget = u32::try_from(task.k).unwrap();
        let mut ids = plain(&task.tokens, budget, u32::MAX, &task.sampling);
        let how = match self.setting.drafts {
            Drafts::Right => 0,
            Drafts::Wrong => 1,
            Drafts::Often(percent) => {
                for id in &mut ids {
                    if self.below(100) >= percent {
                        *id = (*id + 1) % VOCABULARY;
                    }
                }
                0
            }
            Drafts::Mixed => self.below(7),
        };
        match how {
            1 => ids.iter_mut().for_each(|id| *id = (*id + 1) % VOCABULARY),
            2 => {
                let place = self.below(u64::try_from(ids.len()).unwrap());
                ids[usize::try_from(place).unwrap()] ^= 1;
            }
            3 => ids.clear(),
            4 => ids.extend_from_slice(&[5; 40]),
            5 => ids[0] = u32::MAX,
            _ => {}
        }
        Zeroizing::new(ids)
    }
}
