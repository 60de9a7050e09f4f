//! A receipt that every stage of a pipeline had a part in, as one object: the
//! plan, each stage's evidence, and whether the parts hold and join.

use std::collections::BTreeSet;

use bastide_attestation::pipeline::{
    AttestedStage, LayerRange, PipelineClaims, ReceiptChain, SignedPart, SignedPlan,
};
use bastide_attestation::{
    Check, Decision, EpochStatement, Evidence, Receipt, Status, UnixTime, Untrusted, Verdict,
};
use bastide_verifier::{RecordedAppraisal, Verifier};
use serde_json::{Value, json};

use super::stages::Chain;
use crate::escape::brief;
use crate::fault::with_causes;
use crate::gate;
use crate::paint::Paint;
use crate::receipt_check::ReceiptFault;
use crate::tree::Tree;
use crate::verdict_view;

/// A pipeline's receipt, judged.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    /// Checks of the whole, beside those of any receipt.
    pub(crate) checks: Vec<Check>,
    /// The stages of the plan, from 0 on.
    pub(crate) stages: Vec<JudgedStage>,
}

/// One stage's part in it.
#[derive(Debug, Clone)]
pub(crate) struct JudgedStage {
    layers: LayerRange,
    /// What its evidence came to; none if there is none.
    verdict: Option<Verdict>,
    /// The part's checks.
    pub(crate) checks: Vec<Check>,
}

/// Judges a receipt by its plan and the envelopes that were kept of its stages,
/// from 0 on. None if the receipt is of one node.
pub(crate) fn judge(
    receipt: &Receipt,
    plan: &SignedPlan,
    envelopes: &[Option<Vec<u8>>],
    verifier: &Verifier,
    at: UnixTime,
    allow_simulated: bool,
) -> Option<Judged> {
    let appraised: Vec<Option<Result<RecordedAppraisal, Box<Verdict>>>> = envelopes
        .iter()
        .map(|envelope| {
            let envelope = envelope.as_ref()?;
            Some(appraise(envelope, verifier, at, allow_simulated))
        })
        .collect();
    let attested: Vec<Option<AttestedStage<'_>>> = appraised
        .iter()
        .map(|kept| match kept {
            Some(Ok(kept)) => Some(AttestedStage {
                statement: kept.statement(),
                digest: kept.statement_digest(),
            }),
            _ => None,
        })
        .collect();
    let chain = ReceiptChain::of(receipt, plan, &attested)?;
    let mut verdicts = appraised.into_iter().map(|kept| match kept? {
        Ok(kept) => Some(kept.into_verdict()),
        Err(verdict) => Some(*verdict),
    });
    let stages: Vec<JudgedStage> = plan
        .plan()
        .stages()
        .iter()
        .zip(chain.stages)
        .map(|(stage, mut checks)| {
            let verdict = verdicts.next().flatten();
            if let Some(refused) = verdict.as_ref().and_then(|verdict| verdict.code) {
                for check in &mut checks {
                    if check.id == "receipt.stage_evidence" {
                        check.got = format!("evidence that is refused: {refused}").into();
                    }
                }
            }
            JudgedStage {
                layers: stage.layers,
                verdict,
                checks,
            }
        })
        .collect();
    let mut checks = chain.whole;
    let ids: BTreeSet<&str> = stages.iter().filter_map(JudgedStage::report_id).collect();
    checks.push(Check::derived(
        "receipt.distinct",
        ids.len() == stages.len(),
        "a guest of its own for each stage, by REPORT_ID",
        format!("{} guest(s) for {} stage(s)", ids.len(), stages.len()),
    ));
    Some(Judged { checks, stages })
}

fn appraise(
    envelope: &[u8],
    verifier: &Verifier,
    at: UnixTime,
    allow_simulated: bool,
) -> Result<RecordedAppraisal, Box<Verdict>> {
    let evidence: Untrusted<Evidence> = Evidence::decode(envelope).map_err(|error| {
        Box::new(gate::without_evidence(
            Decision::Malformed,
            "evidence.malformed",
            with_causes(&error),
            at,
        ))
    })?;
    let kept = verifier.appraise_receipt_evidence(&evidence, at)?;
    let _ = gate::permit(kept.verdict().clone(), allow_simulated)?;
    Ok(kept)
}

