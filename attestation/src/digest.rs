//! Fixed-length byte strings, one type for each meaning, so that a nonce can't
//! be passed where a measurement is wanted. None of them has a default.

use core::fmt;
use core::str::FromStr;

/// Why a byte string or hex text isn't of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// The number of bytes is not the type's.
    #[error("expected {expected} bytes, got {got}")]
    Length {
        /// Bytes the type has.
        expected: usize,
        /// Bytes that came.
        got: usize,
    },
    /// The text is not hexadecimal.
    #[error("expected hexadecimal digits")]
    NotHex,
}

macro_rules! byte_string {
    ($(#[doc = $doc:literal] $name:ident[$len:literal];)*) => {$(
        #[doc = $doc]
        #[doc = concat!("\n\n", stringify!($len), " bytes; displayed as lower-case hex.")]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            #[doc = concat!("Bytes in a `", stringify!($name), "`.")]
            pub const LEN: usize = $len;

            /// Takes the bytes as they are.
            #[must_use]
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Whether every byte is zero.
            #[must_use]
            pub fn is_zero(&self) -> bool {
                self.0.iter().all(|byte| *byte == 0)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = DigestError;

            fn try_from(bytes: &[u8]) -> Result<Self, DigestError> {
                <[u8; $len]>::try_from(bytes)
                    .map(Self)
                    .map_err(|_| DigestError::Length { expected: $len, got: bytes.len() })
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                let bytes = hex::decode(text).map_err(|_| DigestError::NotHex)?;
                Self::try_from(bytes.as_slice())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0; $len * 2];
                hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
                f.write_str(core::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}

byte_string! {
    /// What ties evidence to one TLS session: see [`crate::binding::binder`].
    Binder[32];
    /// ID_KEY_DIGEST or AUTHOR_KEY_DIGEST of an SNP report: SHA-384 of a public key in AMD's form \[SNP ABI 56860, ID_AUTH_INFO\].
    IdKeyDigest[48];
    /// Random identity of one boot of an enclave.
    BootId[16];
    /// CHIP_ID of an SNP report \[SNP ABI 56860, ATTESTATION_REPORT, 0x1A0\]. All zero means "no chip", never an identity.
    ChipId[64];
    /// SHA-256 over the deterministic CBOR of a link's context.
    ContextDigest[32];
    /// SHA-384 of the firmware that made a GPU's attestation key \[DICE, TCBINFO FWID\].
    Fwid[48];
    /// Nonce passed to a GPU's attestation report.
    GpuNonce[32];
    /// HOST_DATA of an SNP report \[SNP ABI 56860, ATTESTATION_REPORT, 0x0C0\]: chosen by the host.
    HostData[32];
    /// COSE key thumbprint, SHA-256 \[RFC 9679\].
    KeyThumbprint[32];
    /// MEASUREMENT of an SNP report: SHA-384 launch digest \[SNP ABI 56860, ATTESTATION_REPORT, 0x090\].
    LaunchMeasurement[48];
    /// Hash of one leaf of the session tree: see [`crate::binding::leaf`].
    LeafHash[32];
    /// SHA-256 of a model manifest: see [`crate::ModelManifest::digest`].
    ManifestDigest[32];
    /// A challenge chosen by whoever verifies.
    Nonce[32];
    /// Identity of one NVIDIA device on NVLink, in the order of an NVSwitch's own report.
    Pdi[8];
    /// Value of a PCR in a TPM's SHA-256 bank.
    PcrValue[32];
    /// Random name of one pipeline, chosen by its owner.
    PipelineId[16];
    /// SHA-256 of a signed pipeline plan's exact bytes.
    PlanDigest[32];
    /// SHA-256 of an appraisal policy's exact bytes, or of an enclave's configuration.
    PolicyDigest[32];
    /// Nonce passed to a vTPM's quote: see [`crate::binding::quote_nonce`].
    QuoteNonce[32];
    /// REPORT_DATA of an SNP report: see [`crate::binding::report_data`].
    ReportData[64];
    /// REPORT_ID of an SNP report: random for each life of a guest.
    ReportId[32];
    /// SHA-256 of a reference integrity manifest's file.
    RimDigest[32];
    /// Random bytes that keep a hash from being guessed.
    Salt[32];
    /// SHA-256 of a DER SubjectPublicKeyInfo.
    SpkiDigest[32];
    /// SHA-256 of an epoch statement's exact bytes.
    StatementDigest[32];
    /// An inner node or the root of a session tree.
    TreeHash[32];
}

#[cfg(test)]
mod tests {
    use super::{DigestError, Nonce};

    #[test]
    fn hex_text_round_trips_and_wrong_lengths_are_named() {
        let nonce = Nonce::new([0xab; 32]);
        assert_eq!(nonce.to_string().parse::<Nonce>().unwrap(), nonce);
        assert_eq!(
            "abcd".parse::<Nonce>(),
            Err(DigestError::Length { expected: 32, got: 2 })
        );
        assert_eq!("xy".parse::<Nonce>(), Err(DigestError::NotHex));
    }
}
