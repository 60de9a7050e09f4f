//! What the head's receipt says of the pipeline: claim −75212. It carries the
//! stages' parts as they were signed; whether they hold and join is
//! checked by whoever verifies the receipt, one by one.

use crate::codec::{CodecError, Fields, MapBuilder};
use crate::digest::{ManifestDigest, PlanDigest};

use super::part::MAX_PART_BYTES;
use super::plan::MAX_STAGES;

/// Most re-plans of one answer.
pub const MAX_REPLANS: usize = 16;

/// How the draft did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Speculation {
    /// Tokens that the draft proposed and the pipeline verified.
    pub drafted: u64,
    /// How many of them were right.
    pub accepted: u64,
    /// Times that some were drafted, in vain or not.
    pub rounds: u64,
    /// Most tokens drafted in one round: K.
    pub largest: u64,
}

impl Speculation {
    /// Whether the numbers can be of one answer.
    #[must_use]
    pub const fn is_possible(&self) -> bool {
        self.accepted <= self.drafted && self.drafted <= self.rounds.saturating_mul(self.largest)
    }
}

/// A stage that was replaced within an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replan {
    /// Tokens that were final by then, prompt included.
    pub position: u64,
    /// The stage that was lost.
    pub stage: u16,
    /// Why, as the code of a FAULT or of a lost link.
    pub code: u8,
}

/// The pipeline's claim in a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineClaims {
    /// Digest of the plan.
    pub plan: PlanDigest,
    /// Signed parts, from stage 0 on: 1 to [`MAX_STAGES`], each of 1 to
    /// [`MAX_PART_BYTES`] bytes.
    pub parts: Vec<Vec<u8>>,
    /// Manifest of the draft, where one was used.
    pub draft: Option<ManifestDigest>,
    /// How the draft did.
    pub speculation: Speculation,
    /// Digest of the ids that the head emitted: the tail's output.
    pub emitted: [u8; 32],
    /// Stages that were replaced, in order; at most [`MAX_REPLANS`].
    pub replans: Vec<Replan>,
}

impl PipelineClaims {
    pub(crate) fn encode(&self) -> MapBuilder {
        let parts = (0..)
            .zip(&self.parts)
            .fold(MapBuilder::new(), |map, (stage, part)| map.bytes(stage, part));
        let Speculation {
            drafted,
            accepted,
            rounds,
            largest,
        } = self.speculation;
        let replans: Vec<u64> = self
            .replans
            .iter()
            .flat_map(|replan| [replan.position, replan.stage.into(), replan.code.into()])
            .collect();
        MapBuilder::new()
            .bytes(1, self.plan.as_bytes())
            .map(2, parts)
            .bytes_or_null(3, self.draft.as_ref().map(|draft| draft.as_bytes().as_slice()))
            .uints(4, &[drafted, accepted, rounds, largest])
            .bytes(5, &self.emitted)
            .uints(6, &replans)
    }

    pub(crate) fn decode(mut fields: Fields<'_>) -> Result<Self, CodecError> {
        let plan = PlanDigest::new(fields.array(1)?);
        let mut map = fields.map(2)?;
        let mut parts = Vec::new();
        for stage in map.numbered(MAX_STAGES) {
            parts.push(map.bytes(stage)?);
        }
        map.finish()?;
        let fits = |part: &Vec<u8>| (1..=MAX_PART_BYTES).contains(&part.len());
        if parts.is_empty() || !parts.iter().all(fits) {
            return Err(value(2, "a part of 1 to 1,024 bytes of 1 to 16 stages"));
        }
        let draft = fields.array_or_null(3)?.map(ManifestDigest::new);
        let [drafted, accepted, rounds, largest] = fields.uints(4)?;
        let emitted = fields.array(5)?;
        let replans = fields.uint_triples(6, MAX_REPLANS)?;
        let claims = Self {
            plan,
            parts,
            draft,
            speculation: Speculation {
                drafted,
                accepted,
                rounds,
                largest,
            },
            emitted,
            replans: replans.into_iter().map(replan).collect::<Result<_, _>>()?,
        };
        fields.finish()?;
        Ok(claims)
    }
}

fn replan([position, stage, code]: [u64; 3]) -> Result<Replan, CodecError> {
    let fault = || value(6, "position, stage below 16 and code below 256 of each re-plan");
    Ok(Replan {
        position,
        stage: u16::try_from(stage)
            .ok()
            .filter(|stage| usize::from(*stage) < MAX_STAGES)
            .ok_or_else(fault)?,
        code: u8::try_from(code).map_err(|_| fault())?,
    })
}

fn value(key: i64, expected: &'static str) -> CodecError {
    CodecError::Value {
        key: key.into(),
        expected,
    }
}
