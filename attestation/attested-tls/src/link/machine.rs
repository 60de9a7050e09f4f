//! The order of events on a link: bytes, evidence, verdicts and time in, effects
//! out. No socket, clock, random numbers or TLS type is here; whoever calls
//! gives what they would give.
//!
//! ```text
//! HELLO ⇄ ──▶ EVIDENCE ⇄ ──▶ CONFIRM ⇄ ──▶ OPEN ⇄ ──▶ DATA*, RENEW/EVIDENCE* ⇄ ──▶ CLOSE
//! ```
//!
//! Each end writes as soon as it can, whatever it is reading: two ends that both
//! write first don't wait for one another. `Opened` is emitted once this end has
//! accepted the peer's evidence and the peer has said, over the same frames,
//! that it accepted this end's.

use std::time::Duration;

use bastide_attestation::binding::{
    Ends, ExporterSecret, LeafType, Role, binder, link_confirm, link_confirm_holds,
};
use bastide_attestation::link::{CloseCode, FrameType, Hello, LinkContext, encode_frame};
use bastide_attestation::{Binder, Nonce, SessionExpectation, SpkiDigest, sha256};

use crate::link::end::{LinkEnd, LinkState};
use crate::link::frames::{Frame, FrameReader, Pulled};
use crate::link::times::LinkTimes;

/// What one end is, and whom it expects, on one TLS session.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// This end's role in TLS.
    pub(super) role: Role,
    /// Where this end stands.
    pub(super) own: LinkContext,
    /// Where the peer must stand.
    pub(super) peer: LinkContext,
    pub(super) spki_own: SpkiDigest,
    pub(super) spki_peer: SpkiDigest,
    pub(super) exporter_own: ExporterSecret,
    pub(super) exporter_peer: ExporterSecret,
    pub(super) credential: Option<Vec<u8>>,
    pub(super) capabilities: Vec<String>,
    pub(super) times: LinkTimes,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Input<'a> {
    /// Bytes came.
    Received(&'a [u8]),
    /// The connection ended: nothing more will come.
    Ended,
    /// The evidence that was asked for, or why there is none.
    Evidence(Result<Vec<u8>, String>),
    /// What came of an appraisal.
    Appraised(Result<(), LinkEnd>),
    /// The nonce that was asked for.
    Nonce(Nonce),
    /// The application has sent all it wants to.
    Finish,
    /// The time that was armed, or any other.
    Timer,
}

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Write this frame after those before.
    Send(Vec<u8>),
    /// Make evidence bound to this.
    MakeEvidence { binder: Binder, leaf: LeafType },
    /// Appraise an envelope, and admit its sender.
    Appraise {
        evidence: Vec<u8>,
        expected: SessionExpectation,
        peer: Box<Hello>,
    },
    /// Draw a nonce.
    DrawNonce,
    /// The application may send.
    Opened,
    /// A message for the application.
    Deliver(Vec<u8>),
    /// The application may send no more; what it has sent goes out.
    Draining,
    /// Wake the machine up at this time.
    ArmTimer(Duration),
    /// The link is over, and with it the machine. Frames not yet written go out
    /// first where `flush` is set; else messages among them are thrown away.
    Close { end: LinkEnd, flush: bool },
}

/// The application may not send: the link is not open, or is closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotOpen;

/// This end's evidence for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    NotAsked,
    Asked,
    Sent,
}

/// Fresh evidence of the peer on an open link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewal {
    /// Not due.
    Idle,
    /// A nonce is being drawn since.
    Drawing,
    /// RENEW was sent at.
    Asked(Duration),
    /// EVIDENCE came for the RENEW sent at.
    Appraising(Duration),
}

#[derive(Debug, Clone)]
struct Closing {
    end: LinkEnd,
    until: Duration,
}

impl Closing {
    /// The peer has not said that it had sent all it wanted to.
    fn unanswered(&self) -> LinkEnd {
        match &self.end {
            LinkEnd::Done => LinkEnd::Truncated,
            end => end.clone(),
        }
    }
}

/// One end of one link.
#[derive(Debug)]
pub(super) struct LinkMachine {
    terms: Terms,
    reader: FrameReader,
    /// What the next frame of the peer must be.
    state: LinkState,
    /// The challenge that the peer's next evidence must be for.
    nonce: Nonce,
    peer: Option<Box<Hello>>,
    /// HELLO and EVIDENCE frames, until CONFIRM.
    sent: Vec<u8>,
    received: Vec<u8>,
    own: Own,
    accepted: bool,
    /// When this end sent CONFIRM.
    confirmed: Option<Duration>,
    peer_confirmed: bool,
    /// When the peer's HELLO came.
    greeted: Duration,
    /// From when the peer's evidence is relied on: when it was challenged.
    leased: Duration,
    renewal: Renewal,
    /// Whether the peer waits for fresh evidence, and when it asked last.
    answering: bool,
    asked: Option<Duration>,
    closing: Option<Closing>,
    over: bool,
    armed: Option<Duration>,
}

