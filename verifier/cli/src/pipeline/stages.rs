//! Every stage behind a head: each is appraised by our own policy, for a nonce of
//! our own. The head carries the envelopes; that the stages are genuine doesn't
//! rest on its word.

use std::collections::BTreeSet;

use bastide_attestation::binding::{LeafType, stage_binder};
use bastide_attestation::pipeline::{LayerRange, PipelineAnswer, SignedPlan};
use bastide_attestation::{
    Appraiser, AttestationResult, Check, Decision, EpochStatement, Evidence, Nonce, PolicyDigest,
    SessionExpectation, StatementDigest, Status, UnixTime, Verdict,
};
use bastide_verifier::{Policy, Verifier};
use serde_json::{Value, json};

use crate::fault::{Fault, with_causes};
use crate::gate;
use crate::paint::Paint;
use crate::pipeline::view;
use crate::tree::Tree;
use crate::verdict_view;

/// What the person wants to be true of a pipeline besides its evidence.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Owners whose plans count, whatever policies these hold stages to.
    pub(crate) owners: Vec<[u8; 32]>,
    /// Exactly this plan.
    pub(crate) plan: Option<SignedPlan>,
    /// Hold each stage also to the policy that the plan has for it.
    pub(crate) plan_policies: bool,
    /// Our own policy: without an owner or a plan that is named, a plan must
    /// hold every stage to it.
    pub(crate) policy: Option<PolicyDigest>,
    /// Whether simulated hardware may pass.
    pub(crate) allow_simulated: bool,
}

/// One stage, judged.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    /// Its layers.
    pub(crate) layers: LayerRange,
    /// What its evidence came to; none if none came.
    pub(crate) verdict: Option<Verdict>,
    /// What is asked of it as a stage, beside its evidence.
    pub(crate) checks: Vec<Check>,
    /// The envelope as it came.
    pub(crate) evidence: Option<Vec<u8>>,
    /// What its accepted evidence established.
    pub(crate) attested: Option<(EpochStatement, StatementDigest)>,
}

/// A head's whole pipeline, judged.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    /// The plan that the head says it follows; its signature verified.
    pub(crate) plan: SignedPlan,
    /// Checks of the whole.
    pub(crate) checks: Vec<Check>,
    /// The stages of the plan, from 0 on.
    pub(crate) stages: Vec<Stage>,
}

/// Judges a head's answer. `head` is what the head's own session established.
///
/// # Errors
/// [`Fault`] if the plan isn't one. Whatever else is wrong is a check that failed.
pub(crate) fn judge(
    answer: &PipelineAnswer,
    nonce: &Nonce,
    head: &AttestationResult,
    appraiser: &dyn Appraiser,
    wanted: &Wanted,
    now: UnixTime,
) -> Result<Chain, Fault> {
    let signed =
        SignedPlan::verify(&answer.plan).map_err(|error| crate::command::pipeline::unreadable(&error))?;
    let mut stages = Vec::new();
    for (at, (number, plan)) in (0..).zip(signed.plan().stages()).enumerate() {
        let envelope = answer.stages.get(at).cloned().flatten();
        let mut stage = Stage {
            layers: plan.layers,
            verdict: None,
            checks: Vec::new(),
            evidence: envelope,
            attested: None,
        };
        stage.appraise(&signed, number, nonce, appraiser, wanted, now);
        stages.push(stage);
    }
    let checks = whole(&signed, answer, head, &stages, wanted);
    Ok(Chain {
        plan: signed,
        checks,
        stages,
    })
}