/// Requires that a receipt which just came holds against the stages that were
/// just judged.
///
/// # Errors
/// [`ReceiptFault::Check`] names the first check that failed.
pub(crate) fn require(receipt: &Receipt, chain: &Chain) -> Result<(), ReceiptFault> {
    let attested: Vec<Option<AttestedStage<'_>>> = chain
        .stages
        .iter()
        .map(|stage| {
            let (statement, digest) = stage.attested.as_ref()?;
            Some(AttestedStage { statement, digest })
        })
        .collect();
    let failed = ReceiptChain::of(receipt, &chain.plan, &attested);
    match failed.as_ref().and_then(ReceiptChain::failed) {
        None => Ok(()),
        Some(check) => Err(ReceiptFault::Check {
            code: check.id,
            expected: check.expected.clone(),
            got: check.got.clone(),
        }),
    }
}

/// The first thing that is wrong with a pipeline's receipt, by a plan that was
/// kept and evidence that was accepted: its code, and what it is. None if
/// nothing is, or the receipt is of one node.
pub(crate) fn wrong<'a>(
    receipt: &Receipt,
    plan: Option<&[u8]>,
    accepted: impl Fn(&SignedPart) -> Option<&'a RecordedAppraisal>,
) -> Option<(&'static str, String)> {
    let claims = receipt.claims().pipeline.as_ref()?;
    let Some(plan) = plan.and_then(|plan| SignedPlan::verify(plan).ok()) else {
        return Some(("receipt.no_plan", format!("the plan {} is not here", claims.plan)));
    };
    let attested: Vec<Option<AttestedStage<'_>>> = claims
        .parts
        .iter()
        .map(|part| {
            let kept = accepted(&SignedPart::verify(part).ok()?)?;
            Some(AttestedStage {
                statement: kept.statement(),
                digest: kept.statement_digest(),
            })
        })
        .collect();
    let chain = ReceiptChain::of(receipt, &plan, &attested)?;
    let failed = chain.failed()?;
    Some((
        failed.id,
        format!("expected {}, got {}", failed.expected, failed.got),
    ))
}

/// Of envelopes that were kept, those of each part's stage, from 0 on: of the
/// statement that the part names, else of another epoch of the same boot, which
/// names the same key.
pub(crate) fn envelopes_of(claims: &PipelineClaims, kept: &[Vec<u8>]) -> Vec<Option<Vec<u8>>> {
    let read: Vec<(&Vec<u8>, [u8; 32], EpochStatement)> = kept
        .iter()
        .filter_map(|envelope| {
            let evidence = Evidence::decode(envelope).ok()?;
            let bytes = &evidence.as_unverified().statement;
            let digest = *bastide_attestation::binding::statement_digest(bytes).as_bytes();
            Some((envelope, digest, EpochStatement::decode(bytes).ok()?))
        })
        .collect();
    claims
        .parts
        .iter()
        .map(|part| {
            let part = SignedPart::verify(part).ok()?;
            let exact = read
                .iter()
                .find(|(_, digest, _)| digest == part.claims().statement.as_bytes());
            let same_boot = || {
                read.iter()
                    .find(|(_, _, statement)| statement.receipt_key == *part.key())
            };
            exact
                .or_else(same_boot)
                .map(|(envelope, _, _)| (*envelope).clone())
        })
        .collect()
}

impl JudgedStage {
    fn report_id(&self) -> Option<&str> {
        let verdict = self.verdict.as_ref()?;
        let id = verdict.snp.as_ref()?.get("report_id")?;
        let somebody = id.bytes().any(|digit| digit != b'0');
        (somebody && verdict.decision == Decision::Accepted).then_some(id)
    }

    fn tree(&self, number: usize, verbose: bool, paint: Paint) -> Tree {
        let fails = self.checks.iter().any(|check| check.status == Status::Fail);
        let word = if fails {
            paint.bad("REFUSED")
        } else {
            paint.good("VERIFIED")
        };
        let mut under = verdict_view::leaves(&self.checks, verbose, paint);
        let mut title = format!("stage {number}   layers {}   {word}", self.layers);
        if let Some(verdict) = &self.verdict {
            title.push_str(&format!("   {}", verdict_view::tally(&verdict.checks)));
            if verbose || fails {
                under.extend(verdict_view::branches(&verdict.checks, verbose, paint));
            }
        }
        Tree::new(title, under)
    }
}

