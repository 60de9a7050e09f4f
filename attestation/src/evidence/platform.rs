//! The part of evidence that differs from platform to platform: the signed
//! report, and how the epoch statement is tied to it. Kept as bytes that came;
//! nothing here is read, let alone verified.

use serde::Serialize;

use crate::azure::{MAX_QUOTE_BYTES, PCR_COUNT};
use crate::codec::{CodecError, Fields, MapBuilder};
use crate::snp::REPORT_BYTES;

/// A kind of confidential VM, by what its evidence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// A bare SEV-SNP guest, which chooses REPORT_DATA.
    Snp,
    /// An Azure confidential VM on SEV-SNP, which speaks through its vTPM.
    Azure,
}

/// The platform's own signed report. A platform where the guest doesn't
/// choose REPORT_DATA has a variant of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlatformEvidence {
    /// A bare SEV-SNP report, 1,184 bytes, whose REPORT_DATA the guest chose.
    Snp(Box<[u8; REPORT_BYTES]>),
    /// An Azure confidential VM: the paravisor chose REPORT_DATA, and the
    /// statement is in the nonce of a quote by the vTPM that it vouches for.
    AzureVtpm {
        /// The HCL report with the SNP report inside: see [`crate::azure::HclReport`].
        hcl_report: Vec<u8>,
        /// The quote.
        quote: TpmQuote,
    },
}

impl PlatformEvidence {
    /// Which platform this is evidence of.
    #[must_use]
    pub const fn platform(&self) -> Platform {
        match self {
            Self::Snp(_) => Platform::Snp,
            Self::AzureVtpm { .. } => Platform::Azure,
        }
    }
}

/// What TPM2_Quote returns, with the PCR values that it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmQuote {
    /// TPMS_ATTEST: see [`crate::azure::Quote`].
    pub message: Vec<u8>,
    /// TPMT_SIGNATURE: see [`crate::azure::QuoteSignature`].
    pub signature: Vec<u8>,
    /// The selected SHA-256 PCRs in ascending order, or all 24.
    pub pcrs: Vec<[u8; 32]>,
}

impl TpmQuote {
    /// Deterministic CBOR: `{1: message, 2: signature, 3: [pcr(32)…]}`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        MapBuilder::new()
            .bytes(1, &self.message)
            .bytes(2, &self.signature)
            .hashes(3, &self.pcrs)
            .encode()
    }

    /// Reads a quote strictly, of at most [`MAX_QUOTE_BYTES`]. What the parts
    /// hold is not looked at.
    ///
    /// # Errors
    /// [`CodecError`] names the first fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut fields = Fields::decode(bytes, MAX_QUOTE_BYTES)?;
        let quote = Self {
            message: fields.bytes(1)?,
            signature: fields.bytes(2)?,
            pcrs: fields.hashes(3, PCR_COUNT)?,
        };
        fields.finish()?;
        Ok(quote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quote(pcrs: usize, message: usize) -> TpmQuote {
        TpmQuote {
            message: vec![1; message],
            signature: vec![2; 262],
            pcrs: vec![[3; 32]; pcrs],
        }
    }

    #[test]
    fn a_quote_round_trips_and_is_bounded() {
        for good in [quote(24, 145), quote(1, 0), quote(0, 1)] {
            assert_eq!(TpmQuote::decode(&good.encode()), Ok(good));
        }
        assert!(matches!(
            TpmQuote::decode(&quote(25, 145).encode()),
            Err(CodecError::Value { .. })
        ));
        assert!(matches!(
            TpmQuote::decode(&quote(24, MAX_QUOTE_BYTES).encode()),
            Err(CodecError::TooLarge { .. })
        ));
        let more = MapBuilder::new()
            .bytes(1, &[])
            .bytes(2, &[])
            .hashes(3, &[])
            .uint(4, 0);
        assert_eq!(
            TpmQuote::decode(&more.encode()),
            Err(CodecError::Unknown { key: 4.into() })
        );
    }
}
