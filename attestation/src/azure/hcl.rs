//! The HCL report, as the paravisor keeps it in the vTPM's NV index
//! 0x01400001: a header, the SNP report that it asked for, and the runtime
//! data whose hash is in that report's REPORT_DATA. Little-endian throughout.
//!
//! ```text
//! 0x000  "HCLA", version, report_size, request_type, status, 12 reserved bytes
//! 0x020  ATTESTATION_REPORT, 0x4a0 bytes
//! 0x4c0  data_size, version, report_type, report_data_hash_type, var_len
//! 0x4d4  var_len bytes of JSON, then zeros to the size of the NV index
//! ```

use crate::reader::Reader;
use crate::snp::REPORT_BYTES;

/// Most bytes of an HCL report. Azure's NV index has 2,600.
pub const MAX_HCL_REPORT_BYTES: usize = 8 * 1024;

const SIGNATURE: [u8; 4] = *b"HCLA";
const VERSIONS: [u32; 2] = [1, 2];
/// A request for an SNP report.
const REQUEST_TYPE: u32 = 2;
const HEADER_BYTES: u32 = 0x20;
/// ATTESTATION_REPORT, as a 32-bit length.
const REPORT_SIZE: u32 = 0x4a0;
const RUNTIME_VERSION: u32 = 1;
const RUNTIME_HEADER_BYTES: u32 = 20;
const REPORT_TYPE_SNP: u32 = 2;
const HASH_TYPE_SHA256: u32 = 1;

const _: () = assert!(REPORT_BYTES == 0x4a0);

/// Why bytes are no HCL report of a supported form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HclError {
    /// Too large to be one.
    #[error("an HCL report has at most {MAX_HCL_REPORT_BYTES} bytes, got {got}")]
    TooLarge {
        /// Bytes that came.
        got: usize,
    },
    /// The bytes end inside a part.
    #[error("the HCL report ends inside its {part}")]
    Truncated {
        /// Which part.
        part: &'static str,
    },
    /// Something else than an HCL report.
    #[error("an HCL report begins with `HCLA`; this does not")]
    Signature,
    /// A header version whose layout isn't known.
    #[error("HCL report version {got} is not supported; versions 1 and 2 are")]
    Version {
        /// The version.
        got: u32,
    },
    /// A field that has exactly one right value has another.
    #[error("field {field} of the HCL report is {got}; expected {expected}")]
    Field {
        /// Which field.
        field: &'static str,
        /// The only right value here.
        expected: u32,
        /// What came.
        got: u32,
    },
    /// The hardware report is not an SNP report.
    #[error("the hardware report is of type {got}{}; only type 2 (SEV-SNP) is supported", tdx(*.got))]
    ReportType {
        /// The type.
        got: u32,
    },
    /// REPORT_DATA is made by another hash.
    #[error("hash type {got} for REPORT_DATA is not supported; only type 1 (SHA-256) is")]
    HashType {
        /// The type.
        got: u32,
    },
    /// There is no runtime data.
    #[error("the HCL report has no runtime data")]
    Empty,
    /// A byte that must be zero isn't.
    #[error("reserved byte 0x{offset:03x} of the HCL report is not zero")]
    Reserved {
        /// Where.
        offset: usize,
    },
}

const fn tdx(kind: u32) -> &'static str {
    match kind {
        4 => " (TDX)",
        _ => "",
    }
}

/// An HCL report whose form is right. Nothing in it is authentic.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HclReport<'a> {
    version: u32,
    snp_report: &'a [u8; REPORT_BYTES],
    runtime_data: &'a [u8],
}

impl core::fmt::Debug for HclReport<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HclReport")
            .field("version", &self.version)
            .field("runtime_data", &self.runtime_data.len())
            .finish_non_exhaustive()
    }
}

