//! ATTESTATION_REPORT \[SNP ABI 56860, ATTESTATION_REPORT\], field by field over
//! the raw bytes, which are kept: a signature is verified over exactly these.

use super::bits::{GuestPolicy, KeyInfo, PlatformInfo};
use super::product::{Cpuid, Generation};
use super::tcb::TcbVersion;
use crate::digest::{ChipId, HostData, IdKeyDigest, LaunchMeasurement, ReportData, ReportId};

/// Bytes of a report.
pub const REPORT_BYTES: usize = 0x4a0;
/// Bytes at the front of a report that are signed.
pub const SIGNED_BYTES: usize = 0x2a0;
const SIGNATURE_ALGO_ECDSA_P384_SHA384: u32 = 1;

/// Why bytes are no report of a supported form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Another number of bytes.
    #[error("an SNP report has {REPORT_BYTES} bytes, got {got}")]
    Length {
        /// Bytes that came.
        got: usize,
    },
    /// A version whose layout isn't supported.
    #[error("report version {got} is not supported; versions 2, 3, 4 and 5 are")]
    Version {
        /// The version.
        got: u32,
    },
    /// A reserved byte that must be zero isn't.
    #[error("reserved byte 0x{offset:03x} of a version {version} report is not zero")]
    Reserved {
        /// Where.
        offset: usize,
        /// Version of the report.
        version: u32,
    },
    /// Not ECDSA P-384 with SHA-384.
    #[error("signature algorithm {got} is not 1 (ECDSA P-384 with SHA-384)")]
    SignatureAlgorithm {
        /// The algorithm.
        got: u32,
    },
}

/// A report whose form is right. Nothing in it is authentic yet.
#[derive(Clone, PartialEq, Eq)]
pub struct SnpReport([u8; REPORT_BYTES]);

impl core::fmt::Debug for SnpReport {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SnpReport")
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

impl SnpReport {
    /// Checks length, version, reserved bytes of that version, signature
    /// algorithm and signature padding.
    ///
    /// # Errors
    /// [`ReportError`] names the first fault.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReportError> {
        let raw: [u8; REPORT_BYTES] = bytes
            .try_into()
            .map_err(|_| ReportError::Length { got: bytes.len() })?;
        let report = Self(raw);
        let version = report.version();
        if !(2..=5).contains(&version) {
            return Err(ReportError::Version { got: version });
        }
        for (from, to) in ALWAYS_ZERO.into_iter().chain(zero_in(version)) {
            let reserved = report.0.get(from..to).unwrap_or_default();
            if let Some(at) = reserved.iter().position(|byte| *byte != 0) {
                return Err(ReportError::Reserved {
                    offset: from + at,
                    version,
                });
            }
        }
        match report.u32_at::<0x034>() {
            SIGNATURE_ALGO_ECDSA_P384_SHA384 => Ok(report),
            got => Err(ReportError::SignatureAlgorithm { got }),
        }
    }

    /// N bytes at a constant offset. Offsets below are inside the report.
    fn at<const OFFSET: usize, const N: usize>(&self) -> [u8; N] {
        const { assert!(OFFSET + N <= REPORT_BYTES) };
        let mut out = [0; N];
        out.iter_mut()
            .zip(self.0.iter().skip(OFFSET))
            .for_each(|(to, from)| *to = *from);
        out
    }

    fn byte_at<const OFFSET: usize>(&self) -> u8 {
        let [byte] = self.at::<OFFSET, 1>();
        byte
    }

    fn u32_at<const OFFSET: usize>(&self) -> u32 {
        u32::from_le_bytes(self.at::<OFFSET, 4>())
    }

    fn u64_at<const OFFSET: usize>(&self) -> u64 {
        u64::from_le_bytes(self.at::<OFFSET, 8>())
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; REPORT_BYTES] {
        &self.0
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn signed_bytes(&self) -> &[u8] {
        self.0
            .first_chunk::<SIGNED_BYTES>()
            .map_or(&[], <[u8; SIGNED_BYTES]>::as_slice)
    }

    /// VERSION.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.u32_at::<0x000>()
    }

    /// GUEST_SVN.
    #[must_use]
    pub fn guest_svn(&self) -> u32 {
        self.u32_at::<0x004>()
    }

