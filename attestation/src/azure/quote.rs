//! TPM quotes \[TCG TPM 2.0 Library Part 2\]: TPMS_ATTEST of type
//! TPM_ST_ATTEST_QUOTE over one bank of SHA-256 PCRs, and TPMT_SIGNATURE with
//! RSASSA and SHA-256. Big-endian throughout.
//!
//! A restricted key signs what the TPM itself made, and that begins with
//! TPM_GENERATED; the type keeps a certification or a time attestation of the
//! same key from being taken for a quote.

use super::pcr::PcrSelection;
use crate::reader::Reader;

/// Most bytes of a quote: message, signature and PCR values together.
pub const MAX_QUOTE_BYTES: usize = 4 * 1024;
/// Most bytes of a TPM2B_DATA: an algorithm and its largest digest, SHA-512's.
pub const MAX_EXTRA_DATA_BYTES: usize = 66;

const TPM_GENERATED: u32 = 0xff54_4347;
const TPM_ST_ATTEST_QUOTE: u16 = 0x8018;
const TPM_ALG_SHA256: u16 = 0x000b;
const TPM_ALG_RSASSA: u16 = 0x0014;
/// An algorithm and a SHA-256 digest.
const NAME_BYTES: usize = 34;
const DIGEST_BYTES: usize = 32;
const SELECT_BYTES: u8 = 3;
/// 4096 bits.
const MAX_SIGNATURE_BYTES: usize = 512;

/// Why bytes are no quote or no signature of a supported form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// Too large to be one.
    #[error("a quote has at most {MAX_QUOTE_BYTES} bytes, got {got}")]
    TooLarge {
        /// Bytes that came.
        got: usize,
    },
    /// Not made by a TPM.
    #[error("the message begins with 0x{got:08x}; what a TPM makes begins with 0xff544347")]
    Magic {
        /// The first four bytes.
        got: u32,
    },
    /// Something else that a TPM attests to.
    #[error("the attestation is of type 0x{got:04x}; a quote is of type 0x8018")]
    Type {
        /// The type.
        got: u16,
    },
    /// The bytes end inside a field, or its length is not the format's.
    #[error("field {field} of the quote is cut short or has another length than it must")]
    Length {
        /// Which field.
        field: &'static str,
    },
    /// A field has a value that it can't have.
    #[error("field {field} of the quote: expected {expected}")]
    Value {
        /// Which field.
        field: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// An algorithm that is not supported.
    #[error("{what} is of algorithm 0x{got:04x}; only {expected} is supported")]
    Algorithm {
        /// Of what.
        what: &'static str,
        /// Which one is supported.
        expected: &'static str,
        /// The algorithm.
        got: u16,
    },
    /// Bytes after the end.
    #[error("{got} bytes follow the quote")]
    Trailing {
        /// How many.
        got: usize,
    },
}

/// A quote whose form is right. Nothing in it is authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote<'a> {
    /// Digest of the qualified name of the key that signed.
    pub qualified_signer: &'a [u8; DIGEST_BYTES],
    /// What whoever asked for the quote had it say.
    pub extra_data: &'a [u8],
    /// Milliseconds that the TPM has been running.
    pub clock: u64,
    /// Times that the TPM was reset.
    pub reset_count: u32,
    /// Times that it was restarted or resumed since.
    pub restart_count: u32,
    /// Whether the clock can't have shown a later time before.
    pub safe: bool,
    /// The TPM maker's number for the firmware.
    pub firmware_version: u64,
    /// Which PCRs of the SHA-256 bank the quote is over; at least one.
    pub selection: PcrSelection,
    /// SHA-256 over their values.
    pub pcr_digest: &'a [u8; DIGEST_BYTES],
}

impl<'a> Quote<'a> {
    /// Reads a TPMS_ATTEST as TPM2_Quote returns it, without the length before it.
    ///
    /// # Errors
    /// [`QuoteError`] names the first fault.
    pub fn parse(message: &'a [u8]) -> Result<Self, QuoteError> {
        if message.len() > MAX_QUOTE_BYTES {
            return Err(QuoteError::TooLarge { got: message.len() });
        }
        let mut reader = Reader::new(message);
        match reader.u32_be().ok_or_else(|| length("magic"))? {
            TPM_GENERATED => {}
            got => return Err(QuoteError::Magic { got }),
        }
        match reader.u16_be().ok_or_else(|| length("type"))? {
            TPM_ST_ATTEST_QUOTE => {}
            got => return Err(QuoteError::Type { got }),
        }
        let qualified_signer = read_name(&mut reader)?;
        let extra_data = reader
            .sized(MAX_EXTRA_DATA_BYTES)
            .ok_or_else(|| length("extraData"))?;
        let mut clock_info = || Some((reader.u64_be()?, reader.u32_be()?, reader.u32_be()?, reader.u8()?));
        let (clock, reset_count, restart_count, safe) = clock_info().ok_or_else(|| length("clockInfo"))?;
        let safe = match safe {
            0 => false,
            1 => true,
            _ => return Err(value("clockInfo.safe", "0 or 1")),
        };
        let firmware_version = reader.u64_be().ok_or_else(|| length("firmwareVersion"))?;
        let selection = read_selection(&mut reader)?;
        let pcr_digest = reader
            .sized(DIGEST_BYTES)
            .and_then(|digest| digest.try_into().ok())
            .ok_or_else(|| length("pcrDigest"))?;
        require_end(reader)?;
        Ok(Self {
            qualified_signer,
            extra_data,
            clock,
            reset_count,
            restart_count,
            safe,
            firmware_version,
            selection,
            pcr_digest,
        })
    }
}

