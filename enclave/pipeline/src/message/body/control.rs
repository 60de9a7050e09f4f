//! Bodies without rows: JOIN, READY, OPEN, FINISH, PART, FAULT, EVIDENCE.
//!
//! Owns their fields and ranges, which hold in both directions.

use bastide_attestation::Salt;

use super::{Reader, Writer, read_place, write_place};
use crate::message::error::MessageError;
use crate::message::{
    EvidencePiece, Fault, FaultCode, Finish, Join, MAX_ADDRESS_BYTES, MAX_PART_BYTES, MAX_PIECE_BYTES,
    MAX_TOP_LOGPROBS, Open, Part, Ready, Sampling,
};

/// Top logprobs: none.
const NO_LOGPROBS: u8 = 255;

const fn refuse(message: &'static str, field: &'static str, expected: &'static str) -> MessageError {
    MessageError::Field {
        message,
        field,
        expected,
    }
}

fn check_address(address: &str) -> Result<(), MessageError> {
    let port = address.rsplit_once(':').and_then(|(host, port)| {
        let digits = !host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| port.parse::<u16>().ok()).flatten()
    });
    let plain = address.bytes().all(|byte| byte.is_ascii_graphic());
    if plain && address.len() <= MAX_ADDRESS_BYTES && port.is_some_and(|port| port != 0) {
        Ok(())
    } else {
        Err(refuse(
            "JOIN",
            "address of the next stage",
            "HOST:PORT of at most 256 printable ASCII characters, or nothing",
        ))
    }
}

pub(super) fn write_join(join: &Join, out: &mut Writer) -> Result<(), MessageError> {
    let address = join.next.as_deref().unwrap_or_default();
    if join.next.is_some() {
        check_address(address)?;
    }
    out.put(&join.plan);
    out.u16(join.stage);
    out.u16(u16::try_from(address.len()).expect("an address is short"));
    out.put(address.as_bytes());
    Ok(())
}

pub(super) fn read_join(body: &mut Reader<'_>) -> Result<Join, MessageError> {
    let (plan, stage) = (body.array("plan digest")?, body.u16("stage")?);
    let length = usize::from(body.u16("length of the address")?);
    let bytes = body.take("address of the next stage", length)?;
    let next = if bytes.is_empty() {
        None
    } else {
        // What is not UTF-8 is not ASCII either.
        let address = std::str::from_utf8(bytes).unwrap_or_default();
        check_address(address)?;
        Some(address.to_owned())
    };
    Ok(Join { plan, stage, next })
}

pub(super) fn write_ready(ready: &Ready, out: &mut Writer) {
    out.put(&ready.plan);
    out.u16(ready.stage);
    out.put(&ready.weights);
    out.put(&ready.engine);
    out.u32(ready.max_positions);
    out.u16(ready.max_sequences);
    out.u32(ready.row_us);
}

pub(super) fn read_ready(body: &mut Reader<'_>) -> Result<Ready, MessageError> {
    Ok(Ready {
        plan: body.array("plan digest")?,
        stage: body.u16("stage")?,
        weights: body.array("weights digest")?,
        engine: body.array("engine digest")?,
        max_positions: body.u32("max positions")?,
        max_sequences: body.u16("max sequences")?,
        row_us: body.u32("µs per row")?,
    })
}

fn check_sampling(sampling: &Sampling) -> Result<(), MessageError> {
    // Not-a-number is in no range.
    if !(0.0..=100.0).contains(&sampling.temperature) {
        return Err(refuse("OPEN", "temperature", "between 0 and 100"));
    }
    if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
        return Err(refuse("OPEN", "top_p", "above 0 and at most 1"));
    }
    if sampling
        .top_logprobs
        .is_some_and(|count| count > MAX_TOP_LOGPROBS)
    {
        return Err(refuse("OPEN", "top logprobs", "0 to 20, or 255 for none"));
    }
    Ok(())
}

pub(super) fn write_open(open: &Open, out: &mut Writer) -> Result<(), MessageError> {
    check_sampling(&open.sampling)?;
    write_place(open.sequence, open.epoch, out);
    out.u32(open.positions);
    out.put(open.salt.as_bytes());
    out.f32(open.sampling.temperature);
    out.f32(open.sampling.top_p);
    out.u64(open.sampling.seed);
    out.u8(open.sampling.top_logprobs.unwrap_or(NO_LOGPROBS));
    Ok(())
}

