//! The attestation report: an SPDM 1.1 GET_MEASUREMENTS request and the
//! MEASUREMENTS response to it, one after the other \[DMTF DSP0274 1.1 §10.11\],
//! as NVIDIA's driver returns them. Numbers are little-endian. The parts are
//! borrowed from the raw bytes: the signature is over exactly these.

use super::family::DeviceKind;
use crate::digest::GpuNonce;
use crate::reader::Reader;

/// Most bytes of a report: the size of NVML's buffer.
pub const MAX_REPORT_BYTES: usize = 0x2000;
/// Measurement blocks of a GPU.
pub const BLOCKS_OF_A_GPU: u8 = 64;
/// Measurement blocks of an NVSwitch.
pub const BLOCKS_OF_A_SWITCH: u8 = 31;

const SPDM_1_1: u8 = 0x11;
const GET_MEASUREMENTS: u8 = 0xe0;
const MEASUREMENTS: u8 = 0x60;
/// Param1: a signature is asked for. Param2: of all measurements.
const SIGNED_AND_ALL: [u8; 2] = [0x01, 0xff];
const SIGNATURE_BYTES: usize = 96;
const DIGEST_BYTES: u16 = 48;
/// Index, specification and size, then DMTF's value type and size, then the digest.
const BLOCK_BYTES: usize = 55;
const DMTF: u8 = 0x01;
/// DMTFSpecMeasurementValueType: a digest of mutable firmware.
const MUTABLE_FIRMWARE_DIGEST: u8 = 0x01;

/// Why bytes are no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpdmError {
    /// More bytes than NVML's buffer has.
    #[error("a report has at most {MAX_REPORT_BYTES} bytes, got {got}")]
    TooLarge {
        /// Bytes that came.
        got: usize,
    },
    /// The bytes end inside a field.
    #[error("the report ends inside {field}")]
    Truncated {
        /// The field.
        field: &'static str,
    },
    /// Bytes after the signature.
    #[error("{got} byte(s) follow the report's signature, expected none")]
    TrailingBytes {
        /// How many.
        got: usize,
    },
    /// Another version than 1.1.
    #[error("SPDM version of the {part} is 0x{got:02x}, expected 0x11")]
    Version {
        /// Request or response.
        part: &'static str,
        /// The version.
        got: u8,
    },
    /// Another message than the one expected.
    #[error("code of the {part} is 0x{got:02x}, expected 0x{expected:02x}")]
    Code {
        /// Request or response.
        part: &'static str,
        /// What was expected.
        expected: u8,
        /// The code.
        got: u8,
    },
    /// Param1, Param2 or the slot of either message.
    #[error("{field} is {got:02x?}, expected {expected:02x?}")]
    Parameters {
        /// Which.
        field: &'static str,
        /// What was expected.
        expected: &'static [u8],
        /// What came.
        got: Vec<u8>,
    },
    /// Neither a GPU's nor an NVSwitch's number of blocks.
    #[error("{got} measurement blocks; a GPU has {BLOCKS_OF_A_GPU}, an NVSwitch {BLOCKS_OF_A_SWITCH}")]
    BlockCount {
        /// How many.
        got: u8,
    },
    /// The record's length doesn't fit its number of blocks.
    #[error("the measurement record has {got} bytes, expected {expected}")]
    RecordLength {
        /// Bytes of that many blocks.
        expected: usize,
        /// The length that the report gives.
        got: u32,
    },
    /// Another measurement specification or value type than DMTF's digests.
    #[error("block {index}: {field} is 0x{got:02x}, expected 0x01")]
    BlockSpecification {
        /// Which block, from 1.
        index: u8,
        /// Which byte.
        field: &'static str,
        /// What it is.
        got: u8,
    },
    /// A block or its digest has another size.
    #[error("block {index}: {field} is {got}, expected {expected}")]
    BlockSize {
        /// Which block, from 1.
        index: u8,
        /// Which size.
        field: &'static str,
        /// What was expected.
        expected: u16,
        /// What it is.
        got: u16,
    },
    /// Indices don't go from 1 upwards.
    #[error("block {expected} has index {got}")]
    BlockIndex {
        /// Which block, from 1.
        expected: u8,
        /// Its index.
        got: u8,
    },
    /// An index comes twice.
    #[error("block index {index} comes twice")]
    DuplicateBlock {
        /// The index.
        index: u8,
    },
}