impl<'a> HclReport<'a> {
    /// Reads an HCL report. Every size in it must be exactly the one that the
    /// others imply, and what follows the runtime data must be zero.
    ///
    /// # Errors
    /// [`HclError`] names the first fault.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, HclError> {
        if bytes.len() > MAX_HCL_REPORT_BYTES {
            return Err(HclError::TooLarge { got: bytes.len() });
        }
        let cut = |part| HclError::Truncated { part };
        let mut reader = Reader::new(bytes);
        if reader.array().ok_or_else(|| cut("header"))? != &SIGNATURE {
            return Err(HclError::Signature);
        }
        let version = reader.u32_le().ok_or_else(|| cut("header"))?;
        if !VERSIONS.contains(&version) {
            return Err(HclError::Version { got: version });
        }
        let mut number = |part| reader.u32_le().ok_or_else(|| cut(part));
        let report_size = number("header")?;
        require("request_type", REQUEST_TYPE, number("header")?)?;
        require("status", 0, number("header")?)?;
        let reserved: &[u8; 12] = reader.array().ok_or_else(|| cut("header"))?;
        require_zero(reserved, 0x14)?;
        let snp_report = reader.array().ok_or_else(|| cut("SNP report"))?;

        let mut number = || reader.u32_le().ok_or_else(|| cut("runtime data"));
        let data_size = number()?;
        require("runtime_data.version", RUNTIME_VERSION, number()?)?;
        match number()? {
            REPORT_TYPE_SNP => {}
            got => return Err(HclError::ReportType { got }),
        }
        match number()? {
            HASH_TYPE_SHA256 => {}
            got => return Err(HclError::HashType { got }),
        }
        let length = number()?;
        if length == 0 {
            return Err(HclError::Empty);
        }
        let runtime_data = usize::try_from(length)
            .ok()
            .and_then(|length| reader.take(length))
            .ok_or_else(|| cut("runtime data"))?;
        // The length fits into the bytes that came, so that neither sum wraps.
        let expected = RUNTIME_HEADER_BYTES.saturating_add(length);
        require("data_size", expected, data_size)?;
        let expected = (HEADER_BYTES + REPORT_SIZE).saturating_add(data_size);
        require("report_size", expected, report_size)?;
        let rest = reader.rest();
        require_zero(rest, bytes.len().saturating_sub(rest.len()))?;
        Ok(Self {
            version,
            snp_report,
            runtime_data,
        })
    }

    /// Version of the header: 1 or 2.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The raw SNP report inside, 1,184 bytes.
    #[must_use]
    pub const fn snp_report(&self) -> &'a [u8; REPORT_BYTES] {
        self.snp_report
    }

    /// The exact bytes that REPORT_DATA must be the SHA-256 of; never empty.
    #[must_use]
    pub const fn runtime_data(&self) -> &'a [u8] {
        self.runtime_data
    }
}

fn require(field: &'static str, expected: u32, got: u32) -> Result<(), HclError> {
    if got == expected {
        return Ok(());
    }
    Err(HclError::Field { field, expected, got })
}

