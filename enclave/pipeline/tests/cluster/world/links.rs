//! Links and nodes: what arrives, what opens, what ends.

use bastide_pipeline::head::{Event, Loss};
use bastide_pipeline::message::{Envelope, Message};
use bastide_pipeline::stage::{Origin, StageEffect};

use super::{CANDIDATES, Ends, Happening, Link, Vice, World};

impl World {
    pub(super) fn deliver(&mut self, link: usize, envelope: Envelope, head: bool) {
        if !self.links[link].alive {
            return;
        }
        self.delivered += 1;
        self.lose_something();
        match self.links[link].ends {
            // What was lost just now isn't delivered.
            _ if !self.links[link].alive => {}
            Ends::Head(node) if head => {
                let stage = u16::try_from(node / CANDIDATES).unwrap();
                if self.below(1_000) < self.setting.repeats {
                    let late = self.now + self.below(self.setting.hop * 3 + 1_000);
                    self.at(
                        late,
                        Happening::Heard {
                            link,
                            envelope: envelope.clone(),
                            head,
                        },
                    );
                }
                self.tell(Event::Message { stage, envelope });
            }
            Ends::Head(node) | Ends::Ring(_, node, _) => {
                let vice = self
                    .vice
                    .filter(|(which, from, _)| *which == node && *from <= self.now);
                let frame = matches!(envelope.message, Message::Frame(_));
                match vice.map(|(_, _, vice)| vice) {
                    Some(Vice::Mute) => return,
                    Some(Vice::Stuck) if frame => return,
                    Some(Vice::Forgetful) if frame => {
                        self.vice = None;
                        if let Some(stage) = &self.nodes[node] {
                            stage.forget();
                        }
                    }
                    _ => {}
                }
                let from = match self.links[link].ends {
                    Ends::Head(_) => Origin::Head,
                    Ends::Ring(..) => Origin::Previous,
                };
                if let Some(stage) = self.nodes[node].as_mut() {
                    match stage.hear(from, envelope) {
                        Some(effects) => self.act(node, effects),
                        None => self.cut(link),
                    }
                }
            }
        }
    }

    /// Does what a node wants done.
    fn act(&mut self, node: usize, effects: Vec<StageEffect>) {
        for effect in effects {
            match effect {
                StageEffect::ToHead(mut envelope) => {
                    if self.tampers > 0
                        && let Some(tamper) = self.tamper
                    {
                        let before = envelope.clone();
                        tamper(&mut envelope);
                        self.tampers -= u32::from(before != envelope);
                    }
                    if let Some(link) = self.find(|ends| ends == Ends::Head(node)) {
                        self.carry(link, envelope, true);
                    }
                }
                StageEffect::ToNext(envelope) => {
                    let link = self.find(|ends| matches!(ends, Ends::Ring(from, ..) if from == node));
                    if let Some(link) = link {
                        self.carry(link, envelope, false);
                    }
                }
                StageEffect::LinkNext { ring, address } => {
                    let next: usize = address.parse().unwrap();
                    assert_eq!(next / CANDIDATES, node / CANDIDATES + 1);
                    self.open_link(Ends::Ring(node, next, ring));
                }
                StageEffect::UnlinkNext => {
                    for link in &mut self.links {
                        if matches!(link.ends, Ends::Ring(from, ..) if from == node) {
                            link.alive = false;
                        }
                    }
                }
                StageEffect::Attest { .. } => unreachable!("a node attests by itself"),
            }
        }
    }

    pub(super) fn find(&self, wanted: impl Fn(Ends) -> bool) -> Option<usize> {
        self.links
            .iter()
            .rposition(|link| link.alive && link.open && wanted(link.ends))
    }

    /// Puts something on a link.
    pub(super) fn carry(&mut self, link: usize, envelope: Envelope, head: bool) {
        let delay = if self.setting.steady {
            self.setting.hop
        } else {
            1 + self.below(self.setting.hop + 1)
        };
        let last = &mut self.links[link].last[usize::from(head)];
        let time = (self.now + delay).max(*last + 1);
        *last = time;
        self.at(time, Happening::Heard { link, envelope, head });
    }

    pub(super) fn open_link(&mut self, ends: Ends) {
        self.links.push(Link {
            ends,
            alive: true,
            open: false,
            last: [self.now; 2],
        });
        let time = self.now + 1 + self.below(2 * self.setting.hop + 1);
        self.at(
            time,
            Happening::Opened {
                link: self.links.len() - 1,
            },
        );
    }

