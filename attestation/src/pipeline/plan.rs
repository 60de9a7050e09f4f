//! The plan of a pipeline: who computes which layers of which model, under
//! which policy, and who is let in. A [`Plan`] that exists is a good one:
//! its layers are contiguous and complete, and each policy is used.

use core::fmt;
use std::collections::BTreeSet;

use crate::codec::{CodecError, Fields, MapBuilder};
use crate::digest::{ManifestDigest, PipelineId};
use crate::link::{LinkContext, PeerRulesError};

use super::plan_rules::PlanRules;

/// Most stages of a pipeline.
pub const MAX_STAGES: usize = 16;
/// Most layers of a model.
pub const MAX_LAYERS: u16 = 4_096;
/// Most bytes of one policy in a plan.
pub const MAX_POLICY_BYTES: usize = 65_536;
/// Most bytes of a signed plan.
pub const MAX_PLAN_BYTES: usize = 262_144;

const VERSION: u64 = 1;
/// What activations are between stages.
const ARITHMETIC: &str = "f32";

/// Keys of the payload.
mod key {
    pub(super) const VERSION: i64 = 1;
    pub(super) const PIPELINE: i64 = 2;
    pub(super) const MODEL: i64 = 3;
    pub(super) const DRAFT: i64 = 4;
    pub(super) const LAYERS: i64 = 5;
    pub(super) const ARITHMETIC: i64 = 6;
    pub(super) const STAGES: i64 = 7;
    pub(super) const POLICIES: i64 = 8;
    pub(super) const RULES: i64 = 9;
    pub(super) const OWNER: i64 = 10;
}

/// Layers from `first` to one before `end`: never empty, at most
/// [`MAX_LAYERS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayerRange {
    first: u16,
    end: u16,
}

impl LayerRange {
    /// A range, if it is one.
    #[must_use]
    pub const fn new(first: u16, end: u16) -> Option<Self> {
        if first < end && end <= MAX_LAYERS {
            Some(Self { first, end })
        } else {
            None
        }
    }

    /// The first layer, from 0.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// One past the last layer.
    #[must_use]
    pub const fn end(self) -> u16 {
        self.end
    }

    /// How many layers.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.end.saturating_sub(self.first)
    }

    pub(super) fn of(first: u64, end: u64) -> Option<Self> {
        Self::new(u16::try_from(first).ok()?, u16::try_from(end).ok()?)
    }
}

impl fmt::Display for LayerRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.end)
    }
}

/// What one stage has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StagePlan {
    /// Its layers.
    pub layers: LayerRange,
    /// Digest of the weights of those layers, as the document defines it.
    pub weights: [u8; 32],
    /// Which of the plan's policies its evidence must meet.
    pub policy: u8,
}

/// What a plan is made of, before it is known to be good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanContents {
    /// The pipeline's name.
    pub pipeline: PipelineId,
    /// Manifest of the model; the draft is a member of it.
    pub model: ManifestDigest,
    /// Manifest of the draft model alone, where there is one.
    pub draft: Option<ManifestDigest>,
    /// The stages, from the head's on.
    pub stages: Vec<StagePlan>,
    /// Policies, each the exact bytes of a policy file.
    pub policies: Vec<Vec<u8>>,
    /// Who is admitted.
    pub rules: PlanRules,
}