/// TPM2B_NAME of a key whose name algorithm is SHA-256.
fn read_name<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8; DIGEST_BYTES], QuoteError> {
    const FIELD: &str = "qualifiedSigner";
    let name = reader.sized(NAME_BYTES).ok_or_else(|| length(FIELD))?;
    let mut name = Reader::new(name);
    match name.u16_be().ok_or_else(|| length(FIELD))? {
        TPM_ALG_SHA256 => {}
        got => {
            return Err(QuoteError::Algorithm {
                what: "the signing key's name",
                expected: "SHA-256 (0x000b)",
                got,
            });
        }
    }
    name.rest().try_into().map_err(|_| length(FIELD))
}

/// TPML_PCR_SELECTION with exactly one bank.
fn read_selection(reader: &mut Reader<'_>) -> Result<PcrSelection, QuoteError> {
    const FIELD: &str = "pcrSelect";
    if reader.u32_be().ok_or_else(|| length(FIELD))? != 1 {
        return Err(value(FIELD, "one bank of PCRs"));
    }
    match reader.u16_be().ok_or_else(|| length(FIELD))? {
        TPM_ALG_SHA256 => {}
        got => {
            return Err(QuoteError::Algorithm {
                what: "the bank of PCRs",
                expected: "SHA-256 (0x000b)",
                got,
            });
        }
    }
    if reader.u8().ok_or_else(|| length(FIELD))? != SELECT_BYTES {
        return Err(value(FIELD, "a bitmap of 3 bytes"));
    }
    let selection = PcrSelection::new(*reader.array().ok_or_else(|| length(FIELD))?);
    if selection.is_empty() {
        return Err(value(FIELD, "at least one PCR"));
    }
    Ok(selection)
}

/// An RSASSA signature with SHA-256, out of its TPMT_SIGNATURE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuoteSignature<'a>(&'a [u8]);

impl<'a> QuoteSignature<'a> {
    /// Reads a TPMT_SIGNATURE as TPM2_Quote returns it.
    ///
    /// # Errors
    /// [`QuoteError`] names the first fault.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, QuoteError> {
        let mut reader = Reader::new(bytes);
        for (what, expected, supported) in [
            ("the signature", "RSASSA (0x0014)", TPM_ALG_RSASSA),
            ("the signature's hash", "SHA-256 (0x000b)", TPM_ALG_SHA256),
        ] {
            let got = reader.u16_be().ok_or_else(|| length("signature"))?;
            if got != supported {
                return Err(QuoteError::Algorithm { what, expected, got });
            }
        }
        let signature = reader
            .sized(MAX_SIGNATURE_BYTES)
            .filter(|signature| !signature.is_empty())
            .ok_or_else(|| length("signature"))?;
        require_end(reader)?;
        Ok(Self(signature))
    }

    /// The signature itself, as long as the key's modulus if it is right.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// TPMT_SIGNATURE of a bare RSASSA signature with SHA-256, for evidence
    /// that was kept without what the TPM writes around it.
    ///
    /// # Errors
    /// [`QuoteError::Length`] if it is empty or longer than a 4096-bit key's.
    pub fn encode(signature: &[u8]) -> Result<Vec<u8>, QuoteError> {
        let size = u16::try_from(signature.len())
            .ok()
            .filter(|_| (1..=MAX_SIGNATURE_BYTES).contains(&signature.len()))
            .ok_or_else(|| length("signature"))?;
        let mut bytes = Vec::new();
        for number in [TPM_ALG_RSASSA, TPM_ALG_SHA256, size] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend_from_slice(signature);
        Ok(bytes)
    }
}

const fn length(field: &'static str) -> QuoteError {
    QuoteError::Length { field }
}

const fn value(field: &'static str, expected: &'static str) -> QuoteError {
    QuoteError::Value { field, expected }
}

fn require_end(reader: Reader<'_>) -> Result<(), QuoteError> {
    match reader.rest().len() {
        0 => Ok(()),
        got => Err(QuoteError::Trailing { got }),
    }
}

#[cfg(test)]
mod tests;