    /// POLICY.
    #[must_use]
    pub fn policy(&self) -> GuestPolicy {
        GuestPolicy::new(self.u64_at::<0x008>())
    }

    /// FAMILY_ID.
    #[must_use]
    pub fn family_id(&self) -> [u8; 16] {
        self.at::<0x010, 16>()
    }

    /// IMAGE_ID.
    #[must_use]
    pub fn image_id(&self) -> [u8; 16] {
        self.at::<0x020, 16>()
    }

    /// VMPL.
    #[must_use]
    pub fn vmpl(&self) -> u32 {
        self.u32_at::<0x030>()
    }

    /// CURRENT_TCB by the layout of `generation`; `None` if reserved bytes aren't zero.
    #[must_use]
    pub fn current_tcb(&self, generation: Generation) -> Option<TcbVersion> {
        TcbVersion::parse(self.at::<0x038, 8>(), generation)
    }

    /// PLATFORM_INFO.
    #[must_use]
    pub fn platform_info(&self) -> PlatformInfo {
        PlatformInfo::new(self.u64_at::<0x040>())
    }

    /// KEY_INFO.
    #[must_use]
    pub fn key_info(&self) -> KeyInfo {
        KeyInfo::new(self.u32_at::<0x048>())
    }

    /// REPORT_DATA.
    #[must_use]
    pub fn report_data(&self) -> ReportData {
        ReportData::new(self.at::<0x050, 64>())
    }

    /// MEASUREMENT.
    #[must_use]
    pub fn measurement(&self) -> LaunchMeasurement {
        LaunchMeasurement::new(self.at::<0x090, 48>())
    }

    /// HOST_DATA.
    #[must_use]
    pub fn host_data(&self) -> HostData {
        HostData::new(self.at::<0x0c0, 32>())
    }

    /// ID_KEY_DIGEST.
    #[must_use]
    pub fn id_key_digest(&self) -> IdKeyDigest {
        IdKeyDigest::new(self.at::<0x0e0, 48>())
    }

    /// AUTHOR_KEY_DIGEST.
    #[must_use]
    pub fn author_key_digest(&self) -> IdKeyDigest {
        IdKeyDigest::new(self.at::<0x110, 48>())
    }

    /// REPORT_ID.
    #[must_use]
    pub fn report_id(&self) -> ReportId {
        ReportId::new(self.at::<0x140, 32>())
    }

    /// REPORTED_TCB by the layout of `generation`; `None` if reserved bytes aren't zero.
    #[must_use]
    pub fn reported_tcb(&self, generation: Generation) -> Option<TcbVersion> {
        TcbVersion::parse(self.at::<0x180, 8>(), generation)
    }

    /// CPUID_FAM_ID, CPUID_MOD_ID, CPUID_STEP; version 2 has none.
    #[must_use]
    pub fn cpuid(&self) -> Option<Cpuid> {
        let [family, model, stepping] = self.at::<0x188, 3>();
        (self.version() >= 3).then_some(Cpuid {
            family,
            model,
            stepping,
        })
    }

    /// CHIP_ID.
    #[must_use]
    pub fn chip_id(&self) -> ChipId {
        ChipId::new(self.at::<0x1a0, 64>())
    }

    /// COMMITTED_TCB by the layout of `generation`; `None` if reserved bytes aren't zero.
    #[must_use]
    pub fn committed_tcb(&self, generation: Generation) -> Option<TcbVersion> {
        TcbVersion::parse(self.at::<0x1e0, 8>(), generation)
    }

    /// CURRENT_MAJOR, CURRENT_MINOR, CURRENT_BUILD of the firmware.
    #[must_use]
    pub fn current_firmware(&self) -> (u8, u8, u8) {
        (
            self.byte_at::<0x1ea>(),
            self.byte_at::<0x1e9>(),
            self.byte_at::<0x1e8>(),
        )
    }

    /// LAUNCH_TCB by the layout of `generation`; `None` if reserved bytes aren't zero.
    #[must_use]
    pub fn launch_tcb(&self, generation: Generation) -> Option<TcbVersion> {
        TcbVersion::parse(self.at::<0x1f0, 8>(), generation)
    }

    /// LAUNCH_MIT_VECTOR and CURRENT_MIT_VECTOR, the mitigations in place then
    /// and now; reports before version 5 have none.
    #[must_use]
    pub fn mitigation_vectors(&self) -> Option<(u64, u64)> {
        (self.version() >= 5).then(|| (self.u64_at::<0x1f8>(), self.u64_at::<0x200>()))
    }