impl Stage {
    fn appraise(
        &mut self,
        signed: &SignedPlan,
        number: u16,
        nonce: &Nonce,
        appraiser: &dyn Appraiser,
        wanted: &Wanted,
        now: UnixTime,
    ) {
        let came = self.evidence.as_ref().map_or_else(
            || "none: it gave none, or the head kept it back".to_owned(),
            |envelope| format!("{} bytes", envelope.len()),
        );
        self.checks.push(Check::derived(
            "pipeline.stage_evidence",
            self.evidence.is_some(),
            "an evidence envelope for our nonce",
            came,
        ));
        let (Some(envelope), Some(context)) = (&self.evidence, signed.plan().context(number)) else {
            return;
        };
        let evidence = match Evidence::decode(envelope) {
            Ok(evidence) => evidence,
            Err(error) => {
                self.verdict = Some(gate::without_evidence(
                    Decision::Malformed,
                    "evidence.malformed",
                    with_causes(&error),
                    now,
                ));
                self.accepted(Some("evidence.malformed"));
                return;
            }
        };
        let expected = SessionExpectation {
            binder: stage_binder(nonce, &signed.digest(), &context.digest()),
            leaf: LeafType::Stage,
        };
        let result = match appraiser.appraise(&evidence, &expected, now) {
            Ok(result) => result,
            Err(verdict) => {
                self.accepted(verdict.code.or(Some("unaccepted")));
                self.verdict = Some(*verdict);
                return;
            }
        };
        self.accepted(None);
        self.checks.push(Check::derived(
            "pipeline.stage_model",
            result.statement.model == signed.plan().model(),
            signed.plan().model().to_string(),
            result.statement.model.to_string(),
        ));
        if wanted.plan_policies {
            let policy = signed.plan().policy_of(number).unwrap_or_default();
            self.checks
                .push(by_the_plan(policy, &evidence, &expected, wanted, now));
        }
        self.verdict = Some(result.verdict.into_verdict());
        self.attested = Some((result.statement, result.statement_digest));
    }

    fn accepted(&mut self, refused: Option<&'static str>) {
        self.checks.push(Check::derived(
            "pipeline.stage_refused",
            refused.is_none(),
            "evidence that your policy accepts",
            refused.unwrap_or("accepted"),
        ));
    }

    fn report_id(&self) -> Option<&str> {
        let facts = self.verdict.as_ref()?.snp.as_ref()?;
        let id = facts.get("report_id")?;
        // A guest that has no REPORT_ID is nobody in particular.
        id.bytes().any(|digit| digit != b'0').then_some(id)
    }
}

/// Whether a stage also meets the policy that the plan has for it.
fn by_the_plan(
    policy: &[u8],
    evidence: &bastide_attestation::Untrusted<Evidence>,
    expected: &SessionExpectation,
    wanted: &Wanted,
    now: UnixTime,
) -> Check {
    let id = "pipeline.stage_policy";
    let says = "evidence that the plan's policy for this stage accepts";
    let policy = match Policy::parse(policy) {
        Ok(policy) => policy,
        Err(error) => return Check::derived(id, false, says, with_causes(&error)),
    };
    let verdict = Appraiser::appraise(&Verifier::new(policy), evidence, expected, now)
        .and_then(|result| gate::permit(result.verdict.into_verdict(), wanted.allow_simulated));
    match verdict {
        Ok(verdict) => Check::derived(id, true, says, format!("accepted by {}", verdict.policy)),
        Err(verdict) => Check::derived(id, false, says, verdict.code.unwrap_or("unaccepted")),
    }
}

/// Whether only stages that our policy accepts can take part, now and later: the
/// head holds whoever comes in to the plan's policies, and asks nobody again.
fn policies(signed: &SignedPlan, wanted: &Wanted) -> Check {
    let id = "pipeline.plan_policy";
    let named = wanted.plan.is_some() || !wanted.owners.is_empty();
    if named {
        let by = "those of a plan that you accept by its owner, or by itself";
        return Check::derived(id, true, by, by);
    }
    let other = |bytes: &Vec<u8>| match Policy::parse(bytes) {
        Ok(policy) => {
            let ours = wanted.policy == Some(policy.digest());
            let simulated = policy.allows_simulated() && !wanted.allow_simulated;
            (!ours || simulated).then(|| format!("{}@{}", policy.name(), policy.digest()))
        }
        Err(error) => Some(with_causes(&error)),
    };
    let others: Vec<String> = signed.plan().policies().iter().filter_map(other).collect();
    Check::derived(
        id,
        others.is_empty(),
        "your own policy for every stage, or a plan that you accept by its owner (--owner) or itself (--plan)",
        if others.is_empty() {
            "your own policy".to_owned()
        } else {
            others.join(", ")
        },
    )
}

