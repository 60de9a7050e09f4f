//! Pipelines of attested enclaves, as everybody who takes part or checks must
//! know them (`docs/spec/pipeline.md`): the plan that an owner signs, the part
//! of a receipt that each stage signs, what a receipt says of the whole, the
//! exchange that asks for every stage's evidence, and the latency model.
//! Formats and rules; no order of events, which is the machines', and no I/O.

mod claims;
mod cose;
mod evidence;
mod part;
mod plan;
mod plan_rules;
mod receipt_chain;
mod signed_plan;

pub mod latency;

pub use claims::{MAX_REPLANS, PipelineClaims, Replan, Speculation};
pub use evidence::{
    MAX_PIPELINE_ANSWER_BYTES, MAX_STAGE_ENVELOPE_BYTES, PIPELINE_PATH, PipelineAnswer, PipelineRequest,
};
pub use part::{MAX_PART_BYTES, PartClaims, PartError, SignedPart};
pub use plan::{
    LayerRange, MAX_LAYERS, MAX_PLAN_BYTES, MAX_POLICY_BYTES, MAX_STAGES, Plan, PlanContents, PlanError,
    StagePlan,
};
pub use plan_rules::{MAX_CHIPS, MAX_CSP_ID_BYTES, MAX_CSP_IDS, MAX_ISSUERS, PlanRules};
pub use receipt_chain::{AttestedStage, ReceiptChain};
pub use signed_plan::{SignedPlan, SignedPlanError};