/// Why something is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Not strict CBOR of the defined shape.
    #[error("plan: {0}")]
    Codec(#[from] CodecError),
    /// No stage, or more than sixteen.
    #[error("a pipeline has 1 to {MAX_STAGES} stages, this plan has {got}")]
    Stages {
        /// How many.
        got: usize,
    },
    /// A gap, an overlap, or layers left over.
    #[error("stage {stage} must begin at layer {expected}, where the one before ends, and begins at {got}")]
    Gap {
        /// The stage.
        stage: usize,
        /// Where it must begin.
        expected: u16,
        /// Where it begins.
        got: u16,
    },
    /// The last stage doesn't end where the model does.
    #[error("the stages end at layer {got}, the model at {expected}")]
    End {
        /// Layers of the model.
        expected: u64,
        /// Where the stages end.
        got: u16,
    },
    /// A range of no layers, or of more than there can be.
    #[error("stage {stage}: a range has at least one layer, and ends at {MAX_LAYERS} at most")]
    Range {
        /// The stage.
        stage: usize,
    },
    /// No policy, more than sixteen, an empty one or too long a one.
    #[error("a plan has 1 to {MAX_STAGES} policies of 1 to {MAX_POLICY_BYTES} bytes each")]
    Policies,
    /// A stage names a policy that the plan doesn't have.
    #[error("stage {stage} names policy {policy}, the plan has {count}")]
    NoSuchPolicy {
        /// The stage.
        stage: usize,
        /// The policy it names.
        policy: u64,
        /// How many there are.
        count: usize,
    },
    /// A policy that no stage is held to, which would mislead who reads the plan.
    #[error("no stage is held to policy {policy}: leave it out, or name it in a stage")]
    UnusedPolicy {
        /// The policy.
        policy: usize,
    },
    /// Who is admitted makes no sense.
    #[error("who is admitted: {0}")]
    Rules(#[from] PeerRulesError),
    /// More issuers, chips or CSP_IDs than a plan may name, or not ascending.
    #[error("who is admitted: {0}")]
    RulesForm(&'static str),
}

/// A plan, known to be good; whose it is, is the signature's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan(PlanContents);

impl Plan {
    /// Takes contents that make sense.
    ///
    /// # Errors
    /// [`PlanError`] names the first thing that doesn't.
    pub fn new(contents: PlanContents) -> Result<Self, PlanError> {
        let PlanContents { stages, policies, .. } = &contents;
        if !(1..=MAX_STAGES).contains(&stages.len()) {
            return Err(PlanError::Stages { got: stages.len() });
        }
        let mut expected = 0;
        for (stage, plan) in stages.iter().enumerate() {
            if plan.layers.first() != expected {
                return Err(PlanError::Gap {
                    stage,
                    expected,
                    got: plan.layers.first(),
                });
            }
            expected = plan.layers.end();
        }
        let fits = |policy: &Vec<u8>| (1..=MAX_POLICY_BYTES).contains(&policy.len());
        if !(1..=MAX_STAGES).contains(&policies.len()) || !policies.iter().all(fits) {
            return Err(PlanError::Policies);
        }
        let mut used = BTreeSet::new();
        for (stage, plan) in stages.iter().enumerate() {
            if usize::from(plan.policy) >= policies.len() {
                return Err(PlanError::NoSuchPolicy {
                    stage,
                    policy: plan.policy.into(),
                    count: policies.len(),
                });
            }
            used.insert(usize::from(plan.policy));
        }
        match (0..policies.len()).find(|policy| !used.contains(policy)) {
            Some(policy) => Err(PlanError::UnusedPolicy { policy }),
            None => Ok(Self(contents)),
        }
    }

    /// The pipeline's name.
    #[must_use]
    pub const fn pipeline(&self) -> PipelineId {
        self.0.pipeline
    }

    /// Manifest of the model, which every stage's statement names.
    #[must_use]
    pub const fn model(&self) -> ManifestDigest {
        self.0.model
    }

    /// Manifest of the draft model alone.
    #[must_use]
    pub const fn draft(&self) -> Option<ManifestDigest> {
        self.0.draft
    }

    /// Layers of the model.
    #[must_use]
    pub fn layers(&self) -> u16 {
        self.0.stages.last().map_or(0, |stage| stage.layers.end())
    }

    /// The stages, from the head's on: 1 to [`MAX_STAGES`].
    #[must_use]
    pub fn stages(&self) -> &[StagePlan] {
        &self.0.stages
    }

    /// One stage, if the plan has it.
    #[must_use]
    pub fn stage(&self, stage: u16) -> Option<&StagePlan> {
        self.0.stages.get(usize::from(stage))
    }

    /// The policies, each the exact bytes of a file.
    #[must_use]
    pub fn policies(&self) -> &[Vec<u8>] {
        &self.0.policies
    }

    /// The policy that one stage's evidence must meet.
    #[must_use]
    pub fn policy_of(&self, stage: u16) -> Option<&[u8]> {
        let policy = usize::from(self.stage(stage)?.policy);
        self.0.policies.get(policy).map(Vec::as_slice)
    }

    /// Who is admitted to the pipeline.
    #[must_use]
    pub const fn rules(&self) -> &PlanRules {
        &self.0.rules
    }

    /// Where in the pipeline a stage stands, as on its links.
    #[must_use]
    pub fn context(&self, stage: u16) -> Option<LinkContext> {
        self.stage(stage).map(|_| LinkContext {
            pipeline: self.0.pipeline,
            stage,
            model: self.0.model,
        })
    }

    /// The payload that the owner signs.
    #[must_use]
    pub fn encode_payload(&self, owner: &[u8; 32]) -> Vec<u8> {
        let PlanContents {
            pipeline,
            model,
            draft,
            stages,
            policies,
            rules,
        } = &self.0;
        let stages = (0..).zip(stages).fold(MapBuilder::new(), |map, (number, stage)| {
            map.map(number, encode_stage(stage))
        });
        let policies = (0..)
            .zip(policies)
            .fold(MapBuilder::new(), |map, (number, policy)| {
                map.bytes(number, policy)
            });
        MapBuilder::new()
            .uint(key::VERSION, VERSION)
            .bytes(key::PIPELINE, pipeline.as_bytes())
            .bytes(key::MODEL, model.as_bytes())
            .bytes_or_null(
                key::DRAFT,
                draft.as_ref().map(|draft| draft.as_bytes().as_slice()),
            )
            .uint(key::LAYERS, self.layers().into())
            .text(key::ARITHMETIC, ARITHMETIC)
            .map(key::STAGES, stages)
            .map(key::POLICIES, policies)
            .map(key::RULES, rules.encode())
            .bytes(key::OWNER, owner)
            .encode()
    }

    /// Reads a payload strictly: the plan, and its owner's key.
    pub(super) fn decode_payload(bytes: &[u8]) -> Result<(Self, [u8; 32]), PlanError> {
        let mut fields = Fields::decode(bytes, MAX_PLAN_BYTES)?;
        if fields.uint(key::VERSION)? != VERSION {
            return Err(value(key::VERSION, "version 1").into());
        }
        let pipeline = PipelineId::new(fields.array(key::PIPELINE)?);
        let model = ManifestDigest::new(fields.array(key::MODEL)?);
        let draft = fields.array_or_null(key::DRAFT)?.map(ManifestDigest::new);
        let layers = fields.uint(key::LAYERS)?;
        if fields.text(key::ARITHMETIC)? != ARITHMETIC {
            return Err(value(key::ARITHMETIC, "`f32`").into());
        }
        let mut stages = Vec::new();
        let mut map = fields.map(key::STAGES)?;
        for number in map.numbered(MAX_STAGES) {
            stages.push(decode_stage(map.map(number)?, stages.len())?);
        }
        map.finish()?;
        let mut policies = Vec::new();
        let mut map = fields.map(key::POLICIES)?;
        for number in map.numbered(MAX_STAGES) {
            policies.push(map.bytes(number)?);
        }
        map.finish()?;
        let rules = PlanRules::decode(fields.map(key::RULES)?)?;
        let owner = fields.array(key::OWNER)?;
        fields.finish()?;
        let plan = Self::new(PlanContents {
            pipeline,
            model,
            draft,
            stages,
            policies,
            rules,
        })?;
        if layers != u64::from(plan.layers()) {
            return Err(PlanError::End {
                expected: layers,
                got: plan.layers(),
            });
        }
        Ok((plan, owner))
    }
}

fn encode_stage(stage: &StagePlan) -> MapBuilder {
    MapBuilder::new()
        .uint(1, stage.layers.first().into())
        .uint(2, stage.layers.end().into())
        .bytes(3, &stage.weights)
        .uint(4, stage.policy.into())
}

fn decode_stage(mut fields: Fields<'_>, stage: usize) -> Result<StagePlan, PlanError> {
    let (first, end) = (fields.uint(1)?, fields.uint(2)?);
    let layers = LayerRange::of(first, end).ok_or(PlanError::Range { stage })?;
    let weights = fields.array(3)?;
    let policy = fields.uint(4)?;
    fields.finish()?;
    Ok(StagePlan {
        layers,
        weights,
        policy: u8::try_from(policy).map_err(|_| PlanError::NoSuchPolicy {
            stage,
            policy,
            count: MAX_STAGES,
        })?,
    })
}

fn value(key: i64, expected: &'static str) -> CodecError {
    CodecError::Value {
        key: key.into(),
        expected,
    }
}

#[cfg(test)]
pub(crate) mod tests;