fn whole(
    signed: &SignedPlan,
    answer: &PipelineAnswer,
    head: &AttestationResult,
    stages: &[Stage],
    wanted: &Wanted,
) -> Vec<Check> {
    let plan = signed.plan();
    let owner = bastide_attestation::ed25519_thumbprint(signed.owner()).to_string();
    let mut checks = vec![match (&wanted.plan, wanted.owners.as_slice()) {
        (Some(expected), _) => Check::derived(
            "pipeline.plan_differs",
            expected.digest() == signed.digest(),
            expected.digest().to_string(),
            signed.digest().to_string(),
        ),
        (None, []) => Check {
            status: Status::Skip,
            ..Check::derived(
                "pipeline.owner",
                false,
                "the owner's signature",
                format!("{owner}: name the owner with --owner, or the plan with --plan"),
            )
        },
        (None, owners) => Check::derived(
            "pipeline.owner",
            signed.owned_by(owners).is_ok(),
            "a plan that one of the owners named signed",
            owner,
        ),
    }];
    checks.push(policies(signed, wanted));
    checks.push(Check::derived(
        "pipeline.model",
        plan.model() == head.statement.model,
        head.statement.model.to_string(),
        plan.model().to_string(),
    ));
    checks.push(Check::derived(
        "pipeline.stages",
        answer.stages.len() == plan.stages().len(),
        format!("{} stages, as in the plan", plan.stages().len()),
        answer.stages.len().to_string(),
    ));
    let ids: Vec<&str> = stages.iter().filter_map(Stage::report_id).collect();
    let distinct: BTreeSet<&str> = ids.iter().copied().collect();
    checks.push(Check::derived(
        "pipeline.distinct",
        distinct.len() == stages.len(),
        "a guest of its own for each stage, by REPORT_ID",
        format!("{} guest(s) for {} stage(s)", distinct.len(), stages.len()),
    ));
    let of_head = head.verdict.snp.as_ref().and_then(|facts| facts.get("report_id"));
    let of_first = stages.first().and_then(Stage::report_id);
    checks.push(Check::derived(
        "pipeline.head",
        of_first.is_some() && of_first == of_head.map(String::as_str),
        of_head
            .map_or("a REPORT_ID of the head", String::as_str)
            .to_owned(),
        of_first.unwrap_or("none of stage 0").to_owned(),
    ));
    checks
}

impl Chain {
    /// What is wrong, if something is: the first stage's failure, else the
    /// whole's, since a missing stage is also why the whole doesn't fit.
    pub(crate) fn failed(&self) -> Option<(Option<usize>, &Check)> {
        let failed = |checks: &'_ [Check]| checks.iter().position(|check| check.status == Status::Fail);
        let of_plan = self
            .checks
            .iter()
            .find(|check| check.status == Status::Fail && check.id.starts_with("pipeline.plan"));
        let of_owner = self
            .checks
            .iter()
            .find(|check| check.status == Status::Fail && check.id == "pipeline.owner");
        if let Some(check) = of_plan.or(of_owner) {
            return Some((None, check));
        }
        for (number, stage) in self.stages.iter().enumerate() {
            if let Some(check) = failed(&stage.checks).and_then(|at| stage.checks.get(at)) {
                return Some((Some(number), check));
            }
        }
        failed(&self.checks)
            .and_then(|at| self.checks.get(at))
            .map(|check| (None, check))
    }

    /// What is wrong, as a fault.
    pub(crate) fn refusal(&self) -> Option<Fault> {
        let (stage, failed) = self.failed()?;
        let of = stage.map_or_else(|| "the pipeline".to_owned(), |stage| format!("stage {stage}"));
        let message = format!("{of}: expected {}, got {}", failed.expected, failed.got);
        Some(Fault::rejected(failed.id, message))
    }

