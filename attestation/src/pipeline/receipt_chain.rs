//! Whether the links of a pipeline's receipt hold: that every stage signed its
//! part by the key in its evidence, over its own layers and weights of this
//! plan, and that what one handed on is what the next one took.
//!
//! Whether the evidence is accepted was decided before; of a stage without
//! accepted evidence nothing is known, and the check says so by failing.

use crate::digest::StatementDigest;
use crate::receipt::Receipt;
use crate::result::{Basis, Check, Status};
use crate::statement::EpochStatement;

use super::claims::PipelineClaims;
use super::part::{PartClaims, SignedPart};
use super::plan::StagePlan;
use super::signed_plan::SignedPlan;

/// What accepted evidence of a stage says.
#[derive(Debug, Clone, Copy)]
pub struct AttestedStage<'a> {
    /// The statement that its hardware signed.
    pub statement: &'a EpochStatement,
    /// SHA-256 of the statement's bytes.
    pub digest: &'a StatementDigest,
}

/// Checks of a pipeline's receipt, beside those of any receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptChain {
    /// Of the whole.
    pub whole: Vec<Check>,
    /// Of each stage of the plan, from 0 on.
    pub stages: Vec<Vec<Check>>,
}

impl ReceiptChain {
    /// The first check that failed: of the whole, then stage by stage.
    #[must_use]
    pub fn failed(&self) -> Option<&Check> {
        let mut all = self.whole.iter().chain(self.stages.iter().flatten());
        all.find(|check| check.status == Status::Fail)
    }

