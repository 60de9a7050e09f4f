//! Bodies with rows and targets: FRAME and ANSWER.
//!
//! Owns their fields and ranges, which hold in both directions. Counts are
//! compared with the bytes that are there before memory is taken for them.
//! Whether values are finite is the stage's question: it answers with a FAULT.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::{Reader, Writer, read_place, write_place};
use crate::message::codec::Bounds;
use crate::message::error::MessageError;
use crate::message::{
    Answer, Frame, MAX_ROWS, MAX_RUNS, MAX_TOP_LOGPROBS, Payload, Run, SequenceId, Target, Targets,
};

const IDS: u8 = 0;
const F32: u8 = 1;
/// Bytes of a FRAME before its runs.
pub(in crate::message) const FRAME_BYTES: usize = 15;
/// Bytes of a run in a FRAME.
pub(in crate::message) const RUN_BYTES: usize = 24;
/// Bytes of a run in an ANSWER, without its targets.
const TARGETS_BYTES: usize = 18;
/// Bytes of a target without alternatives.
const TARGET_BYTES: usize = 9;
/// Bytes of an alternative.
const TOP_BYTES: usize = 8;

const fn refuse(message: &'static str, field: &'static str, expected: &'static str) -> MessageError {
    MessageError::Field {
        message,
        field,
        expected,
    }
}

/// The number of runs, if each is of another sequence.
fn check_sequences(
    message: &'static str,
    sequences: impl ExactSizeIterator<Item = SequenceId>,
) -> Result<u16, MessageError> {
    let count = sequences.len();
    let runs = u16::try_from(count)
        .ok()
        .filter(|_| count <= MAX_RUNS)
        .ok_or_else(|| refuse(message, "runs", "at most 64"))?;
    if sequences.collect::<BTreeSet<_>>().len() == count {
        Ok(runs)
    } else {
        Err(refuse(message, "sequence", "another one for each run"))
    }
}

/// The number of rows of all runs, if each run is one.
fn check_runs(runs: &[Run]) -> Result<usize, MessageError> {
    check_sequences("FRAME", runs.iter().map(|run| run.sequence))?;
    let mut total = 0;
    for run in runs {
        if run.rows == 0 {
            return Err(refuse("FRAME", "rows", "at least 1"));
        }
        if run.wanted > run.rows {
            return Err(refuse("FRAME", "wanted", "at most the rows of the run"));
        }
        if run.pos.checked_add(u32::from(run.rows)).is_none() {
            return Err(refuse("FRAME", "pos", "positions below 4294967296"));
        }
        total += usize::from(run.rows);
    }
    if total > MAX_ROWS {
        return Err(refuse("FRAME", "rows", "at most 4096 in all"));
    }
    Ok(total)
}

fn check_number(message: &'static str, number: u64) -> Result<(), MessageError> {
    if number == 0 {
        return Err(refuse(message, "number", "at least 1"));
    }
    Ok(())
}

pub(super) fn write_frame(frame: &Frame, out: &mut Writer) -> Result<(), MessageError> {
    check_number("FRAME", frame.number)?;
    let rows = check_runs(&frame.runs)?;
    let (kind, width, values) = match &frame.payload {
        Payload::Ids(ids) => (IDS, 1, ids.len()),
        Payload::Activations { width, values } => (F32, *width, values.len()),
    };
    if width == 0 {
        return Err(refuse("FRAME", "width", "the model's hidden size"));
    }
    if usize::try_from(width)
        .ok()
        .and_then(|width| width.checked_mul(rows))
        != Some(values)
    {
        return Err(refuse("FRAME", "rows", "as many as the runs have together"));
    }
    out.u64(frame.number);
    out.u16(u16::try_from(frame.runs.len()).expect("runs are few"));
    out.u8(kind);
    out.u32(width);
    for run in &frame.runs {
        write_place(run.sequence, run.epoch, out);
        out.u32(run.pos);
        out.u16(run.rows);
        out.u16(run.wanted);
        out.u32(run.committed);
    }
    match &frame.payload {
        Payload::Ids(ids) => out.words(ids.iter().map(|id| id.to_le_bytes())),
        Payload::Activations { values, .. } => out.words(values.iter().map(|value| value.to_le_bytes())),
    }
    Ok(())
}