    /// R and S of the signature, big-endian, 48 bytes each, as fixed-length
    /// ECDSA verification wants them.
    #[must_use]
    pub fn signature(&self) -> [u8; 96] {
        let (mut r, mut s) = (self.at::<0x2a0, 48>(), self.at::<0x2e8, 48>());
        r.reverse();
        s.reverse();
        let mut out = [0; 96];
        out.iter_mut()
            .zip(r.iter().chain(&s))
            .for_each(|(to, from)| *to = *from);
        out
    }
}

/// Byte ranges `from..to` that must be zero in every version.
const ALWAYS_ZERO: [(usize, usize); 5] = [
    (0x04c, 0x050),
    (0x1eb, 0x1ec),
    (0x1ef, 0x1f0),
    (0x2d0, 0x2e8),
    (0x318, 0x4a0),
];

/// Further ranges that must be zero in one version: version 2 has no CPUID,
/// versions below 5 no mitigation vectors.
const fn zero_in(version: u32) -> [(usize, usize); 2] {
    match version {
        2 => [(0x188, 0x1a0), (0x1f8, 0x2a0)],
        3 | 4 => [(0x18b, 0x1a0), (0x1f8, 0x2a0)],
        _ => [(0x18b, 0x1a0), (0x208, 0x2a0)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blank(version: u8) -> Vec<u8> {
        let mut bytes = vec![0; REPORT_BYTES];
        bytes[0] = version;
        bytes[0x34] = 1;
        bytes
    }

    #[test]
    fn reserved_bytes_are_checked_per_version() {
        let cases: [(u8, usize, bool); 10] = [
            (2, 0x188, false),
            (3, 0x188, true),
            (3, 0x18b, false),
            (3, 0x1f8, false),
            (4, 0x1f8, false),
            (5, 0x1f8, true),
            (5, 0x207, true),
            (5, 0x208, false),
            (5, 0x2cf, true),
            (5, 0x2d0, false),
        ];
        for (version, offset, allowed) in cases {
            let mut bytes = blank(version);
            bytes[offset] = 1;
            let expected = ReportError::Reserved {
                offset,
                version: u32::from(version),
            };
            assert_eq!(
                SnpReport::parse(&bytes).err(),
                (!allowed).then_some(expected),
                "v{version} 0x{offset:x}"
            );
        }
    }

    #[test]
    fn other_lengths_versions_and_algorithms_are_named() {
        assert_eq!(
            SnpReport::parse(&[0; 1183]).err(),
            Some(ReportError::Length { got: 1183 })
        );
        for version in [0, 1, 6, 77] {
            let got = u32::from(version);
            assert_eq!(
                SnpReport::parse(&blank(version)).err(),
                Some(ReportError::Version { got })
            );
        }
        let mut bytes = blank(3);
        bytes[0x34] = 2;
        assert_eq!(
            SnpReport::parse(&bytes).err(),
            Some(ReportError::SignatureAlgorithm { got: 2 })
        );
    }

    #[test]
    fn fields_lie_where_the_abi_says() {
        let mut bytes = blank(5);
        bytes[0x188..0x18b].copy_from_slice(&[0x1a, 0x02, 0x01]);
        bytes[0x180..0x188].copy_from_slice(&[1, 2, 3, 4, 0, 0, 0, 5]);
        bytes[0x2a0] = 0xaa;
        bytes[0x2e8] = 0xbb;
        bytes[0x1e8..0x1eb].copy_from_slice(&[61, 55, 1]);
        let report = SnpReport::parse(&bytes).unwrap();
        assert_eq!(
            report.cpuid(),
            Some(Cpuid {
                family: 0x1a,
                model: 2,
                stepping: 1
            })
        );
        assert_eq!(report.reported_tcb(Generation::Turin).unwrap().snp, 4);
        assert_eq!(report.reported_tcb(Generation::Genoa), None);
        assert_eq!(report.current_firmware(), (1, 55, 61));
        assert_eq!((report.signature()[47], report.signature()[95]), (0xaa, 0xbb));
        assert_eq!(report.signed_bytes().len(), SIGNED_BYTES);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2400)) {
            let _ = SnpReport::parse(&bytes);
        }
    }
}