impl LinkMachine {
    /// Begins at time zero with this end's HELLO. `nonce` is random.
    ///
    /// # Errors
    /// [`LinkEnd::Hello`] if this end's own terms make no HELLO.
    pub(super) fn start(terms: Terms, nonce: Nonce) -> Result<(Self, Vec<Effect>), LinkEnd> {
        let hello = Hello {
            role: terms.role,
            nonce,
            credential: terms.credential.clone(),
            context: terms.own,
            capabilities: terms.capabilities.clone(),
        };
        let hello = encode_frame(FrameType::Hello, &hello.encode()?)?;
        let mut machine = Self {
            terms,
            reader: FrameReader::default(),
            state: LinkState::Hello,
            nonce,
            peer: None,
            sent: hello.clone(),
            received: Vec::new(),
            own: Own::NotAsked,
            accepted: false,
            confirmed: None,
            peer_confirmed: false,
            greeted: Duration::ZERO,
            leased: Duration::ZERO,
            renewal: Renewal::Idle,
            answering: false,
            asked: None,
            closing: None,
            over: false,
            armed: None,
        };
        let mut effects = vec![Effect::Send(hello)];
        machine.arm(&mut effects);
        Ok((machine, effects))
    }

    /// Takes one event at the time `now` since the beginning.
    pub(super) fn step(&mut self, now: Duration, input: Input<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.over {
            return effects;
        }
        if let Err(end) = self.advance(now, input, &mut effects) {
            self.end(end, &mut effects);
        }
        self.arm(&mut effects);
        effects
    }

    /// Sends one message of the application, unless [`NotOpen`]: then nothing of
    /// it is sent. What the time brought about is among the effects in both cases.
    pub(super) fn data(&mut self, now: Duration, message: &[u8]) -> (Vec<Effect>, Result<(), NotOpen>) {
        let mut effects = self.step(now, Input::Timer);
        match encode_frame(FrameType::Data, message) {
            Ok(frame) if self.may_send() => {
                effects.push(Effect::Send(frame));
                (effects, Ok(()))
            }
            _ => (effects, Err(NotOpen)),
        }
    }

    /// Whether the application may send.
    pub(super) fn may_send(&self) -> bool {
        self.state == LinkState::Opened && self.closing.is_none() && !self.over
    }

    fn advance(&mut self, now: Duration, input: Input<'_>, out: &mut Vec<Effect>) -> Result<(), LinkEnd> {
        // First: what comes too late must not count.
        self.keep_time(now, out)?;
        match input {
            Input::Received(bytes) => self.receive(now, bytes, out),
            Input::Ended => Err(self
                .closing
                .as_ref()
                .map_or(LinkEnd::Truncated, Closing::unanswered)),
            Input::Evidence(evidence) => self.evidence_ready(now, evidence, out),
            Input::Appraised(result) => self.appraised(now, result, out),
            Input::Nonce(nonce) => self.challenge_again(now, nonce, out),
            Input::Finish => {
                if self.state == LinkState::Opened && self.closing.is_none() {
                    self.close_in_order(
                        LinkEnd::Done,
                        CloseCode::Done,
                        now.saturating_add(self.terms.times.close),
                        out,
                    )
                } else if self.closing.is_some() {
                    Ok(())
                } else {
                    Err(LinkEnd::Done)
                }
            }
            Input::Timer => Ok(()),
        }
    }

    // Time.

    /// Ends what lasted too long, and begins what is due.
    fn keep_time(&mut self, now: Duration, out: &mut Vec<Effect>) -> Result<(), LinkEnd> {
        if self.state != LinkState::Opened {
            let (state, until) = self.waiting();
            return if now < until {
                Ok(())
            } else {
                Err(LinkEnd::TimedOut { state })
            };
        }
        // INVARIANT: nothing is sent or taken on evidence older than the lease.
        if now >= self.lease_end() {
            return Err(self
                .closing
                .as_ref()
                .map_or(LinkEnd::LeaseOver, Closing::unanswered));
        }
        if let Some(closing) = &self.closing {
            return if now < closing.until {
                Ok(())
            } else {
                Err(closing.unanswered())
            };
        }
        if now >= self.leased.saturating_add(self.terms.times.drain_after) {
            let until = self.lease_end();
            return self.close_in_order(LinkEnd::NotRenewed, CloseCode::LeaseOver, until, out);
        }
        if now >= self.renewal_due() && self.renewal == Renewal::Idle {
            self.renewal = Renewal::Drawing;
            out.push(Effect::DrawNonce);
        }
        Ok(())
    }