pub(super) fn read_frame(body: &mut Reader<'_>, bounds: &Bounds) -> Result<Frame, MessageError> {
    let number = body.u64("number")?;
    check_number("FRAME", number)?;
    let count = usize::from(body.u16("runs")?);
    let (kind, width) = (body.u8("kind")?, body.u32("width")?);
    if count > MAX_RUNS {
        return Err(refuse("FRAME", "runs", "at most 64"));
    }
    body.expect("runs", count, RUN_BYTES)?;
    let mut runs = Vec::with_capacity(count);
    for _ in 0..count {
        let (sequence, epoch) = read_place(body)?;
        runs.push(Run {
            sequence,
            epoch,
            pos: body.u32("pos")?,
            rows: body.u16("rows")?,
            wanted: body.u16("wanted")?,
            committed: body.u32("committed")?,
        });
    }
    let rows = check_runs(&runs)?;
    let payload = match kind {
        IDS if width == 1 => Payload::Ids(read_ids(body, rows, bounds.vocab)?),
        F32 if width == bounds.width => {
            let expected = body.refuse("width", "the model's hidden size");
            let values = usize::try_from(width)
                .ok()
                .and_then(|width| width.checked_mul(rows))
                .ok_or(expected)?;
            body.expect("rows", values, size_of::<f32>())?;
            let bytes = body.take("rows", values * size_of::<f32>())?;
            let values = bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|value| f32::from_le_bytes(*value));
            Payload::Activations {
                width,
                values: Zeroizing::new(values.collect()),
            }
        }
        IDS => return Err(body.refuse("width", "1 for ids")),
        F32 => return Err(body.refuse("width", "the model's hidden size")),
        _ => return Err(body.refuse("kind", "0 or 1")),
    };
    Ok(Frame {
        number,
        runs,
        payload,
    })
}

fn read_ids(body: &mut Reader<'_>, rows: usize, vocab: u32) -> Result<Zeroizing<Vec<u32>>, MessageError> {
    body.expect("rows", rows, size_of::<u32>())?;
    let mut ids = Zeroizing::new(Vec::with_capacity(rows));
    for _ in 0..rows {
        ids.push(read_id(body, "rows", vocab)?);
    }
    Ok(ids)
}

fn read_id(body: &mut Reader<'_>, field: &'static str, vocab: u32) -> Result<u32, MessageError> {
    let id = body.u32(field)?;
    if id < vocab {
        Ok(id)
    } else {
        Err(body.refuse(field, "ids of the vocabulary"))
    }
}

fn check_targets(total: usize) -> Result<(), MessageError> {
    if total > MAX_ROWS {
        return Err(refuse("ANSWER", "targets", "at most 4096 in all"));
    }
    Ok(())
}

pub(super) fn write_answer(answer: &Answer, out: &mut Writer) -> Result<(), MessageError> {
    check_number("ANSWER", answer.number)?;
    let count = check_sequences("ANSWER", answer.runs.iter().map(|run| run.sequence))?;
    check_targets(answer.runs.iter().map(|run| run.targets.len()).sum())?;
    out.u64(answer.number);
    out.u16(count);
    for run in &answer.runs {
        write_place(run.sequence, run.epoch, out);
        out.u32(run.pos);
        out.u16(u16::try_from(run.targets.len()).expect("targets are few"));
        for target in &run.targets {
            let tops = u8::try_from(target.top.len())
                .ok()
                .filter(|count| *count <= MAX_TOP_LOGPROBS)
                .ok_or(refuse("ANSWER", "tops", "at most 20"))?;
            out.u32(target.id);
            out.f32(target.logprob);
            out.u8(tops);
            for (id, logprob) in &target.top {
                out.u32(*id);
                out.f32(*logprob);
            }
        }
    }
    Ok(())
}

pub(super) fn read_answer(body: &mut Reader<'_>, bounds: &Bounds) -> Result<Answer, MessageError> {
    let number = body.u64("number")?;
    check_number("ANSWER", number)?;
    let count = usize::from(body.u16("runs")?);
    if count > MAX_RUNS {
        return Err(refuse("ANSWER", "runs", "at most 64"));
    }
    body.expect("runs", count, TARGETS_BYTES)?;
    let mut runs = Vec::with_capacity(count);
    let mut total = 0;
    for _ in 0..count {
        let (sequence, epoch) = read_place(body)?;
        let pos = body.u32("pos")?;
        let wanted = usize::from(body.u16("targets")?);
        total += wanted;
        check_targets(total)?;
        body.expect("targets", wanted, TARGET_BYTES)?;
        let mut targets = Vec::with_capacity(wanted);
        for _ in 0..wanted {
            targets.push(read_target(body, bounds.vocab)?);
        }
        runs.push(Targets {
            sequence,
            epoch,
            pos,
            targets,
        });
    }
    check_sequences("ANSWER", runs.iter().map(|run| run.sequence))?;
    Ok(Answer { number, runs })
}

fn read_target(body: &mut Reader<'_>, vocab: u32) -> Result<Target, MessageError> {
    let id = read_id(body, "targets", vocab)?;
    let logprob = body.f32("logprob")?;
    let tops = body.u8("tops")?;
    if tops > MAX_TOP_LOGPROBS {
        return Err(body.refuse("tops", "at most 20"));
    }
    body.expect("tops", usize::from(tops), TOP_BYTES)?;
    let mut top = Vec::with_capacity(usize::from(tops));
    for _ in 0..tops {
        top.push((read_id(body, "tops", vocab)?, body.f32("logprob of a top")?));
    }
    Ok(Target { id, logprob, top })
}