    /// Holds a receipt against the plan and the evidence of each stage, from 0
    /// on. None if the receipt is of one node.
    #[must_use]
    pub fn of(receipt: &Receipt, plan: &SignedPlan, evidence: &[Option<AttestedStage<'_>>]) -> Option<Self> {
        let claims = receipt.claims().pipeline.as_ref()?;
        let parts: Vec<Option<SignedPart>> = claims
            .parts
            .iter()
            .map(|part| SignedPart::verify(part).ok())
            .collect();
        let part = |stage: usize| parts.get(stage).and_then(Option::as_ref);
        let stages = (0..)
            .zip(plan.plan().stages())
            .enumerate()
            .map(|(at, (number, stage))| {
                let Some(signed) = part(at) else {
                    return vec![signature(claims.parts.get(at), None)];
                };
                let before = at.checked_sub(1).map(&part);
                let mut checks = vec![signature(claims.parts.get(at), Some(signed))];
                checks.extend(of_stage(signed, plan, number, stage));
                checks.extend(joins(signed, before));
                if at == 0 {
                    checks.push(equal("receipt.head_key", receipt.key(), signed.key()));
                }
                checks.extend(of_evidence(signed, plan, evidence.get(at).copied().flatten()));
                checks
            })
            .collect();
        Some(Self {
            whole: of_whole(receipt, claims, plan, &parts),
            stages,
        })
    }
}

fn of_whole(
    receipt: &Receipt,
    claims: &PipelineClaims,
    plan: &SignedPlan,
    parts: &[Option<SignedPart>],
) -> Vec<Check> {
    let stages = plan.plan().stages().len();
    let mut checks = vec![
        equal("receipt.plan", plan.digest(), claims.plan),
        equal("receipt.plan_model", plan.plan().model(), receipt.claims().model),
        equal("receipt.stages", stages, claims.parts.len()),
    ];
    let word = |draft: Option<crate::ManifestDigest>| {
        draft.map_or_else(|| "none".to_owned(), |draft| draft.to_string())
    };
    let speculation = claims.speculation;
    checks.push(Check::derived(
        "receipt.draft",
        // A head may do without the draft, and may have no other.
        match claims.draft {
            Some(draft) => plan.plan().draft() == Some(draft),
            None => speculation.drafted == 0,
        },
        word(plan.plan().draft()),
        format!("{}, {} drafted", word(claims.draft), speculation.drafted),
    ));
    checks.push(Check::derived(
        "receipt.speculation",
        speculation.is_possible(),
        "accepted of drafted, and no more drafted than rounds of K",
        format!(
            "{} of {} accepted in {} rounds of at most {}",
            speculation.accepted, speculation.drafted, speculation.rounds, speculation.largest
        ),
    ));
    let rows: Vec<Option<u32>> = parts
        .iter()
        .map(|part| Some(part.as_ref()?.claims().rows))
        .collect();
    let head = rows.first().copied().flatten();
    checks.push(Check::derived(
        "receipt.rows",
        head.is_some() && rows.iter().all(|rows| *rows == head),
        "one number of rows in every stage",
        rows.iter()
            .map(|rows| rows.map_or_else(|| "?".to_owned(), |rows| rows.to_string()))
            .collect::<Vec<_>>()
            .join(", "),
    ));
    let tail = parts.last().and_then(Option::as_ref);
    checks.push(Check::derived(
        "receipt.emitted",
        tail.is_some_and(|tail| tail.claims().output == claims.emitted),
        tail.map_or_else(
            || "no part of the tail".to_owned(),
            |tail| hex::encode(tail.claims().output),
        ),
        hex::encode(claims.emitted),
    ));
    let ordered = claims.replans.is_sorted_by_key(|replan| replan.position);
    let known = claims
        .replans
        .iter()
        .all(|replan| usize::from(replan.stage) < stages);
    checks.push(Check::derived(
        "receipt.replans",
        ordered && known,
        "positions that don't fall, and stages of the plan",
        claims
            .replans
            .iter()
            .map(|replan| format!("stage {} at {}", replan.stage, replan.position))
            .reduce(|one, next| format!("{one}, {next}"))
            .unwrap_or_else(|| "none".to_owned()),
    ));
    checks
}

/// The part's own signature.
fn signature(part: Option<&Vec<u8>>, signed: Option<&SignedPart>) -> Check {
    let got = match (part, signed) {
        (None, _) => "no part of this stage".to_owned(),
        (Some(_), Some(signed)) => signed.key().to_string(),
        (Some(part), None) => SignedPart::verify(part)
            .err()
            .map_or_else(String::new, |error| error.to_string()),
    };
    Check::derived(
        "receipt.part",
        signed.is_some(),
        "a part with an Ed25519 signature by the key it names",
        got,
    )
}

fn of_stage(signed: &SignedPart, plan: &SignedPlan, number: u16, stage: &StagePlan) -> [Check; 4] {
    let claims: &PartClaims = signed.claims();
    [
        equal("receipt.part_plan", plan.digest(), claims.plan),
        equal("receipt.part_stage", number, claims.stage),
        equal("receipt.part_layers", stage.layers, claims.layers),
        equal(
            "receipt.part_weights",
            hex::encode(stage.weights),
            hex::encode(claims.weights),
        ),
    ]
}

/// What came is what the stage before handed on.
fn joins(signed: &SignedPart, before: Option<Option<&SignedPart>>) -> Option<Check> {
    let before = before?;
    Some(Check::derived(
        "receipt.joins",
        before.is_some_and(|before| before.claims().output == signed.claims().input),
        before.map_or_else(
            || "no part of the stage before".to_owned(),
            |before| hex::encode(before.claims().output),
        ),
        hex::encode(signed.claims().input),
    ))
}

fn of_evidence(signed: &SignedPart, plan: &SignedPlan, attested: Option<AttestedStage<'_>>) -> Vec<Check> {
    let Some(AttestedStage { statement, digest }) = attested else {
        return vec![Check::derived(
            "receipt.stage_evidence",
            false,
            "accepted evidence of this stage",
            "none",
        )];
    };
    let claimed = signed.claims().statement;
    vec![
        equal("receipt.part_key", statement.receipt_key, signed.key()),
        equal("receipt.stage_model", plan.plan().model(), statement.model),
        Check {
            id: "receipt.part_statement",
            // The key is of one boot, and evidence of any of its epochs names it.
            status: if claimed == *digest {
                Status::Pass
            } else {
                Status::Skip
            },
            expected: digest.to_string().into(),
            got: if claimed == *digest {
                claimed.to_string().into()
            } else {
                format!("{claimed}: another epoch, of the boot that the key is of").into()
            },
            basis: Basis::Derived,
        },
    ]
}

fn equal(id: &'static str, expected: impl ToString, got: impl ToString) -> Check {
    let (expected, got) = (expected.to_string(), got.to_string());
    Check::derived(id, expected == got, expected, got)
}

#[cfg(test)]
mod tests;
