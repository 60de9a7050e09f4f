//! The bodies of messages.
//!
//! Owns which body belongs to which type. The bodies themselves are
//! `control`'s, and those that hold rows and targets `rows`'.

mod control;
mod rows;

use super::codec::Bounds;
use super::error::MessageError;
use super::wire::{Reader, Writer};
use super::{Epoch, Message, SequenceId};

pub(super) use rows::{FRAME_BYTES, RUN_BYTES};

/// The name of a type.
pub(super) const fn name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        0x20 => "JOIN",
        0x21 => "READY",
        0x22 => "OPEN",
        0x23 => "FRAME",
        0x24 => "ANSWER",
        0x25 => "FINISH",
        0x26 => "PART",
        0x27 => "CANCEL",
        0x28 => "PING",
        0x29 => "PONG",
        0x2a => "FAULT",
        0x2b => "CHALLENGE",
        0x2c => "EVIDENCE",
        _ => return None,
    })
}

/// Writes the body.
pub(super) fn write(message: &Message, out: &mut Writer) -> Result<(), MessageError> {
    match message {
        Message::Join(join) => control::write_join(join, out)?,
        Message::Ready(ready) => control::write_ready(ready, out),
        Message::Open(open) => control::write_open(open, out)?,
        Message::Frame(frame) => rows::write_frame(frame, out)?,
        Message::Answer(answer) => rows::write_answer(answer, out)?,
        Message::Finish(finish) => {
            write_place(finish.sequence, finish.epoch, out);
            out.u32(finish.rows);
            out.u8(u8::from(finish.sign));
        }
        Message::Part(part) => control::write_part(part, out)?,
        Message::Cancel { sequence, epoch } => write_place(*sequence, *epoch, out),
        Message::Ping { tick } => out.u64(*tick),
        Message::Pong { tick, done } => {
            out.u64(*tick);
            out.u64(*done);
        }
        Message::Fault(fault) => control::write_fault(fault, out),
        Message::Challenge { id, nonce } => {
            out.u64(*id);
            out.put(nonce.as_bytes());
        }
        Message::Evidence(piece) => control::write_evidence(piece, out)?,
    }
    Ok(())
}

/// Reads the body of a message of type `kind`, which [`name`] knows.
pub(super) fn read(kind: u8, body: &mut Reader<'_>, bounds: &Bounds) -> Result<Message, MessageError> {
    Ok(match kind {
        0x20 => Message::Join(control::read_join(body)?),
        0x21 => Message::Ready(control::read_ready(body)?),
        0x22 => Message::Open(control::read_open(body)?),
        0x23 => Message::Frame(rows::read_frame(body, bounds)?),
        0x24 => Message::Answer(rows::read_answer(body, bounds)?),
        0x25 => Message::Finish(control::read_finish(body)?),
        0x26 => Message::Part(control::read_part(body)?),
        0x27 => {
            let (sequence, epoch) = read_place(body)?;
            Message::Cancel { sequence, epoch }
        }
        0x28 => Message::Ping {
            tick: body.u64("tick")?,
        },
        0x29 => Message::Pong {
            tick: body.u64("tick")?,
            done: body.u64("number of the last frame done")?,
        },
        0x2a => Message::Fault(control::read_fault(body)?),
        0x2b => Message::Challenge {
            id: body.u64("id")?,
            nonce: bastide_attestation::Nonce::new(body.array("nonce")?),
        },
        0x2c => Message::Evidence(control::read_evidence(body)?),
        got => return Err(MessageError::Type { got }),
    })
}

fn write_place(sequence: SequenceId, epoch: Epoch, out: &mut Writer) {
    out.u64(sequence.0);
    out.u32(epoch.0);
}

fn read_place(body: &mut Reader<'_>) -> Result<(SequenceId, Epoch), MessageError> {
    Ok((SequenceId(body.u64("sequence")?), Epoch(body.u32("epoch")?)))
}
