//! What this end proves, and what it makes of the peer's proof: evidence,
//! CONFIRM and OPEN, and fresh challenges.

use std::time::Duration;

use bastide_attestation::binding::{Ends, Role, binder, link_confirm};
use bastide_attestation::link::{CloseCode, FrameType, encode_frame};
use bastide_attestation::{Nonce, sha256};

use super::{Closing, Effect, LinkMachine, Own, Renewal};
use crate::link::end::{LinkEnd, LinkState};

impl LinkMachine {
    pub(super) fn make_evidence(&self, nonce: &Nonce) -> Effect {
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

    pub(super) fn evidence_ready(
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

    pub(super) fn appraised(
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

    pub(super) fn confirm_if_accepted(
        &mut self,
        now: Duration,
        out: &mut Vec<Effect>,
    ) -> Result<(), LinkEnd> {
        if !self.accepted || self.own != Own::Sent || self.confirmed.is_some() {
            return Ok(());
        }
        let confirm = link_confirm(&self.terms.exporter_own, &self.transcript());
        out.push(Effect::Send(encode_frame(FrameType::Confirm, &confirm)?));
        self.confirmed = Some(now);
        self.open_if_confirmed(out)
    }

    pub(super) fn open_if_confirmed(&mut self, out: &mut Vec<Effect>) -> Result<(), LinkEnd> {
        if self.confirmed.is_some() && self.peer_confirmed {
            out.push(Effect::Send(encode_frame(FrameType::Open, &[])?));
            // Both ends have confirmed them: they are of no more use.
            self.sent = Vec::new();
            self.received = Vec::new();
        }
        Ok(())
    }

    /// SHA-256 of the HELLO and EVIDENCE frames of both ends, the initiator's first.
    pub(super) fn transcript(&self) -> [u8; 32] {
        match self.terms.role {
            Role::Client => sha256(&[&self.sent, &self.received]),
            Role::Server => sha256(&[&self.received, &self.sent]),
        }
    }

    pub(super) fn challenge_again(
        &mut self,
        now: Duration,
        nonce: Nonce,
        out: &mut Vec<Effect>,
    ) -> Result<(), LinkEnd> {
        if self.renewal == Renewal::Drawing && self.closing.is_none() {
            self.nonce = nonce;
            self.renewal = Renewal::Asked(now);
            out.push(Effect::Send(encode_frame(FrameType::Renew, nonce.as_bytes())?));
        }
        Ok(())
    }

    /// Takes no more for sending; CLOSE goes out after what was taken.
    pub(super) fn close_in_order(
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
}