/// A report whose form is right. Nothing in it is authentic yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpdmReport<'a> {
    raw: &'a [u8],
    kind: DeviceKind,
    nonce: GpuNonce,
    blocks: &'a [[u8; BLOCK_BYTES]],
    responder_nonce: &'a [u8; 32],
    opaque: &'a [u8],
    signed: &'a [u8],
    signature: &'a [u8; SIGNATURE_BYTES],
}

impl core::fmt::Debug for SpdmReport<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SpdmReport")
            .field("kind", &self.kind)
            .field("nonce", &self.nonce)
            .finish_non_exhaustive()
    }
}

impl<'a> SpdmReport<'a> {
    /// Reads exactly one report, byte for byte as the driver returned it.
    ///
    /// # Errors
    /// [`SpdmError`] names the first fault.
    pub fn parse(raw: &'a [u8]) -> Result<Self, SpdmError> {
        if raw.len() > MAX_REPORT_BYTES {
            return Err(SpdmError::TooLarge { got: raw.len() });
        }
        let mut reader = Reader::new(raw);
        let nonce = read_request(&mut reader)?;
        let (kind, blocks) = read_response(&mut reader)?;
        let responder_nonce = reader.array().ok_or(cut("the responder's nonce"))?;
        let opaque = reader
            .u16_le()
            .ok_or(cut("the opaque data's length"))
            .and_then(|length| reader.take(usize::from(length)).ok_or(cut("the opaque data")))?;
        let signature = reader.array().ok_or(cut("the signature"))?;
        match reader.rest().len() {
            0 => {}
            got => return Err(SpdmError::TrailingBytes { got }),
        }
        let (signed, _) = raw
            .split_last_chunk::<SIGNATURE_BYTES>()
            .ok_or(cut("the signature"))?;
        Ok(Self {
            raw,
            kind,
            nonce,
            blocks,
            responder_nonce,
            opaque,
            signed,
            signature,
        })
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// What the report is of, by its number of blocks. The certificate chain
    /// must be of the same kind.
    #[must_use]
    pub const fn kind(&self) -> DeviceKind {
        self.kind
    }

    /// The requester's nonce.
    #[must_use]
    pub const fn nonce(&self) -> GpuNonce {
        self.nonce
    }

    /// The digest in a measurement block, by its index from 1 as SPDM counts.
    /// RIMs count from 0.
    #[must_use]
    pub fn measurement(&self, index: u8) -> Option<&'a [u8; 48]> {
        let position = usize::from(index).checked_sub(1)?;
        self.blocks.get(position)?.last_chunk()
    }

    /// The digests in order, from block 1 on.
    pub fn measurements(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.blocks
            .iter()
            .map(|block| block.last_chunk::<48>().map_or(&[][..], <[u8; 48]>::as_slice))
    }

    /// The device's own nonce.
    #[must_use]
    pub const fn responder_nonce(&self) -> &'a [u8; 32] {
        self.responder_nonce
    }

    /// The opaque data, for [`super::DeviceFacts::parse`]. Nobody may look into them before the
    /// report's signature holds: their parser is the largest, and whatever
    /// they say is worth nothing earlier.
    #[must_use]
    pub const fn opaque_unverified(&self) -> &'a [u8] {
        self.opaque
    }

    /// What is signed: request and response up to the signature.
    #[must_use]
    pub const fn signed_bytes(&self) -> &'a [u8] {
        self.signed
    }

    /// R and S of the ECDSA signature on P-384, big-endian, 48 bytes each.
    ///
    /// ECDSA lets anyone turn (r, s) into (r, n − s), which verifies as well:
    /// neither these bytes nor a hash of the whole report can serve to
    /// recognise a replay. The nonce and the leaf's serial number can.
    #[must_use]
    pub const fn signature(&self) -> &'a [u8; SIGNATURE_BYTES] {
        self.signature
    }
}