impl Judged {
    /// All checks: of the whole, then stage by stage.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Check> {
        self.checks
            .iter()
            .chain(self.stages.iter().flat_map(|stage| stage.checks.iter()))
    }

    /// For people, one subtree for each stage.
    pub(crate) fn tree(&self, verbose: bool, paint: Paint) -> Tree {
        let fails = self.all().any(|check| check.status == Status::Fail);
        let word = if fails {
            paint.bad("REFUSED")
        } else {
            paint.good("VERIFIED")
        };
        let mut under = verdict_view::leaves(&self.checks, verbose, paint);
        under.extend(
            self.stages
                .iter()
                .enumerate()
                .map(|(number, stage)| stage.tree(number, verbose, paint)),
        );
        Tree::new(format!("pipeline   {word}   {} stages", self.stages.len()), under)
    }

    /// For JSON.
    pub(crate) fn object(&self, plan: &SignedPlan) -> Value {
        let stages: Vec<Value> = self
            .stages
            .iter()
            .enumerate()
            .map(|(number, stage)| {
                json!({
                    "stage": number,
                    "layers": [stage.layers.first(), stage.layers.end()],
                    "checks": stage.checks,
                    "evidence": stage.verdict,
                })
            })
            .collect();
        json!({
            "plan": super::view::object(plan),
            "checks": self.checks,
            "stages": stages,
        })
    }
}

/// What a receipt says of its pipeline, for people; nothing of it is judged.
pub(crate) fn shown(claims: &PipelineClaims) -> Tree {
    let leaf = |name: &str, value: &str| Tree::leaf(format!("{name:<15}  {}", brief(value)));
    let speculation = claims.speculation;
    let mut under = vec![
        leaf("plan", &claims.plan.to_string()),
        leaf(
            "draft",
            &claims
                .draft
                .map_or_else(|| "none".to_owned(), |draft| draft.to_string()),
        ),
        leaf(
            "speculation",
            &format!(
                "{} of {} drafted tokens accepted in {} rounds, K at most {}",
                speculation.accepted, speculation.drafted, speculation.rounds, speculation.largest
            ),
        ),
        leaf("emitted", &hex::encode(claims.emitted)),
    ];
    for replan in &claims.replans {
        under.push(leaf(
            "re-planned",
            &format!(
                "stage {} at position {}, code {}",
                replan.stage, replan.position, replan.code
            ),
        ));
    }
    for (number, part) in claims.parts.iter().enumerate() {
        under.push(match SignedPart::verify(part) {
            Ok(part) => shown_part(number, &part),
            Err(error) => Tree::leaf(format!("stage {number}  {}", brief(&with_causes(&error)))),
        });
    }
    Tree::new("pipeline", under)
}

fn shown_part(number: usize, part: &SignedPart) -> Tree {
    let claims = part.claims();
    let leaf = |name: &str, value: &str| Tree::leaf(format!("{name:<9}  {}", brief(value)));
    Tree::new(
        format!("stage {number}   layers {}   {} rows", claims.layers, claims.rows),
        vec![
            leaf("key", &part.key().to_string()),
            leaf("statement", &claims.statement.to_string()),
            leaf("weights", &hex::encode(claims.weights)),
            leaf("in", &hex::encode(claims.input)),
            leaf("out", &hex::encode(claims.output)),
        ],
    )
}

/// What a receipt says of its pipeline, for JSON.
pub(crate) fn claims_object(claims: &PipelineClaims) -> Value {
    let parts: Vec<Value> = claims
        .parts
        .iter()
        .map(|bytes| match SignedPart::verify(bytes) {
            Ok(part) => {
                let claims = part.claims();
                json!({
                    "stage": claims.stage,
                    "layers": [claims.layers.first(), claims.layers.end()],
                    "key": part.key().to_string(),
                    "statement": claims.statement.to_string(),
                    "weights": hex::encode(claims.weights),
                    "in": hex::encode(claims.input),
                    "out": hex::encode(claims.output),
                    "rows": claims.rows,
                })
            }
            Err(error) => json!({"error": with_causes(&error)}),
        })
        .collect();
    let replans: Vec<Value> = claims
        .replans
        .iter()
        .map(|replan| json!({"position": replan.position, "stage": replan.stage, "code": replan.code}))
        .collect();
    json!({
        "plan": claims.plan.to_string(),
        "draft": claims.draft.map(|draft| draft.to_string()),
        "drafted": claims.speculation.drafted,
        "accepted": claims.speculation.accepted,
        "rounds": claims.speculation.rounds,
        "largest_k": claims.speculation.largest,
        "emitted": hex::encode(claims.emitted),
        "replans": replans,
        "parts": parts,
    })
}

#[cfg(test)]
mod tests;
