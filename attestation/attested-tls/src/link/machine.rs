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

mod proving;
mod receiving;
mod timing;

use std::collections::BTreeSet;
use std::time::Duration;

use bastide_attestation::binding::{ExporterSecret, LeafType, Role};
use bastide_attestation::link::{CloseCode, FrameType, Hello, LinkContext, encode_frame};
use bastide_attestation::{Binder, Nonce, SessionExpectation, SpkiDigest};

use crate::link::end::{LinkEnd, LinkState};
use crate::link::frames::FrameReader;
use crate::link::peers::LinkGate;
use crate::link::times::LinkTimes;

/// What one end is, and whom it expects, on one TLS session.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// This end's role in TLS.
    pub(super) role: Role,
    /// Where this end stands.
    pub(super) own: LinkContext,
    /// Stages that the peer may say it is, of the same pipeline and model.
    pub(super) peers: BTreeSet<u16>,
    /// Whether the peer's place is free.
    pub(super) gate: LinkGate,
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

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