const fn cut(field: &'static str) -> SpdmError {
    SpdmError::Truncated { field }
}

fn read_request(reader: &mut Reader<'_>) -> Result<GpuNonce, SpdmError> {
    let [version, code, parameters @ ..] = reader.array::<4>().ok_or(cut("the request's header"))?;
    require_message("request", *version, GET_MEASUREMENTS, *code)?;
    require_bytes("the request's Param1 and Param2", &SIGNED_AND_ALL, parameters)?;
    let nonce = reader.array().ok_or(cut("the requester's nonce"))?;
    let slot = reader.array::<1>().ok_or(cut("SlotID"))?;
    require_bytes("SlotID", &[0], slot)?;
    Ok(GpuNonce::new(*nonce))
}

/// The response up to and with its measurement record.
fn read_response<'a>(reader: &mut Reader<'a>) -> Result<(DeviceKind, &'a [[u8; BLOCK_BYTES]]), SpdmError> {
    let [version, code, parameters @ ..] = reader.array::<4>().ok_or(cut("the response's header"))?;
    require_message("response", *version, MEASUREMENTS, *code)?;
    require_bytes("the response's Param1 and Param2", &[0, 0], parameters)?;
    let [count, length @ ..] = reader
        .array::<4>()
        .ok_or(cut("the measurement record's length"))?;
    let kind = match *count {
        BLOCKS_OF_A_GPU => DeviceKind::Gpu,
        BLOCKS_OF_A_SWITCH => DeviceKind::NvSwitch,
        got => return Err(SpdmError::BlockCount { got }),
    };
    let [low, middle, high] = *length;
    let got = u32::from_le_bytes([low, middle, high, 0]);
    let expected = usize::from(*count) * BLOCK_BYTES;
    if usize::try_from(got) != Ok(expected) {
        return Err(SpdmError::RecordLength { expected, got });
    }
    let record = reader.take(expected).ok_or(cut("the measurement record"))?;
    let (blocks, _) = record.as_chunks::<BLOCK_BYTES>();
    for (index, block) in (1..=*count).zip(blocks) {
        require_block(index, block)?;
    }
    Ok((kind, blocks))
}

fn require_message(part: &'static str, version: u8, expected: u8, code: u8) -> Result<(), SpdmError> {
    if version != SPDM_1_1 {
        return Err(SpdmError::Version { part, got: version });
    }
    if code != expected {
        return Err(SpdmError::Code {
            part,
            expected,
            got: code,
        });
    }
    Ok(())
}

fn require_bytes(field: &'static str, expected: &'static [u8], got: &[u8]) -> Result<(), SpdmError> {
    if got == expected {
        return Ok(());
    }
    Err(SpdmError::Parameters {
        field,
        expected,
        got: got.to_vec(),
    })
}

/// Index, measurement specification, size; then value type and value size.
fn require_block(expected: u8, block: &[u8; BLOCK_BYTES]) -> Result<(), SpdmError> {
    let [index, specification, size0, size1, kind, value0, value1, ..] = *block;
    if index != expected {
        return Err(if (1..expected).contains(&index) {
            SpdmError::DuplicateBlock { index }
        } else {
            SpdmError::BlockIndex { expected, got: index }
        });
    }
    for (field, got, expected) in [
        ("MeasurementSpecification", specification, DMTF),
        ("DMTFSpecMeasurementValueType", kind, MUTABLE_FIRMWARE_DIGEST),
    ] {
        if got != expected {
            return Err(SpdmError::BlockSpecification { index, field, got });
        }
    }
    for (field, bytes, expected) in [
        ("MeasurementSize", [size0, size1], DIGEST_BYTES + 3),
        ("DMTFSpecMeasurementValueSize", [value0, value1], DIGEST_BYTES),
    ] {
        let got = u16::from_le_bytes(bytes);
        if got != expected {
            return Err(SpdmError::BlockSize {
                index,
                field,
                expected,
                got,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
