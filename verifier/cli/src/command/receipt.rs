//! `bastide receipt`: whether the receipts of answers hold, offline, for whoever
//! has them and the evidence that was kept with them, in files or in the ledger.

use std::path::PathBuf;

use bastide_attestation::pipeline::{PipelineClaims, SignedPlan};
use bastide_attestation::{
    Check, Decision, Evidence, Salt, StatementDigest, Status, UnixTime, Untrusted, Verdict, binding,
};
use bastide_verifier::Verifier;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::console::Console;
use crate::escape::brief;
use crate::fault::{Fault, with_causes};
use crate::ledger::LedgerFile;
use crate::policy_source::{self, PolicyArgs};
use crate::receipt_check::{self, Bodies};
use crate::receipt_source::{self, Found, Source};
use crate::recorded::MAX_ENVELOPE_FILE_BYTES;
use crate::tree::Tree;
use crate::verdict_view::{self, Subject};
use crate::{clock, exit, file, gate, pipeline};

const SCHEMA: &str = "bastide.receipt-verdict/v1";
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// Verify receipts, or show them
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  bastide receipt verify receipt.cose --evidence evidence.cmw --policy ours.toml"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Verify(Box<VerifyArguments>),
    Show(ShowArguments),
}

/// Judge receipts and the evidence behind them, offline
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  bastide receipt verify receipt.cose --evidence evidence.cmw --policy ours.toml
  bastide receipt verify receipt.cose --evidence evidence.cmw --policy ours.toml --output json \\
      --salt \"$(cat salt.hex)\" --request request.body --response response.body
  bastide receipt verify ledger:last --policy ours.toml
  bastide receipt verify ledger:17 ledger:18 ledger:9f86d081884c7d65 --policy ours.toml
  bastide receipt verify receipt.cose --plan plan.cose --owner owner.key.pub --policy ours.toml \\
      --evidence head.cmw --evidence stage-1.cmw --evidence stage-2.cmw

Without salt and bodies it is not checked what was asked and answered, and the output says so.
A receipt of a pipeline needs the plan and evidence of every stage: all of it is judged as one.
Several receipts are held against each other in the order given: their numbers must rise, and
each must have the digest of the one before, if no number is between them.

{}", exit::HELP))]
struct VerifyArguments {
    /// Receipts: files as kept by `--save`, or `ledger:N`, `ledger:DIGEST`, `ledger:seq=N`, `ledger:last`
    #[arg(value_name = "RECEIPT", required = true)]
    receipts: Vec<Source>,
    /// The evidence envelope kept with a receipt; may be repeated, for a pipeline's stages, too. Receipts out of the ledger have theirs there
    #[arg(long, value_name = "FILE")]
    evidence: Vec<PathBuf>,
    /// The signed plan of the pipeline that answered; may be repeated. The ledger keeps plans
    #[arg(long, value_name = "FILE")]
    plan: Vec<PathBuf>,
    /// Accept plans of this owner alone: hex, or a file of keys; may be repeated
    #[arg(long, value_name = "KEY|FILE")]
    owner: Vec<String>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Judge as of this time (RFC 3339) instead of now
    #[arg(long, value_name = "TIME", value_parser = clock::parse)]
    at: Option<UnixTime>,
    /// Salt of the commitments, 32 bytes in hex; not needed if the ledger kept it
    #[arg(long, value_name = "HEX", requires_all = ["request", "response"])]
    salt: Option<Salt>,
    /// Request body, byte for byte
    #[arg(long, value_name = "FILE", requires = "response")]
    request: Option<PathBuf>,
    /// Response body, byte for byte; for streams up to and including `data: [DONE]`
    #[arg(long, value_name = "FILE", requires = "request")]
    response: Option<PathBuf>,
    #[command(flatten)]
    ledger: LedgerFile,
}

/// Show what receipts say; only their own signatures are checked
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bastide receipt show receipt.cose\n  bastide receipt show ledger:last")]
struct ShowArguments {
    /// Receipts: files, or `ledger:N`, `ledger:DIGEST`, `ledger:seq=N`, `ledger:last`
    #[arg(value_name = "RECEIPT", required = true)]
    receipts: Vec<Source>,
    #[command(flatten)]
    ledger: LedgerFile,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if a file can't be read or isn't what it should be.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    match &arguments.action {
        Action::Verify(arguments) => verify(arguments, console),
        Action::Show(arguments) => show(arguments, console),
    }
}

fn show(arguments: &ShowArguments, console: &Console) -> Result<u8, Fault> {
    let found = receipt_source::read(&arguments.receipts, &arguments.ledger)?;
    for Found { receipt, .. } in &found {
        if console.json() {
            console.object(&json!({
                "schema": "bastide.receipt/v1",
                "verified": false,
                "receipt": receipt_check::object(receipt),
                "pipeline": receipt.claims().pipeline.as_ref().map(pipeline::receipt::claims_object),
            }))?;
            continue;
        }
        let mut leaves: Vec<Tree> = receipt_check::facts(receipt)
            .iter()
            .map(|(name, value)| Tree::leaf(format!("{name:<17}  {}", brief(value))))
            .collect();
        leaves.extend(receipt.claims().pipeline.as_ref().map(pipeline::receipt::shown));
        let title = format!(
            "receipt   {}   its signature is by the key it names; whose key that is, `receipt verify` tells",
            console.out().warn("UNVERIFIED")
        );
        console.data(&Tree::new(title, leaves).render())?;
    }
    Ok(exit::ACCEPTED)
}

