//! Where the head's messages go into a stage.
//!
//! Owns what is answered past the thread that computes: PING and CANCEL. Refuses
//! what only comes along the ring; a head in the same enclave is told at once if
//! the thread is too far behind.

use tokio::sync::mpsc;

use super::cable::LinkNumber;
use super::worker::{Input, Signals};
use crate::message::{Envelope, Message};
use crate::stage::{Cancelled, Origin, Progress};

/// Where the head's messages go in.
#[derive(Clone)]
pub(super) struct Inlet {
    pub(super) control: mpsc::Sender<Input>,
    pub(super) ring: mpsc::Sender<Input>,
    pub(super) cancelled: Cancelled,
    pub(super) progress: Progress,
    pub(super) signals: Signals,
    /// Where answers to pings go, past the thread that computes.
    pub(super) pongs: Option<mpsc::Sender<Envelope>>,
    pub(super) link: LinkNumber,
}

impl Inlet {
    /// What doesn't wait for the thread that computes.
    fn at_once(&self, envelope: &Envelope) -> bool {
        match &envelope.message {
            Message::Ping { tick } => {
                let pong = self.progress.pong(envelope.ring, *tick);
                // Where this much waits for the head, it is deaf: let it miss one.
                if let Some(pongs) = &self.pongs {
                    drop(pongs.try_send(pong));
                }
                true
            }
            Message::Cancel { sequence, epoch } => {
                self.cancelled.note(envelope.ring, *sequence, *epoch);
                true
            }
            _ => false,
        }
    }

    fn input(&self, envelope: Envelope) -> Input {
        Input::Message {
            origin: Origin::Head,
            link: self.link,
            join: matches!(envelope.message, Message::Join(_)).then(|| self.signals.join_waits()),
            envelope,
        }
    }

    /// Takes a message of a head elsewhere.
    pub(super) async fn take(&self, envelope: Envelope) -> Result<(), &'static str> {
        if along_the_ring(&envelope.message) {
            return Err("pipeline.origin");
        }
        if !self.at_once(&envelope) {
            let sent = self.control.send(self.input(envelope)).await;
            return sent.map_err(|_| "pipeline.stage_ended");
        }
        Ok(())
    }

    /// Takes a message of the head in this enclave, without waiting.
    ///
    /// # Errors
    /// If the thread has ended, or is so far behind that nothing more fits.
    pub(super) fn take_now(&self, envelope: Envelope) -> Result<(), &'static str> {
        if self.at_once(&envelope) {
            return Ok(());
        }
        let queue = if along_the_ring(&envelope.message) {
            &self.ring
        } else {
            &self.control
        };
        queue
            .try_send(self.input(envelope))
            .map_err(|_| "pipeline.stage_behind")
    }
}

/// Whether a message goes from stage to stage.
pub(super) fn along_the_ring(message: &Message) -> bool {
    matches!(message, Message::Open(_) | Message::Frame(_) | Message::Finish(_))
}
