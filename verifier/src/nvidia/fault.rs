//! Why a device isn't authentic: one variant for each fault, in the order of
//! the checks. Certificates are counted from the leaf, which is 0.

use bastide_attestation::nvidia::{DeviceKind, Family, MAX_CHAIN_BYTES, OpaqueError, SpdmError};
use bastide_attestation::{GpuNonce, SpkiDigest, UnixTime};

use crate::pem::PemError;

use super::chain::CHAIN_LENGTH;

/// The first check that a device did not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeviceFault {
    /// More bytes of chain than may come.
    #[error("a certificate chain has at most {MAX_CHAIN_BYTES} bytes of PEM, got {got}")]
    ChainTooLarge {
        /// What came.
        got: usize,
    },
    /// Not a report.
    #[error("report: {0}")]
    Spdm(#[from] SpdmError),
    /// The report answers another challenge.
    #[error("the report has nonce {got}, expected {expected}")]
    NonceMismatch {
        /// What was asked.
        expected: GpuNonce,
        /// What was answered.
        got: GpuNonce,
    },
    /// Not PEM.
    #[error("certificate chain: {0}")]
    PemInvalid(#[from] PemError),
    /// Another number of certificates.
    #[error("{CHAIN_LENGTH} certificates were expected, leaf first, got {got}")]
    ChainLength {
        /// How many.
        got: usize,
    },
    /// Not a certificate.
    #[error("certificate {index}: expected {expected}")]
    Certificate {
        /// Which.
        index: usize,
        /// What should have come.
        expected: &'static str,
    },
    /// A BIT STRING with unused bits where there are none: the same bytes
    /// would count as another certificate.
    #[error("certificate {index}: expected {expected}")]
    BitStringUnusedBits {
        /// Which.
        index: usize,
        /// What should have come.
        expected: &'static str,
    },
    /// Another key or signature algorithm than ECDSA on P-384 with SHA-384.
    #[error("certificate {index}: expected {expected}")]
    CertificateAlgorithm {
        /// Which.
        index: usize,
        /// What should have come.
        expected: &'static str,
    },
    /// The last certificate is no anchor's.
    #[error("the root with key sha256:{spki} is not pinned")]
    RootNotPinned {
        /// Digest of its SubjectPublicKeyInfo.
        spki: SpkiDigest,
    },
    /// A common name that no family has at that place.
    #[error("certificate {index}: expected {expected}, got `{got}`")]
    NameTemplate {
        /// Which.
        index: usize,
        /// What should have come.
        expected: String,
        /// Its common name, cut and filtered.
        got: String,
    },
    /// The issuer's name isn't the next certificate's subject.
    #[error("certificate {index} was issued by another authority than the next certificate's")]
    ChainIssuer {
        /// Which.
        index: usize,
    },
    /// Not marked as an authority, or the leaf marked as one.
    #[error("certificate {index}: expected {expected}")]
    NotAuthority {
        /// Which.
        index: usize,
        /// What should have come.
        expected: &'static str,
    },
    /// More authorities below than it allows.
    #[error("certificate {index} allows {allowed} authorities below it, {got} are")]
    PathLength {
        /// Which.
        index: usize,
        /// Its pathLen.
        allowed: u8,
        /// How many are.
        got: usize,
    },
    /// A key for other uses.
    #[error("certificate {index}: expected {expected}")]
    KeyUsage {
        /// Which.
        index: usize,
        /// What should have come.
        expected: &'static str,
    },
    /// Not valid now.
    #[error("certificate {index} is valid from {not_before} to {not_after}, not at {now}")]
    CertificateTime {
        /// Which.
        index: usize,
        /// First second it is valid.
        not_before: UnixTime,
        /// Last second it is valid.
        not_after: UnixTime,
        /// The time of the appraisal.
        now: UnixTime,
    },
    /// The next certificate's key did not sign it.
    #[error("certificate {index} is not signed by the next certificate's key")]
    ChainSignature {
        /// Which.
        index: usize,
    },
    /// A GPU's report with a switch's chain, or the other way round.
    #[error("the report is of a {report}, the certificate chain of {chain}")]
    KindMismatch {
        /// What the report is of.
        report: DeviceKind,
        /// The family that the chain names.
        chain: Family,
    },
    /// R or S of the report's signature is zero.
    #[error("r or s of the report's signature is zero")]
    SignatureShape,
    /// The leaf's key did not sign the report.
    #[error("the report's signature does not verify with the leaf's key")]
    SignatureInvalid,
    /// Opaque data that can't be read.
    #[error("report: {0}")]
    Opaque(#[from] OpaqueError),
    /// The leaf's DICE extension is malformed.
    #[error("the leaf's DICE extension: expected {expected}")]
    Dice {
        /// What should have come.
        expected: &'static str,
    },
    /// Certificate or report name no firmware.
    #[error("there is no firmware digest (FWID) in the {place}")]
    FwidMissing {
        /// Leaf or report.
        place: &'static str,
    },
    /// Certificate and report name different firmware.
    #[error("the leaf is of other firmware (FWID) than the report")]
    FwidMismatch,
    /// The firmware that made the attestation key can be debugged.
    #[error("the leaf's DiceTcbInfo has the debug flag")]
    DebugTcb,
    /// The device wasn't secure, or was recovering, when the key was made.
    #[error("the leaf's DiceTcbInfo has flags 0x{flags:08x}: not secure, or recovery")]
    InsecureTcb {
        /// All flags, the first as the highest bit.
        flags: u32,
    },
}