fn verify(arguments: &VerifyArguments, console: &Console) -> Result<u8, Fault> {
    let policy = policy_source::load(&arguments.policy)?;
    let found = receipt_source::read(&arguments.receipts, &arguments.ledger)?;
    let files = Envelopes::read(&arguments.evidence)?;
    let plans = Plans::read(arguments)?;
    let body = |path: &Option<PathBuf>| match path {
        Some(path) => file::read(path, MAX_BODY_BYTES).map(Some),
        None => Ok(None),
    };
    let (request, response) = (body(&arguments.request)?, body(&arguments.response)?);
    if request.is_some() && found.len() > 1 {
        return Err(Fault::usage(
            "usage",
            "--request and --response are of one receipt, and several are given",
        ));
    }
    let verifier = Verifier::new(policy);
    let at = arguments.at.unwrap_or_else(clock::now);
    let mut worst = exit::ACCEPTED;
    let mut before = None;
    for one in &found {
        let salt = arguments.salt.or(one.salt);
        let bodies = match (&salt, &request, &response) {
            (Some(salt), Some(request), Some(response)) => Some(Bodies {
                salt,
                request,
                response,
            }),
            (None, Some(_), _) => {
                return Err(Fault::usage(
                    "usage",
                    "--request and --response need --salt HEX: the ledger kept no salt of this receipt",
                ));
            }
            _ => None,
        };
        let evidence = files.of(one)?;
        let (verdict, mut checks) = judge(&verifier, &evidence, one, bodies.as_ref(), at, arguments);
        if verdict.decision == Decision::Accepted {
            checks.extend(receipt_check::link(&one.receipt, before));
        }
        before = Some(&one.receipt);
        let judged = match &one.receipt.claims().pipeline {
            Some(claims) => {
                let plan = plans.of(one, claims)?;
                let mut kept = files.bytes.clone();
                kept.extend(one.stages.iter().cloned());
                let envelopes = pipeline::receipt::envelopes_of(claims, &kept);
                let permitted = arguments.policy.allow_simulated;
                let judged =
                    pipeline::receipt::judge(&one.receipt, &plan, &envelopes, &verifier, at, permitted);
                if let Some(judged) = &judged {
                    checks.push(plans.owner_check(&plan));
                    checks.extend(judged.all().filter(|check| check.status == Status::Fail).cloned());
                }
                judged.map(|judged| (plan, judged))
            }
            None => None,
        };
        let outcome = Outcome::of(&verdict, &checks);
        if console.json() {
            console.object(&json!({
                "schema": SCHEMA,
                "name": one.name,
                "verdict": outcome.decision,
                "code": outcome.code,
                "checks": checks,
                "receipt": receipt_check::object(&one.receipt),
                "evidence": verdict,
                "pipeline": judged.as_ref().map(|(plan, judged)| judged.object(plan)),
            }))?;
        } else {
            let mut text = human(verdict, checks, &outcome, one, console);
            if let Some((_, judged)) = &judged {
                text.push_str(&judged.tree(console.verbose(), console.out()).render());
            }
            console.data(&text)?;
        }
        if worst == exit::ACCEPTED {
            worst = outcome.decision.exit_code();
        }
    }
    Ok(worst)
}

fn judge(
    verifier: &Verifier,
    evidence: &Untrusted<Evidence>,
    one: &Found,
    bodies: Option<&Bodies<'_>>,
    at: UnixTime,
    arguments: &VerifyArguments,
) -> (Verdict, Vec<Check>) {
    let appraised = verifier.appraise_receipt_evidence(evidence, at).and_then(|kept| {
        let _ = gate::permit(kept.verdict().clone(), arguments.policy.allow_simulated)?;
        Ok(kept)
    });
    match appraised {
        Ok(kept) => {
            let checks = receipt_check::checks(&one.receipt, (&kept).into(), None, bodies);
            (kept.into_verdict(), checks)
        }
        // Nothing is attested: there is nothing to hold the receipt against.
        Err(verdict) => (*verdict, Vec::new()),
    }
}

/// Plans that were named, and whose they must be.
struct Plans {
    named: Vec<SignedPlan>,
    owners: Vec<[u8; 32]>,
}

impl Plans {
    fn read(arguments: &VerifyArguments) -> Result<Self, Fault> {
        Ok(Self {
            named: arguments
                .plan
                .iter()
                .map(|path| super::pipeline::read(path))
                .collect::<Result<_, _>>()?,
            owners: pipeline::owners(&arguments.owner)?,
        })
    }