    /// Before the link is open: what it waits for, and until when.
    fn waiting(&self) -> (LinkState, Duration) {
        let times = &self.terms.times;
        match (self.state, self.confirmed) {
            (LinkState::Hello, _) => (LinkState::Hello, times.hello),
            (state, Some(confirmed)) => (state, confirmed.saturating_add(times.confirm)),
            (_, None) => (LinkState::Evidence, self.greeted.saturating_add(times.evidence)),
        }
    }

    const fn lease_end(&self) -> Duration {
        self.leased.saturating_add(self.terms.times.lease)
    }

    const fn renewal_due(&self) -> Duration {
        self.leased.saturating_add(self.terms.times.renew_after)
    }

    fn arm(&mut self, out: &mut Vec<Effect>) {
        if self.over {
            return;
        }
        let next = if self.state != LinkState::Opened {
            self.waiting().1
        } else if let Some(closing) = &self.closing {
            closing.until.min(self.lease_end())
        } else if self.renewal == Renewal::Idle {
            self.renewal_due()
        } else {
            self.leased.saturating_add(self.terms.times.drain_after)
        };
        if self.armed != Some(next) {
            self.armed = Some(next);
            out.push(Effect::ArmTimer(next));
        }
    }

    // Frames of the peer.

    fn receive(&mut self, now: Duration, mut bytes: &[u8], out: &mut Vec<Effect>) -> Result<(), LinkEnd> {
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
    fn require_place(&self, kind: FrameType) -> Result<(), LinkEnd> {
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

    fn frame(&mut self, now: Duration, frame: Frame, out: &mut Vec<Effect>) -> Result<(), LinkEnd> {
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

    fn hello(&mut self, now: Duration, frame: &Frame, out: &mut Vec<Effect>) -> Result<(), LinkEnd> {
        let hello = Hello::decode(frame.body())?;
        if hello.role != self.terms.role.peer() {
            return Err(LinkEnd::Role);
        }
        require_context(&self.terms.peer, &hello.context)?;
        self.received.extend_from_slice(frame.bytes());
        out.push(self.make_evidence(&hello.nonce));
        self.own = Own::Asked;
        self.peer = Some(Box::new(hello));
        self.greeted = now;
        self.state = LinkState::Evidence;
        Ok(())
    }

    fn evidence(&mut self, frame: &Frame, out: &mut Vec<Effect>) -> Result<(), LinkEnd> {
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

    fn confirm(&mut self, frame: &Frame, out: &mut Vec<Effect>) -> Result<(), LinkEnd> {
        if !link_confirm_holds(&self.terms.exporter_peer, &self.transcript(), frame.body()) {
            return Err(LinkEnd::Confirm);
        }
        self.peer_confirmed = true;
        self.state = LinkState::Open;
        self.open_if_confirmed(out)
    }

    fn renew(&mut self, now: Duration, frame: &Frame, out: &mut Vec<Effect>) -> Result<(), LinkEnd> {
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

    fn closed_by_peer(&mut self, frame: &Frame, out: &mut Vec<Effect>) {
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

    // What this end does.

    fn make_evidence(&self, nonce: &Nonce) -> Effect {
        let ends = Ends {
            role: self.terms.role,
            spki_attester: self.terms.spki_own,
            spki_peer: Some(self.terms.spki_peer),
            context: Some(self.terms.own.digest()),
        };
        Effect::MakeEvidence {
            binder: binder(&self.terms.exporter_own, nonce, &ends),
            leaf: ends.role.leaf_type(),
        }
    }

    fn evidence_ready(
        &mut self,
        now: Duration,
        evidence: Result<Vec<u8>, String>,
        out: &mut Vec<Effect>,
    ) -> Result<(), LinkEnd> {
        let frame = evidence.and_then(|evidence| {
            encode_frame(FrameType::Evidence, &evidence).map_err(|error| error.to_string())
        });
        match (self.own, frame) {
            (Own::Asked, Ok(frame)) => {
                self.sent.extend_from_slice(&frame);
                out.push(Effect::Send(frame));
                self.own = Own::Sent;
                self.confirm_if_accepted(now, out)
            }
            (Own::Asked, Err(reason)) => Err(LinkEnd::Unattestable { reason }),
            (Own::Sent, _) if !self.answering || self.closing.is_some() => Ok(()),
            (Own::Sent, Ok(frame)) => {
                self.answering = false;
                out.push(Effect::Send(frame));
                Ok(())
            }
            // The peer will have no fresh evidence: what was accepted for
            // sending goes out while its lease holds.
            (Own::Sent, Err(reason)) => {
                let until = now.saturating_add(self.terms.times.close);
                self.close_in_order(
                    LinkEnd::Unattestable { reason },
                    CloseCode::Unattestable,
                    until,
                    out,
                )
            }
            (Own::NotAsked, _) => Ok(()),
        }
    }

    fn appraised(
        &mut self,
        now: Duration,
        result: Result<(), LinkEnd>,
        out: &mut Vec<Effect>,
    ) -> Result<(), LinkEnd> {
        if self.closing.is_some() {
            return Ok(());
        }
        // A peer that is refused gets nothing more, not even what was queued.
        result?;
        match (self.state, self.renewal) {
            (LinkState::Opened, Renewal::Appraising(asked)) => {
                self.leased = asked;
                self.renewal = Renewal::Idle;
                Ok(())
            }
            // The peer may have been faster, and have confirmed already.
            (LinkState::Confirm | LinkState::Open, _) if !self.accepted => {
                self.accepted = true;
                self.confirm_if_accepted(now, out)
            }
            // A verdict that nobody asked for changes nothing.
            _ => Ok(()),
        }
    }

    fn confirm_if_accepted(&mut self, now: Duration, out: &mut Vec<Effect>) -> Result<(), LinkEnd> {
        if !self.accepted || self.own != Own::Sent || self.confirmed.is_some() {
            return Ok(());
        }
        let confirm = link_confirm(&self.terms.exporter_own, &self.transcript());
        out.push(Effect::Send(encode_frame(FrameType::Confirm, &confirm)?));
        self.confirmed = Some(now);
        self.open_if_confirmed(out)
    }

    fn open_if_confirmed(&mut self, out: &mut Vec<Effect>) -> Result<(), LinkEnd> {
        if self.confirmed.is_some() && self.peer_confirmed {
            out.push(Effect::Send(encode_frame(FrameType::Open, &[])?));
            // Both ends have confirmed them: they are of no more use.
            self.sent = Vec::new();
            self.received = Vec::new();
        }
        Ok(())
    }

    /// SHA-256 of the HELLO and EVIDENCE frames of both ends, the initiator's first.
    fn transcript(&self) -> [u8; 32] {
        match self.terms.role {
            Role::Client => sha256(&[&self.sent, &self.received]),
            Role::Server => sha256(&[&self.received, &self.sent]),
        }
    }

    fn challenge_again(&mut self, now: Duration, nonce: Nonce, out: &mut Vec<Effect>) -> Result<(), LinkEnd> {
        if self.renewal == Renewal::Drawing && self.closing.is_none() {
            self.nonce = nonce;
            self.renewal = Renewal::Asked(now);
            out.push(Effect::Send(encode_frame(FrameType::Renew, nonce.as_bytes())?));
        }
        Ok(())
    }

    /// Takes no more for sending; CLOSE goes out after what was taken.
    fn close_in_order(
        &mut self,
        end: LinkEnd,
        code: CloseCode,
        until: Duration,
        out: &mut Vec<Effect>,
    ) -> Result<(), LinkEnd> {
        out.push(Effect::Draining);
        out.push(Effect::Send(encode_frame(FrameType::Close, &code.encode())?));
        self.closing = Some(Closing { end, until });
        Ok(())
    }

    /// Ends the link now.
    fn end(&mut self, end: LinkEnd, out: &mut Vec<Effect>) {
        self.over = true;
        if self.closing.is_none() {
            out.extend(end.told().and_then(close_frame));
        }
        out.push(Effect::Close { end, flush: false });
    }
}

fn close_frame(code: CloseCode) -> Option<Effect> {
    encode_frame(FrameType::Close, &code.encode())
        .ok()
        .map(Effect::Send)
}

fn require_context(expected: &LinkContext, got: &LinkContext) -> Result<(), LinkEnd> {
    let other = |member, expected: String, got: String| {
        Err(LinkEnd::Context {
            member,
            expected,
            got,
        })
    };
    if expected.pipeline != got.pipeline {
        return other(
            "pipeline",
            expected.pipeline.to_string(),
            got.pipeline.to_string(),
        );
    }
    if expected.stage != got.stage {
        return other("stage", expected.stage.to_string(), got.stage.to_string());
    }
    if expected.model != got.model {
        return other("model", expected.model.to_string(), got.model.to_string());
    }
    Ok(())
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
