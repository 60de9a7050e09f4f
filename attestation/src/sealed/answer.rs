//! What an enclave answers where its sealed-mode key is asked for: an evidence
//! envelope with one record more, the key configuration that the evidence is
//! bound to. Nothing in it is verified here.

use super::MAX_CONFIG_BYTES;
use crate::codec::{CodecError, Fields};
use crate::evidence::{Evidence, EvidenceError, Omission, PartialEvidence, Untrusted, require_collection};

const LABEL: &str = "sealed-key";
const KEYS_TYPE: &str = "application/ohttp-keys";
/// CMW indicator: the key is claimed by the evidence, and endorsed by nothing.
const EVIDENCE: u64 = 0b100;
/// As for evidence of a session.
const MAX_BYTES: usize = crate::evidence::MAX_ENVELOPE_BYTES;

/// Evidence for a key configuration, with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKeyAnswer {
    /// The evidence; its leaf stands for the key configuration and a nonce.
    pub evidence: Evidence,
    /// The exact bytes of the key configurations.
    pub key_config: Vec<u8>,
}

impl SealedKeyAnswer {
    /// The envelope's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.evidence
            .collection(Omission::default())
            .record(LABEL, KEYS_TYPE, &self.key_config, EVIDENCE)
            .encode()
    }

    /// Reads an envelope: the evidence, and the key configuration that came with
    /// it. Whether they belong together is the appraisal's to say.
    ///
    /// # Errors
    /// [`EvidenceError`] names the first fault.
    pub fn decode(bytes: &[u8]) -> Result<(Untrusted<Evidence>, Vec<u8>), EvidenceError> {
        let mut fields = Fields::decode(bytes, MAX_BYTES)?;
        require_collection(&mut fields)?;
        let key_config = fields
            .record_if_present(LABEL, KEYS_TYPE, EVIDENCE)?
            .ok_or(EvidenceError::Missing { part: LABEL })?;
        if key_config.len() > MAX_CONFIG_BYTES {
            return Err(CodecError::TooLarge {
                limit: MAX_CONFIG_BYTES,
                got: key_config.len(),
            }
            .into());
        }
        let evidence = PartialEvidence::read(fields)?.complete(None)?;
        Ok((evidence, key_config.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::tests::evidence;
    use proptest::prelude::*;

    fn answer() -> SealedKeyAnswer {
        SealedKeyAnswer {
            evidence: evidence(),
            key_config: vec![7; 100],
        }
    }

    #[test]
    fn an_answer_round_trips_and_is_no_evidence_of_a_session() {
        let bytes = answer().encode();
        let (evidence, key_config) = SealedKeyAnswer::decode(&bytes).unwrap();
        assert_eq!(evidence.as_unverified(), &answer().evidence);
        assert_eq!(key_config, [7; 100]);
        assert!(Evidence::decode(&bytes).is_err());
        assert_eq!(
            SealedKeyAnswer::decode(&answer().evidence.encode()).unwrap_err(),
            EvidenceError::Missing { part: LABEL }
        );
    }

    #[test]
    fn a_key_configuration_above_its_limit_is_refused() {
        let long = SealedKeyAnswer {
            key_config: vec![0; MAX_CONFIG_BYTES + 1],
            ..answer()
        };
        assert!(SealedKeyAnswer::decode(&long.encode()).is_err());
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes: Vec<u8>) {
            let _ = SealedKeyAnswer::decode(&bytes);
        }
    }
}