    /// The plan that a receipt names, or else the only one that was named, so
    /// that the refusal says what doesn't fit.
    fn of(&self, one: &Found, claims: &PipelineClaims) -> Result<SignedPlan, Fault> {
        if let Some(plan) = self.named.iter().find(|plan| plan.digest() == claims.plan) {
            return Ok(plan.clone());
        }
        if let Some(kept) = &one.plan {
            return SignedPlan::verify(kept).map_err(|error| super::pipeline::unreadable(&error));
        }
        match self.named.as_slice() {
            [only] => Ok(only.clone()),
            _ => Err(Fault::usage(
                "receipt.no_plan",
                format!("there is no plan for `{}`, of digest {}", one.name, claims.plan),
            )
            .with_remedy("name the pipeline's signed plan: --plan FILE")),
        }
    }

    fn owner_check(&self, plan: &SignedPlan) -> Check {
        let owner = bastide_attestation::ed25519_thumbprint(plan.owner()).to_string();
        let expected = "a plan that one of the owners named signed";
        let check = Check::derived(
            "receipt.plan_owner",
            plan.owned_by(&self.owners).is_ok(),
            expected,
            owner,
        );
        if self.owners.is_empty() {
            // The plan's own signature verified; whose it should be was not said.
            return Check {
                status: Status::Skip,
                ..check
            };
        }
        check
    }
}

/// Envelopes that were named, by the statements in them.
struct Envelopes {
    read: Vec<(StatementDigest, Untrusted<Evidence>)>,
    bytes: Vec<Vec<u8>>,
}

impl Envelopes {
    fn read(paths: &[PathBuf]) -> Result<Self, Fault> {
        let (mut read, mut all) = (Vec::new(), Vec::new());
        for path in paths {
            let bytes = file::read(path, MAX_ENVELOPE_FILE_BYTES)?;
            read.push(decode(&bytes)?);
            all.push(bytes);
        }
        Ok(Self { read, bytes: all })
    }

    /// The evidence for a receipt: of its statement, or else the only one that
    /// was named, so that the refusal says what doesn't fit.
    fn of(&self, one: &Found) -> Result<Untrusted<Evidence>, Fault> {
        let wanted = one.receipt.claims().statement;
        let named = self.read.iter().find(|(digest, _)| *digest == wanted);
        if let Some((_, evidence)) = named {
            return Ok(evidence.clone());
        }
        if let Some(kept) = &one.evidence {
            return decode(kept).map(|(_, evidence)| evidence);
        }
        match self.read.as_slice() {
            [(_, only)] => Ok(only.clone()),
            _ => Err(Fault::usage(
                "receipt.no_evidence",
                format!("there is no evidence for `{}`, of statement {wanted}", one.name),
            )
            .with_remedy("name the envelope that was kept with it: --evidence FILE")),
        }
    }
}

fn decode(envelope: &[u8]) -> Result<(StatementDigest, Untrusted<Evidence>), Fault> {
    let evidence = Evidence::decode(envelope)
        .map_err(|error| Fault::malformed("evidence.malformed", with_causes(&error)))?;
    let digest = binding::statement_digest(&evidence.as_unverified().statement);
    Ok((digest, evidence))
}

/// What receipt and evidence come to together.
struct Outcome {
    decision: Decision,
    code: Option<&'static str>,
}

impl Outcome {
    fn of(verdict: &Verdict, checks: &[Check]) -> Self {
        let failed = checks.iter().find(|check| check.status == Status::Fail);
        match (verdict.decision, failed) {
            (Decision::Accepted, None) => Self {
                decision: Decision::Accepted,
                code: None,
            },
            (Decision::Accepted, Some(check)) => Self {
                decision: Decision::Rejected,
                code: Some(check.id),
            },
            (decision, _) => Self {
                decision,
                code: verdict.code,
            },
        }
    }
}

fn human(
    mut verdict: Verdict,
    checks: Vec<Check>,
    outcome: &Outcome,
    one: &Found,
    console: &Console,
) -> String {
    if outcome.decision != verdict.decision {
        verdict.reason = None;
    }
    verdict.decision = outcome.decision;
    verdict.code = outcome.code;
    verdict.checks.extend(checks);
    let subject = Subject {
        name: &one.name,
        accepted: "VERIFIED",
        consequence: "this receipt proves nothing",
        elapsed: None,
        verbose: console.verbose(),
    };
    let mut text = verdict_view::render(&verdict, &subject, console.out());
    if outcome.decision != Decision::Accepted {
        return text;
    }
    let claims = one.receipt.claims();
    let [prompt, completion] = claims.usage;
    text.push_str(&format!(
        "Receipt {} of its boot, {}: {prompt} prompt and {completion} completion tokens, finish {}, model {}\n",
        claims.sequence,
        UnixTime::from_secs(claims.issued_at),
        claims.finish.as_str(),
        brief(&claims.model.to_string())
    ));
    text
}
