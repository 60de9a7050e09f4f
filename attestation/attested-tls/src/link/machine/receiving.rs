//! What the peer sends: which frame has a place in which state, and what follows
//! from it.

use std::time::Duration;

use bastide_attestation::binding::{Ends, binder, link_confirm_holds};
use bastide_attestation::link::{CloseCode, FrameType, Hello, LinkContext};
use bastide_attestation::{Nonce, SessionExpectation};

use super::{Effect, LinkMachine, Own, Renewal, close_frame};
use crate::link::end::{LinkEnd, LinkState};
use crate::link::frames::{Frame, Pulled};

impl LinkMachine {
    pub(super) fn receive(
        &mut self,
        now: Duration,
        mut bytes: &[u8],
        out: &mut Vec<Effect>,
    ) -> Result<(), LinkEnd> {
        while !self.over {
            match self.reader.pull(&mut bytes)? {
                Pulled::More => break,
                Pulled::Header(kind) => self.require_place(kind)?,
                Pulled::Frame(frame) => self.frame(now, frame, out)?,
            }
        }
        Ok(())
    }

    /// Whether a frame of this type may come now, by its header alone.
    pub(super) fn require_place(&self, kind: FrameType) -> Result<(), LinkEnd> {
        let state = self.state;
        let fits = match kind {
            FrameType::Close => true,
            FrameType::Hello => state == LinkState::Hello,
            FrameType::Evidence => {
                let renewed = state == LinkState::Opened
                    && (self.closing.is_some() || matches!(self.renewal, Renewal::Asked(_)));
                state == LinkState::Evidence || renewed
            }
            // The peer confirms what it has received: this end's evidence too.
            FrameType::Confirm => state == LinkState::Confirm && self.own == Own::Sent,
            FrameType::Open => state == LinkState::Open && self.confirmed.is_some(),
            FrameType::Renew => state == LinkState::Opened && !self.answering,
            FrameType::Data if state != LinkState::Opened => return Err(LinkEnd::EarlyData),
            FrameType::Data => true,
        };
        if fits {
            Ok(())
        } else {
            Err(LinkEnd::Unexpected { kind, state })
        }
    }

    pub(super) fn frame(
        &mut self,
        now: Duration,
        frame: Frame,
        out: &mut Vec<Effect>,
    ) -> Result<(), LinkEnd> {
        match frame.kind() {
            FrameType::Hello => self.hello(now, &frame, out),
            FrameType::Evidence => self.evidence(&frame, out),
            FrameType::Confirm => self.confirm(&frame, out),
            FrameType::Open => {
                self.state = LinkState::Opened;
                out.push(Effect::Opened);
                Ok(())
            }
            FrameType::Renew => self.renew(now, &frame, out),
            FrameType::Data => {
                out.push(Effect::Deliver(frame.into_body()));
                Ok(())
            }
            FrameType::Close => {
                self.closed_by_peer(&frame, out);
                Ok(())
            }
        }
    }

    pub(super) fn hello(
        &mut self,
        now: Duration,
        frame: &Frame,
        out: &mut Vec<Effect>,
    ) -> Result<(), LinkEnd> {
        let hello = Hello::decode(frame.body())?;
        if hello.role != self.terms.role.peer() {
            return Err(LinkEnd::Role);
        }
        self.require_context(&hello.context)?;
        if !self.terms.gate.lets_in(&hello, &self.terms.spki_peer) {
            let stage = hello.context.stage;
            return Err(LinkEnd::Taken { stage });
        }
        self.received.extend_from_slice(frame.bytes());
        out.push(self.make_evidence(&hello.nonce));
        self.own = Own::Asked;
        self.peer = Some(Box::new(hello));
        self.greeted = now;
        self.state = LinkState::Evidence;
        Ok(())
    }

    pub(super) fn evidence(&mut self, frame: &Frame, out: &mut Vec<Effect>) -> Result<(), LinkEnd> {
        if self.closing.is_some() {
            // Too late to change anything, but no fault of the peer's.
            return Ok(());
        }
        if let Renewal::Asked(at) = self.renewal {
            self.renewal = Renewal::Appraising(at);
        } else {
            self.received.extend_from_slice(frame.bytes());
            self.state = LinkState::Confirm;
        }
        let peer = self.peer.clone().ok_or(LinkEnd::Unexpected {
            kind: FrameType::Evidence,
            state: self.state,
        })?;
        let ends = Ends {
            role: self.terms.role.peer(),
            spki_attester: self.terms.spki_peer,
            spki_peer: Some(self.terms.spki_own),
            context: Some(peer.context.digest()),
        };
        out.push(Effect::Appraise {
            evidence: frame.body().to_vec(),
            expected: SessionExpectation {
                binder: binder(&self.terms.exporter_peer, &self.nonce, &ends),
                leaf: ends.role.leaf_type(),
            },
            peer,
        });
        Ok(())
    }

    pub(super) fn confirm(&mut self, frame: &Frame, out: &mut Vec<Effect>) -> Result<(), LinkEnd> {
        if !link_confirm_holds(&self.terms.exporter_peer, &self.transcript(), frame.body()) {
            return Err(LinkEnd::Confirm);
        }
        self.peer_confirmed = true;
        self.state = LinkState::Open;
        self.open_if_confirmed(out)
    }

    pub(super) fn renew(
        &mut self,
        now: Duration,
        frame: &Frame,
        out: &mut Vec<Effect>,
    ) -> Result<(), LinkEnd> {
        if self.closing.is_some() {
            // Nothing follows this end's CLOSE.
            return Ok(());
        }
        let soon = |asked: Duration| now < asked.saturating_add(self.terms.times.renew_gap);
        if self.asked.is_some_and(soon) {
            return Err(LinkEnd::RenewedTooOften);
        }
        let nonce = Nonce::try_from(frame.body()).map_err(|_| LinkEnd::Unexpected {
            kind: FrameType::Renew,
            state: self.state,
        })?;
        self.asked = Some(now);
        self.answering = true;
        out.push(self.make_evidence(&nonce));
        Ok(())
    }

    pub(super) fn closed_by_peer(&mut self, frame: &Frame, out: &mut Vec<Effect>) {
        let code = frame
            .body()
            .first_chunk()
            .map_or(CloseCode::Protocol, |body| CloseCode::decode(*body));
        let opened = self.state == LinkState::Opened;
        let end = match (self.closing.take(), code) {
            (Some(closing), _) => closing.end,
            (None, CloseCode::Done) if opened => {
                out.push(Effect::Draining);
                out.extend(close_frame(CloseCode::Done));
                LinkEnd::Done
            }
            (None, code) => LinkEnd::PeerClosed { code },
        };
        self.over = true;
        // A peer that closed for a reason takes nothing more.
        let flush = opened && !matches!(end, LinkEnd::PeerClosed { .. });
        out.push(Effect::Close { end, flush });
    }

    /// The peer is of this end's pipeline and model, and at a stage that this
    /// end links with.
    fn require_context(&self, got: &LinkContext) -> Result<(), LinkEnd> {
        let own = &self.terms.own;
        let other = |member, expected: String, got: String| {
            Err(LinkEnd::Context {
                member,
                expected,
                got,
            })
        };
        if own.pipeline != got.pipeline {
            return other("pipeline", own.pipeline.to_string(), got.pipeline.to_string());
        }
        if !self.terms.peers.contains(&got.stage) {
            return Err(LinkEnd::no_stage(self.terms.peers.iter().copied(), got.stage));
        }
        if own.model != got.model {
            return other("model", own.model.to_string(), got.model.to_string());
        }
        Ok(())
    }
}