pub(super) fn read_open(body: &mut Reader<'_>) -> Result<Open, MessageError> {
    let (sequence, epoch) = read_place(body)?;
    let positions = body.u32("positions")?;
    let salt = Salt::new(body.array("salt")?);
    let sampling = Sampling {
        temperature: body.f32("temperature")?,
        top_p: body.f32("top_p")?,
        seed: body.u64("seed")?,
        top_logprobs: Some(body.u8("top logprobs")?).filter(|count| *count != NO_LOGPROBS),
    };
    check_sampling(&sampling)?;
    Ok(Open {
        sequence,
        epoch,
        positions,
        salt,
        sampling,
    })
}

pub(super) fn read_finish(body: &mut Reader<'_>) -> Result<Finish, MessageError> {
    let (sequence, epoch) = read_place(body)?;
    Ok(Finish {
        sequence,
        epoch,
        rows: body.u32("rows")?,
        sign: match body.u8("sign")? {
            0 => false,
            1 => true,
            _ => return Err(body.refuse("sign", "0 or 1")),
        },
    })
}

fn check_part(signed: &[u8]) -> Result<u32, MessageError> {
    u32::try_from(signed.len())
        .ok()
        .filter(|_| (1..=MAX_PART_BYTES).contains(&signed.len()))
        .ok_or(refuse("PART", "signed part", "1 to 1024 bytes"))
}

pub(super) fn write_part(part: &Part, out: &mut Writer) -> Result<(), MessageError> {
    let length = check_part(&part.signed)?;
    write_place(part.sequence, part.epoch, out);
    out.u16(part.stage);
    out.u32(length);
    out.put(&part.signed);
    Ok(())
}

pub(super) fn read_part(body: &mut Reader<'_>) -> Result<Part, MessageError> {
    let (sequence, epoch) = read_place(body)?;
    let stage = body.u16("stage")?;
    let signed = read_bytes(body, "signed part")?;
    check_part(signed)?;
    Ok(Part {
        sequence,
        epoch,
        stage,
        signed: signed.to_vec(),
    })
}

/// A byte string after its length in four bytes.
fn read_bytes<'a>(body: &mut Reader<'a>, field: &'static str) -> Result<&'a [u8], MessageError> {
    let length = body.u32(field)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    body.take(field, length)
}

const FAULTS: [FaultCode; 6] = [
    FaultCode::Gap,
    FaultCode::Full,
    FaultCode::Unknown,
    FaultCode::Forward,
    FaultCode::NextLost,
    FaultCode::Signing,
];

/// The byte of a code: from 1 on, in the order of the protocol.
const fn fault_byte(code: FaultCode) -> u8 {
    match code {
        FaultCode::Gap => 1,
        FaultCode::Full => 2,
        FaultCode::Unknown => 3,
        FaultCode::Forward => 4,
        FaultCode::NextLost => 5,
        FaultCode::Signing => 6,
    }
}

pub(super) fn write_fault(fault: &Fault, out: &mut Writer) {
    out.u8(fault_byte(fault.code));
    write_place(fault.sequence, fault.epoch, out);
}

pub(super) fn read_fault(body: &mut Reader<'_>) -> Result<Fault, MessageError> {
    let byte = body.u8("code")?;
    let code = FAULTS
        .into_iter()
        .find(|code| fault_byte(*code) == byte)
        .ok_or_else(|| body.refuse("code", "1 to 6"))?;
    let (sequence, epoch) = read_place(body)?;
    Ok(Fault {
        code,
        sequence,
        epoch,
    })
}

fn check_piece(part: u16, parts: u16, length: usize) -> Result<u32, MessageError> {
    if part >= parts {
        return Err(refuse("EVIDENCE", "part", "below the number of parts"));
    }
    if length == 0 && parts != 1 {
        return Err(refuse("EVIDENCE", "bytes", "none only where there is one part"));
    }
    u32::try_from(length)
        .ok()
        .filter(|_| length <= MAX_PIECE_BYTES)
        .ok_or(refuse("EVIDENCE", "bytes", "at most 65536"))
}

pub(super) fn write_evidence(piece: &EvidencePiece, out: &mut Writer) -> Result<(), MessageError> {
    let length = check_piece(piece.part, piece.parts, piece.bytes.len())?;
    out.u64(piece.id);
    out.u16(piece.part);
    out.u16(piece.parts);
    out.u32(length);
    out.put(&piece.bytes);
    Ok(())
}

pub(super) fn read_evidence(body: &mut Reader<'_>) -> Result<EvidencePiece, MessageError> {
    let (id, part, parts) = (body.u64("id")?, body.u16("part")?, body.u16("parts")?);
    let bytes = read_bytes(body, "bytes")?;
    check_piece(part, parts, bytes.len())?;
    Ok(EvidencePiece {
        id,
        part,
        parts,
        bytes: bytes.to_vec(),
    })
}
