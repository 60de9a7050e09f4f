//! The enclave's own appraisal of its GPUs, by the `[gpu]` section of a policy.

use bastide_attestation::nvidia::{GpuEndorsements, GpuEvidence};
use bastide_attestation::{Decision, GpuNonce, PolicyDigest};
use bastide_verifier::{Policy, RecordedGpu, RecordedGpus, Verifier};

use crate::clock;

/// Evidence that the enclave's own policy accepts.
#[derive(Debug)]
pub struct AppraisedGpus {
    evidence: GpuEvidence,
    endorsements: GpuEndorsements,
}

impl AppraisedGpus {
    /// The evidence and what endorses it.
    #[must_use]
    pub fn into_parts(self) -> (GpuEvidence, GpuEndorsements) {
        (self.evidence, self.endorsements)
    }
}

/// Why the policy refuses evidence, as a verdict says it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason} (policy `{policy}`)")]
pub struct GpuRefusal {
    /// The verdict's code.
    pub code: &'static str,
    /// Its sentence.
    pub reason: String,
    /// Name of the policy.
    pub policy: String,
}

/// A verifier with the operator's policy.
#[derive(Debug)]
pub struct GpuJudge(Verifier);

impl GpuJudge {
    /// Judges by this policy.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self(Verifier::new(policy))
    }

    /// SHA-256 of the policy's bytes.
    #[must_use]
    pub const fn policy_digest(&self) -> PolicyDigest {
        self.0.policy().digest()
    }

    /// Accepts evidence that is over `nonce` and that the policy accepts now, by
    /// the guest's clock. The host sets that clock: clients judge by their own.
    ///
    /// # Errors
    /// [`GpuRefusal`] with the verdict's code and reason.
    pub fn appraise(
        &self,
        evidence: GpuEvidence,
        endorsements: GpuEndorsements,
        nonce: &GpuNonce,
    ) -> Result<AppraisedGpus, GpuRefusal> {
        let devices: Vec<_> = evidence
            .devices()
            .iter()
            .map(|device| RecordedGpu {
                report: &device.report,
                chain: &device.chain,
            })
            .collect();
        let recorded = RecordedGpus {
            devices: &devices,
            endorsements: &endorsements,
            nonce: Some(*nonce),
            nras: None,
        };
        let verdict = self.0.appraise_recorded_gpus(&recorded, clock::now());
        if verdict.decision == Decision::Accepted {
            return Ok(AppraisedGpus {
                evidence,
                endorsements,
            });
        }
        Err(GpuRefusal {
            code: verdict.code.unwrap_or("internal"),
            reason: verdict.reason.unwrap_or_default(),
            policy: verdict.policy,
        })
    }
}
