//! The bundle in which a machine sends what its GPUs and NVSwitches say: one
//! report and one certificate chain for each device, in one encoding, a CBOR
//! array of `[report, chain]`. The epoch statement commits to its digest.

use crate::codec::{CodecError, decode_pairs, encode_pairs};
use crate::hash::sha256;

use super::spdm::MAX_REPORT_BYTES;

/// Most devices: eight GPUs and four NVSwitches are the most seen.
pub const MAX_DEVICES: usize = 16;
/// Most bytes of a certificate chain in PEM. Real ones have 4.8 KB.
pub const MAX_CHAIN_BYTES: usize = 20 * 1024;
/// Most bytes of a bundle: as many devices, of which each is a pair of byte
/// strings with at most seven bytes of CBOR around them, and the array's head.
pub const MAX_GPU_EVIDENCE_BYTES: usize = MAX_DEVICES * (MAX_REPORT_BYTES + MAX_CHAIN_BYTES + 7) + 1;

/// Why a bundle is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GpuEvidenceError {
    /// Not the CBOR that was expected.
    #[error("GPU evidence: {0}")]
    Codec(#[from] CodecError),
    /// No device, or too many.
    #[error("GPU evidence of 1 to {MAX_DEVICES} devices was expected, got {got}")]
    DeviceCount {
        /// How many.
        got: usize,
    },
    /// A report or a chain has too many bytes.
    #[error("device {device}: at most {limit} bytes of {part} are allowed, got {got}")]
    TooLarge {
        /// Which device, from 0.
        device: usize,
        /// Report or chain.
        part: &'static str,
        /// The most that may come.
        limit: usize,
        /// What came.
        got: usize,
    },
}

/// One device's evidence, as its driver returned it.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceEvidence {
    /// The SPDM report: see [`super::SpdmReport`].
    pub report: Vec<u8>,
    /// The certificate chain in PEM, leaf first.
    pub chain: Vec<u8>,
}

impl core::fmt::Debug for DeviceEvidence {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("DeviceEvidence")
            .field("report_bytes", &self.report.len())
            .field("chain_bytes", &self.chain.len())
            .finish()
    }
}

/// Evidence of all of a machine's devices. Sizes are right; nothing was
/// parsed, and nothing is authentic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuEvidence {
    devices: Vec<DeviceEvidence>,
    digest: [u8; 32],
}

impl GpuEvidence {
    /// Takes the devices in the order in which they are sent.
    ///
    /// # Errors
    /// [`GpuEvidenceError`] if there are none, too many, or one is too large.
    pub fn new(devices: Vec<DeviceEvidence>) -> Result<Self, GpuEvidenceError> {
        require_sizes(&devices)?;
        let digest = sha256(&[&encode(&devices)]);
        Ok(Self { devices, digest })
    }

    /// Decodes a bundle as it was sent.
    ///
    /// # Errors
    /// [`GpuEvidenceError`] names the first thing that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, GpuEvidenceError> {
        let devices = decode_pairs(bytes, MAX_GPU_EVIDENCE_BYTES)?
            .into_iter()
            .map(|[report, chain]| DeviceEvidence { report, chain })
            .collect::<Vec<_>>();
        require_sizes(&devices)?;
        // Over the bytes as they came.
        let digest = sha256(&[bytes]);
        Ok(Self { devices, digest })
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.devices)
    }

    /// The devices in the order in which they are sent.
    #[must_use]
    pub fn devices(&self) -> &[DeviceEvidence] {
        &self.devices
    }

    /// SHA-256 over the encoding as sent: the epoch statement's `gpu_digest`.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

fn encode(devices: &[DeviceEvidence]) -> Vec<u8> {
    encode_pairs(
        devices
            .iter()
            .map(|device| [&device.report[..], &device.chain[..]]),
    )
}

fn require_sizes(devices: &[DeviceEvidence]) -> Result<(), GpuEvidenceError> {
    if !(1..=MAX_DEVICES).contains(&devices.len()) {
        return Err(GpuEvidenceError::DeviceCount { got: devices.len() });
    }
    for (device, evidence) in devices.iter().enumerate() {
        for (part, bytes, limit) in [
            ("report", &evidence.report, MAX_REPORT_BYTES),
            ("certificate chain", &evidence.chain, MAX_CHAIN_BYTES),
        ] {
            let got = bytes.len();
            if got > limit {
                return Err(GpuEvidenceError::TooLarge {
                    device,
                    part,
                    limit,
                    got,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn device(report: usize, chain: usize) -> DeviceEvidence {
        DeviceEvidence {
            report: vec![7; report],
            chain: vec![8; chain],
        }
    }

    #[test]
    fn the_encoding_is_an_array_of_pairs_and_its_hash_the_digest() {
        let evidence = GpuEvidence::new(vec![device(1, 2), device(0, 0)]).unwrap();
        let expected = [0x82, 0x82, 0x41, 7, 0x42, 8, 8, 0x82, 0x40, 0x40];
        assert_eq!(evidence.encode(), expected);
        assert_eq!(evidence.digest(), sha256(&[&expected]));
        assert_eq!(GpuEvidence::decode(&expected), Ok(evidence));
    }

    #[test]
    fn the_largest_bundle_is_just_within_the_limit() {
        let largest = vec![device(MAX_REPORT_BYTES, MAX_CHAIN_BYTES); MAX_DEVICES];
        let encoded = GpuEvidence::new(largest.clone()).unwrap().encode();
        assert_eq!(encoded.len(), MAX_GPU_EVIDENCE_BYTES);
        assert_eq!(GpuEvidence::decode(&encoded).unwrap().devices(), largest);
    }

    #[test]
    fn no_device_too_many_and_too_large_ones_are_refused() {
        for (devices, fault) in [
            (vec![], GpuEvidenceError::DeviceCount { got: 0 }),
            (vec![device(0, 0); 17], GpuEvidenceError::DeviceCount { got: 17 }),
            (
                vec![device(0, 0), device(8193, 0)],
                GpuEvidenceError::TooLarge {
                    device: 1,
                    part: "report",
                    limit: 8192,
                    got: 8193,
                },
            ),
            (
                vec![device(0, 20481)],
                GpuEvidenceError::TooLarge {
                    device: 0,
                    part: "certificate chain",
                    limit: 20480,
                    got: 20481,
                },
            ),
        ] {
            let encoded = encode(&devices);
            assert_eq!(GpuEvidence::decode(&encoded), Err(fault.clone()));
            assert_eq!(GpuEvidence::new(devices), Err(fault));
        }
    }

    proptest! {
        #[test]
        fn decoding_never_panics_and_has_one_encoding(bytes: Vec<u8>) {
            if let Ok(evidence) = GpuEvidence::decode(&bytes) {
                prop_assert_eq!(evidence.encode(), bytes);
            }
        }
    }
}
