//! The exchange in which a client asks the head for every stage's evidence.
//! The client's nonce is under each stage's hardware signature; the head
//! carries the envelopes and vouches for none of them.

use crate::codec::{CodecError, Fields, MapBuilder};
use crate::digest::Nonce;

use super::plan::{MAX_PLAN_BYTES, MAX_STAGES};

/// Where a head answers for its pipeline: POST, `application/cbor` both ways.
pub const PIPELINE_PATH: &str = "/.well-known/bastide/pipeline";
/// Most bytes of one stage's envelope: as much as a link carries in one piece.
pub const MAX_STAGE_ENVELOPE_BYTES: usize = 1024 * 1024;
/// Most bytes of the head's answer.
pub const MAX_PIPELINE_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// A client's challenge to every stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipelineRequest {
    /// The challenge.
    pub nonce: Nonce,
}

impl PipelineRequest {
    /// Most bytes of a request.
    pub const MAX_BYTES: usize = 64;

    /// `{1: nonce}`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        MapBuilder::new().bytes(1, self.nonce.as_bytes()).encode()
    }

    /// Reads a request strictly.
    ///
    /// # Errors
    /// [`CodecError`] names the first thing that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut fields = Fields::decode(bytes, Self::MAX_BYTES)?;
        let nonce = Nonce::new(fields.array(1)?);
        fields.finish()?;
        Ok(Self { nonce })
    }
}

/// The head's answer: nothing in it is verified by being decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineAnswer {
    /// The signed plan.
    pub plan: Vec<u8>,
    /// Each stage's envelope, from stage 0 on, 1 to [`MAX_STAGES`]; none where
    /// a stage gave none.
    pub stages: Vec<Option<Vec<u8>>>,
}

impl PipelineAnswer {
    /// `{1: plan, 2: {0: envelope or null, …}}`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let stages = (0..)
            .zip(&self.stages)
            .fold(MapBuilder::new(), |map, (stage, envelope)| {
                map.bytes_or_null(stage, envelope.as_deref())
            });
        MapBuilder::new().bytes(1, &self.plan).map(2, stages).encode()
    }

    /// Reads an answer strictly.
    ///
    /// # Errors
    /// [`CodecError`] names the first thing that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut fields = Fields::decode(bytes, MAX_PIPELINE_ANSWER_BYTES)?;
        let plan = fields.bytes(1)?;
        if plan.len() > MAX_PLAN_BYTES {
            return Err(value(1, "a plan of at most 262,144 bytes"));
        }
        let mut map = fields.map(2)?;
        let mut stages = Vec::new();
        for stage in map.numbered(MAX_STAGES) {
            stages.push(map.bytes_or_null(stage)?);
        }
        map.finish()?;
        fields.finish()?;
        let long = |envelope: &Option<Vec<u8>>| {
            envelope
                .as_ref()
                .is_some_and(|envelope| envelope.len() > MAX_STAGE_ENVELOPE_BYTES)
        };
        if stages.is_empty() || stages.iter().any(long) {
            return Err(value(
                2,
                "an envelope of at most 1 MiB, or null, of 1 to 16 stages",
            ));
        }
        Ok(Self { plan, stages })
    }
}

fn value(key: i64, expected: &'static str) -> CodecError {
    CodecError::Value {
        key: key.into(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer() -> PipelineAnswer {
        PipelineAnswer {
            plan: vec![1, 2, 3],
            stages: vec![Some(vec![4; 40]), None, Some(vec![5])],
        }
    }

    #[test]
    fn what_was_asked_and_answered_is_read_back() {
        let request = PipelineRequest {
            nonce: Nonce::new([7; 32]),
        };
        assert_eq!(PipelineRequest::decode(&request.encode()), Ok(request));
        assert_eq!(PipelineAnswer::decode(&answer().encode()), Ok(answer()));
    }

    #[test]
    fn what_is_too_much_or_too_little_is_refused() {
        let stages = |count: usize| PipelineAnswer {
            stages: vec![None; count],
            ..answer()
        };
        assert!(PipelineAnswer::decode(&stages(MAX_STAGES).encode()).is_ok());
        for wrong in [
            stages(0),
            stages(MAX_STAGES + 1),
            PipelineAnswer {
                plan: vec![0; MAX_PLAN_BYTES + 1],
                ..answer()
            },
            PipelineAnswer {
                stages: vec![Some(vec![0; MAX_STAGE_ENVELOPE_BYTES + 1])],
                ..answer()
            },
        ] {
            assert!(PipelineAnswer::decode(&wrong.encode()).is_err());
        }
        assert!(matches!(
            PipelineAnswer::decode(&vec![0; MAX_PIPELINE_ANSWER_BYTES + 1]),
            Err(CodecError::TooLarge { .. })
        ));
    }

    #[test]
    fn a_gap_between_stages_is_refused() {
        let stages = MapBuilder::new().bytes(0, &[1]).bytes(2, &[1]);
        let bytes = MapBuilder::new().bytes(1, &[1]).map(2, stages).encode();
        assert_eq!(
            PipelineAnswer::decode(&bytes),
            Err(CodecError::Unknown { key: 2.into() })
        );
    }

    proptest! {
        #[test]
        fn decoding_never_panics_and_gives_its_own_bytes(bytes: Vec<u8>) {
            if let Ok(request) = PipelineRequest::decode(&bytes) {
                prop_assert_eq!(request.encode(), bytes.clone());
            }
            if let Ok(answer) = PipelineAnswer::decode(&bytes) {
                prop_assert_eq!(answer.encode(), bytes);
            }
        }
    }
}