    pub(super) fn opened(&mut self, link: usize) {
        if !self.links[link].alive {
            return;
        }
        let ends = self.links[link].ends;
        let (Ends::Head(far) | Ends::Ring(_, far, _)) = ends;
        let up = self.nodes[far].is_some();
        self.links[link].open = up;
        self.links[link].alive = up;
        match ends {
            Ends::Head(node) => {
                if up {
                    self.without_head(node);
                }
                let stage = u16::try_from(node / CANDIDATES).unwrap();
                self.tell(if up {
                    Event::Up { stage }
                } else {
                    Event::Down {
                        stage,
                        why: Loss::Unreachable,
                    }
                });
            }
            Ends::Ring(node, _, ring) => {
                let effects = self.nodes[node].as_mut().map(|stage| match up {
                    true => stage.machine.next_linked(ring),
                    false => stage.machine.next_lost(),
                });
                self.act(node, effects.unwrap_or_default());
            }
        }
    }

    /// A node's link to the head has ended.
    fn without_head(&mut self, node: usize) {
        let effects = self.nodes[node].as_mut().map(|stage| stage.machine.head_lost());
        self.act(node, effects.unwrap_or_default());
    }

    /// Who is at the ends of a link notices that it has ended.
    pub(super) fn ended(&mut self, link: usize) {
        match self.links[link].ends {
            Ends::Head(node) => {
                if self.find(|ends| ends == Ends::Head(node)).is_none() {
                    self.without_head(node);
                }
                let stage = u16::try_from(node / CANDIDATES).unwrap();
                // Of links that the head ended itself it hears nothing.
                if self.links[link].open {
                    self.tell(Event::Down {
                        stage,
                        why: Loss::Ended,
                    });
                }
            }
            Ends::Ring(node, ..) => {
                let again = self
                    .links
                    .iter()
                    .any(|link| link.alive && matches!(link.ends, Ends::Ring(from, ..) if from == node));
                if !again {
                    let effects = self.nodes[node].as_mut().map(|stage| stage.machine.next_lost());
                    self.act(node, effects.unwrap_or_default());
                }
            }
        }
    }

    pub(super) fn cut(&mut self, link: usize) {
        if self.links[link].alive && link > 0 {
            self.links[link].alive = false;
            let time = self.now + 1 + self.below(self.setting.hop + 1);
            self.at(time, Happening::Ended { link });
        }
    }

    /// A node's process ends; it is started again after a while.
    pub(crate) fn crash(&mut self, node: usize) {
        self.nodes[node] = None;
        for link in 0..self.links.len() {
            let touches = match self.links[link].ends {
                Ends::Head(far) => far == node,
                Ends::Ring(near, far, _) => near == node || far == node,
            };
            if touches {
                self.cut(link);
            }
        }
        let time = self.now + 1 + self.below(2_000_000);
        if !self.doomed {
            self.at(time, Happening::Restarted { node });
        }
    }

    /// The node that the head has linked to as a stage.
    fn linked(&self, stage: u16) -> Option<usize> {
        let of = |ends: Ends| matches!(ends, Ends::Head(node) if node / CANDIDATES == usize::from(stage));
        match self.find(of).map(|link| self.links[link].ends) {
            Some(Ends::Head(node)) => Some(node),
            _ => None,
        }
    }

    fn lose_something(&mut self) {
        if let Some((delivered, stage)) = self.kill
            && delivered <= self.delivered
        {
            self.kill = None;
            if let Some(node) = self.linked(stage) {
                self.crash(node);
            }
        }
        if self.losses == 0 || self.below(60) > 0 || self.setting.stages == 1 {
            return;
        }
        self.losses -= 1;
        let stage = 1 + u16::try_from(self.below(u64::from(self.setting.stages) - 1)).unwrap();
        let Some(node) = self.linked(stage) else { return };
        let link = match self.below(3) {
            0 => self.find(|ends| ends == Ends::Head(node)),
            1 => self.find(|ends| matches!(ends, Ends::Ring(_, far, _) if far == node)),
            _ => {
                self.crash(node);
                None
            }
        };
        if let Some(link) = link {
            self.cut(link);
        }
    }
}