    /// Whether simulated hardware is among the stages.
    pub(crate) fn simulated(&self) -> bool {
        self.stages
            .iter()
            .any(|stage| stage.verdict.as_ref().is_some_and(|verdict| verdict.simulated))
    }

    /// The verdict on a head, as it is with its pipeline: refused where a link
    /// of the chain is.
    pub(crate) fn applied_to(&self, mut verdict: Verdict) -> Verdict {
        verdict.simulated |= self.simulated();
        if let (Decision::Accepted, Some((stage, failed))) = (verdict.decision, self.failed()) {
            verdict.decision = Decision::Rejected;
            verdict.code = Some(failed.id);
            verdict.reason = Some(match stage {
                Some(number) => format!("stage {number}: expected {}, got {}", failed.expected, failed.got),
                None => format!("expected {}, got {}", failed.expected, failed.got),
            });
        }
        verdict
    }

    /// For JSON.
    pub(crate) fn object(&self) -> Value {
        let failed = self.failed();
        let stages: Vec<Value> = self
            .stages
            .iter()
            .enumerate()
            .map(|(number, stage)| {
                json!({
                    "stage": number,
                    "layers": [stage.layers.first(), stage.layers.end()],
                    "checks": stage.checks,
                    "verdict": stage.verdict,
                })
            })
            .collect();
        json!({
            "verdict": if failed.is_none() { "accepted" } else { "rejected" },
            "code": failed.map(|(_, check)| check.id),
            "plan": view::object(&self.plan),
            "checks": self.checks,
            "stages": stages,
        })
    }

    /// For people: the chain, one subtree for each stage.
    pub(crate) fn tree(&self, verbose: bool, paint: Paint) -> Tree {
        let word = match (self.failed(), self.simulated()) {
            (Some(_), _) => paint.bad("REFUSED"),
            (None, true) => paint.warn("SIMULATED"),
            (None, false) => paint.good("VERIFIED"),
        };
        let title = format!(
            "pipeline {}   {word}   {} stages, plan {}",
            crate::escape::brief(&self.plan.plan().pipeline().to_string()),
            self.stages.len(),
            crate::escape::brief(&self.plan.digest().to_string()),
        );
        let mut under: Vec<Tree> = verdict_view::leaves(&self.checks, verbose, paint);
        under.extend(
            self.stages
                .iter()
                .enumerate()
                .map(|(number, stage)| stage.tree(number, verbose, paint)),
        );
        Tree::new(title, under)
    }
}

impl Stage {
    fn tree(&self, number: usize, verbose: bool, paint: Paint) -> Tree {
        let fails = self.checks.iter().any(|check| check.status == Status::Fail);
        let simulated = self.verdict.as_ref().is_some_and(|verdict| verdict.simulated);
        let word = match (fails, simulated) {
            (true, _) => paint.bad("REFUSED"),
            (false, true) => paint.warn("SIMULATED"),
            (false, false) => paint.good("VERIFIED"),
        };
        let mut title = format!("stage {number}   layers {}   {word}", self.layers);
        let mut under = verdict_view::leaves(&self.checks, verbose, paint);
        if let Some(verdict) = &self.verdict {
            title.push_str(&format!("   {}", verdict_view::tally(&verdict.checks)));
            let fact = |name| verdict.snp.as_ref().and_then(|facts| facts.get(name));
            for (name, label) in [("report_id", "REPORT_ID"), ("chip_id", "CHIP_ID")] {
                if let Some(value) = fact(name) {
                    under.push(Tree::leaf(format!("{label:<9}  {}", crate::escape::brief(value))));
                }
            }
            if verbose || fails {
                under.extend(verdict_view::branches(&verdict.checks, verbose, paint));
            }
        }
        Tree::new(title, under)
    }
}

#[cfg(test)]
mod tests;
