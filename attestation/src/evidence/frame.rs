//! The envelopes of one epoch: the same bytes but for each session's proof. They
//! are put together once, around a place for the proof.

use super::{EVIDENCE, Endorsements, GpuPart, Omission, PROOF_TYPE, PlatformEvidence, shared};
use crate::codec::byte_string;
use crate::merkle::InclusionProof;

/// What every envelope of an epoch has, ready to send but for a session's proof.
#[derive(Debug, Clone)]
pub struct EnvelopeFrame {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl EnvelopeFrame {
    /// Of what the sessions share, without what is `omitted`.
    #[must_use]
    pub fn new(
        statement: &[u8],
        platform: &PlatformEvidence,
        endorsements: &Endorsements,
        gpu: Option<&GpuPart>,
        omitted: Omission,
    ) -> Self {
        let (before, after) = shared(statement, platform, endorsements, gpu, omitted)
            .open_record("proof", PROOF_TYPE, EVIDENCE)
            .encode_around();
        Self { before, after }
    }

    /// The envelope of the session that this proof is of: the very bytes of
    /// [`super::Evidence::encode_without`].
    #[must_use]
    pub fn envelope(&self, proof: &InclusionProof) -> Vec<u8> {
        let proof = proof.encode();
        // A byte string's head has at most nine bytes.
        let parts = [self.before.len(), self.after.len(), proof.len(), 9];
        let mut envelope = Vec::with_capacity(parts.into_iter().sum());
        envelope.extend_from_slice(&self.before);
        byte_string(&mut envelope, &proof);
        envelope.extend_from_slice(&self.after);
        envelope
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{evidence, gpu_evidence};
    use super::*;
    use crate::digest::Salt;
    use crate::evidence::Evidence;

    fn by_frame(evidence: &Evidence, omitted: Omission) -> Vec<u8> {
        let Evidence {
            statement,
            proof,
            platform,
            endorsements,
            gpu,
        } = evidence;
        EnvelopeFrame::new(statement, platform, endorsements, gpu.as_ref(), omitted).envelope(proof)
    }

    proptest! {
        /// Every depth, every length of an index, every part left out.
        #[test]
        fn a_framed_envelope_is_the_envelope_byte_for_byte(
            depth in 0_usize..=14, index in prop_oneof![0_u64..30, 200_u64..300, 0_u64..16_384],
            salt: [u8; 32], gpu: bool, crl: bool, endorsements: bool, without_gpu: bool,
        ) {
            let mut evidence = if gpu { gpu_evidence() } else { evidence() };
            evidence.endorsements.crl = crl.then(|| vec![6; 900]);
            evidence.proof = InclusionProof {
                index,
                path: vec![[0x5a; 32]; depth],
                salt: Salt::new(salt),
            };
            let omitted = Omission { endorsements, gpu: without_gpu };
            prop_assert_eq!(by_frame(&evidence, omitted), evidence.encode_without(omitted));
        }
    }
}