fn require_zero(bytes: &[u8], offset: usize) -> Result<(), HclError> {
    match bytes.iter().position(|byte| *byte != 0) {
        None => Ok(()),
        Some(at) => Err(HclError::Reserved {
            offset: offset.saturating_add(at),
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An HCL report around `runtime`, in Azure's size.
    pub(crate) fn hcl(runtime: &[u8]) -> Vec<u8> {
        let length = u32::try_from(runtime.len()).unwrap();
        let mut bytes = b"HCLA".to_vec();
        for number in [2, 0x4c0 + 20 + length, 2, 0, 0, 0, 0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend([0x5a; REPORT_BYTES]);
        for number in [20 + length, 1, 2, 1, length] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(runtime);
        bytes.resize(2600, 0);
        bytes
    }

    fn with(offset: usize, number: u32) -> Result<(), HclError> {
        let mut bytes = hcl(b"{\"keys\":[]}");
        bytes[offset..offset + 4].copy_from_slice(&number.to_le_bytes());
        HclReport::parse(&bytes).map(drop)
    }

    #[test]
    fn the_parts_are_the_exact_bytes_that_came() {
        let bytes = hcl(b"{\"keys\":[]}");
        let report = HclReport::parse(&bytes).unwrap();
        assert_eq!(report.version(), 2);
        assert_eq!(report.snp_report(), &[0x5a; REPORT_BYTES]);
        assert_eq!(report.runtime_data(), b"{\"keys\":[]}");
        let whole = &bytes[..0x4d4 + 11];
        assert_eq!(
            HclReport::parse(whole).unwrap(),
            report,
            "zeros to the index's end are optional"
        );
    }

    #[test]
    fn every_field_has_one_right_value_and_its_own_fault() {
        assert_eq!(with(0, 0x414c_4349), Err(HclError::Signature));
        assert_eq!(with(4, 0), Err(HclError::Version { got: 0 }));
        assert_eq!(with(4, 3), Err(HclError::Version { got: 3 }));
        assert_eq!(with(4, 1), Ok(()));
        for got in [0, 3, 4, u32::MAX] {
            assert_eq!(with(0x4c8, got), Err(HclError::ReportType { got }));
        }
        assert!(HclError::ReportType { got: 4 }.to_string().contains("TDX"));
        for got in [0, 2, 3, 99] {
            assert_eq!(with(0x4cc, got), Err(HclError::HashType { got }));
        }
        for (offset, field, expected) in [
            (0x08, "report_size", 0x4df),
            (0x0c, "request_type", 2),
            (0x10, "status", 0),
            (0x4c0, "data_size", 31),
            (0x4c4, "runtime_data.version", 1),
        ] {
            for got in [expected + 1, u32::MAX] {
                let fault = HclError::Field { field, expected, got };
                assert_eq!(with(offset, got), Err(fault));
            }
        }
        assert_eq!(with(0x18, 1 << 8), Err(HclError::Reserved { offset: 0x19 }));
        assert_eq!(with(2596, 1 << 24), Err(HclError::Reserved { offset: 2599 }));
    }

    #[test]
    fn runtime_data_of_no_bytes_or_beyond_the_end_is_refused() {
        assert_eq!(with(0x4d0, 0), Err(HclError::Empty));
        let cut = HclError::Truncated { part: "runtime data" };
        for length in [2600 - 0x4d4 + 1, 0x7fff_ffff, u32::MAX - 19, u32::MAX] {
            assert_eq!(with(0x4d0, length), Err(cut.clone()), "{length}");
        }
        // Within the bytes, but not what the other sizes say.
        let fault = HclError::Field {
            field: "data_size",
            expected: 32,
            got: 31,
        };
        assert_eq!(with(0x4d0, 12), Err(fault));
        let fault = HclError::Field {
            field: "data_size",
            expected: 30,
            got: 31,
        };
        assert_eq!(with(0x4d0, 10), Err(fault));
    }

    #[test]
    fn every_truncation_below_the_runtime_datas_end_and_every_excess_is_refused() {
        let mut bytes = hcl(b"{\"keys\":[]}");
        for length in 0..0x4d4 + 11 {
            let fault = HclReport::parse(&bytes[..length]).unwrap_err();
            assert!(matches!(fault, HclError::Truncated { .. }), "{length}: {fault}");
        }
        bytes.resize(MAX_HCL_REPORT_BYTES, 0);
        assert!(HclReport::parse(&bytes).is_ok());
        bytes.push(0);
        assert_eq!(
            HclReport::parse(&bytes).unwrap_err(),
            HclError::TooLarge { got: 8193 }
        );
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_refused_or_lies_in_a_part_that_is_verified_elsewhere(
            at in 0_usize..2600, bit in 0_u8..8,
        ) {
            let bytes = hcl(b"{\"keys\":[]}");
            let good = HclReport::parse(&bytes).unwrap();
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            if let Ok(report) = HclReport::parse(&flipped) {
                prop_assert_eq!(report.version(), good.version());
                prop_assert!(
                    report.snp_report() != good.snp_report() || report.runtime_data() != good.runtime_data()
                );
            }
        }

        #[test]
        fn reading_never_panics(bytes: Vec<u8>, runtime in prop::collection::vec(any::<u8>(), 1..64), at: prop::sample::Index, number: u32) {
            let _ = HclReport::parse(&bytes);
            let mut whole = hcl(&runtime);
            let at = at.index(whole.len() - 3);
            whole[at..at + 4].copy_from_slice(&number.to_le_bytes());
            if let Ok(report) = HclReport::parse(&whole) {
                prop_assert!(report.runtime_data().len() <= whole.len());
            }
        }
    }
}
