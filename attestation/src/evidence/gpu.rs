//! The GPUs' part of an envelope: their evidence as it is hashed, the seed of
//! their nonce, and what NVIDIA issued for them.

use super::{ENDORSEMENTS, EVIDENCE};
use crate::codec::{CodecError, Fields, MapBuilder};
use crate::nvidia::{GpuEndorsements, GpuEndorsementsError, MAX_GPU_EVIDENCE_BYTES};

const EVIDENCE_TYPE: &str = "application/vnd.bastide.gpu-evidence+cbor";
const SEED_TYPE: &str = "application/octet-stream";
const ENDORSEMENTS_TYPE: &str = "application/vnd.bastide.gpu-endorsements+cbor";

const GPU: &str = "gpu";
const SEED: &str = "gpu-seed";
const GPU_ENDORSEMENTS: &str = "gpu-endorsements";

/// What is sent of a machine's GPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuPart {
    /// Exact bytes of a [`crate::nvidia::GpuEvidence`]: the statement names their digest.
    pub evidence: Vec<u8>,
    /// Seed of the nonce that the devices answered: see [`crate::binding::gpu_nonce`].
    pub seed: [u8; 32],
    /// Stapled endorsements.
    pub endorsements: GpuEndorsements,
}

/// Why the GPUs' part can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GpuPartError {
    /// A record is not of the defined shape.
    #[error("evidence envelope: {0}")]
    Codec(#[from] CodecError),
    /// The endorsements are not of the defined shape.
    #[error(transparent)]
    Endorsements(#[from] GpuEndorsementsError),
    /// One record without another that belongs to it.
    #[error("the envelope has no {part}, which belongs to GPU evidence")]
    Missing {
        /// Name of the record.
        part: &'static str,
    },
    /// More evidence than sixteen devices have, or another seed than 32 bytes.
    #[error("expected {expected} of `{part}`, got {got} bytes")]
    Length {
        /// Name of the record.
        part: &'static str,
        /// What was expected.
        expected: &'static str,
        /// What came.
        got: usize,
    },
}

impl GpuPart {
    pub(super) fn add_to(&self, map: MapBuilder) -> MapBuilder {
        let map = map
            .record(GPU, EVIDENCE_TYPE, &self.evidence, EVIDENCE)
            .record(SEED, SEED_TYPE, &self.seed, EVIDENCE);
        if self.endorsements.is_empty() {
            return map;
        }
        let endorsements = self.endorsements.encode();
        map.record(GPU_ENDORSEMENTS, ENDORSEMENTS_TYPE, &endorsements, ENDORSEMENTS)
    }

    #[cfg(test)]
    pub(super) fn add_one_to(&self, map: MapBuilder, label: &str) -> MapBuilder {
        match label {
            GPU => map.record(GPU, EVIDENCE_TYPE, &self.evidence, EVIDENCE),
            _ => map.record(SEED, SEED_TYPE, &self.seed, EVIDENCE),
        }
    }

    /// Reads the part, if there is one: all of it, or nothing.
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Option<Self>, GpuPartError> {
        let missing = |part| GpuPartError::Missing { part };
        let evidence = fields.record_if_present(GPU, EVIDENCE_TYPE, EVIDENCE)?;
        let seed = fields.record_if_present(SEED, SEED_TYPE, EVIDENCE)?;
        let endorsements = fields.record_if_present(GPU_ENDORSEMENTS, ENDORSEMENTS_TYPE, ENDORSEMENTS)?;
        let (evidence, seed) = match (evidence, seed, &endorsements) {
            (Some(evidence), Some(seed), _) => (evidence, seed),
            (None, None, None) => return Ok(None),
            (None, ..) => return Err(missing(GPU)),
            (Some(_), None, _) => return Err(missing(SEED)),
        };
        let got = evidence.len();
        if got > MAX_GPU_EVIDENCE_BYTES {
            let (part, expected) = (GPU, "evidence of at most 16 devices");
            return Err(GpuPartError::Length { part, expected, got });
        }
        let got = seed.len();
        let seed = seed.try_into().map_err(|_| GpuPartError::Length {
            part: SEED,
            expected: "32 bytes",
            got,
        })?;
        let endorsements = endorsements
            .map(GpuEndorsements::decode)
            .transpose()?
            .unwrap_or_default();
        Ok(Some(Self {
            evidence: evidence.to_vec(),
            seed,
            endorsements,
        }))
    }
}
