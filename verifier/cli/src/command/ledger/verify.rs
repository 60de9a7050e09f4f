//! `bastide ledger verify`: judges all that was kept once more, offline, as of
//! the times when it came, and holds every receipt against its evidence and
//! against the other receipts of its boot.

use std::collections::BTreeMap;

use bastide_attestation::pipeline::SignedPart;
use bastide_attestation::{Decision, Evidence, Receipt, Status, UnixTime};
use bastide_verifier::{RecordedAppraisal, Verifier};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::Opened;
use crate::console::Console;
use crate::escape::{brief, line};
use crate::fault::Fault;
use crate::ledger::LedgerFile;
use crate::ledger::record::{Entry, Kept, word};
use crate::policy_source::{self, PolicyArgs};
use crate::receipt_check;
use crate::receipt_source::verified;
use crate::{exit, gate, pipeline};

const SCHEMA: &str = "bastide.ledger-verification/v1";

/// Judge all evidence and receipts again, offline, as of when they came
#[derive(Debug, Args)]
#[command(after_help = format!("\
Evidence that was accepted then must be accepted now, as of the time it came, under the policy given
here. Every receipt must be signed by the key that its evidence attests, and the receipts of a boot
must form one chain, as far as they are here. Of a pipeline's receipt every stage's part must hold, too.

Example:
  bastide ledger verify --policy ours.toml

{}", exit::HELP))]
pub(super) struct Arguments {
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    ledger: LedgerFile,
}

/// Something that does not hold.
#[derive(Debug, Serialize)]
struct Problem {
    /// What it is of: `evidence` or `receipt`.
    kind: &'static str,
    /// Key of the evidence, or digest of the receipt.
    subject: String,
    code: String,
    text: String,
    #[serde(skip)]
    exit: u8,
}

#[derive(Debug, Default, Serialize)]
struct Tally {
    evidence: usize,
    accepted: usize,
    /// Refused when it came: it need not be accepted now.
    refused_then: usize,
    receipts: usize,
    /// Receipts that follow directly on another that is here.
    linked: usize,
    /// Places where receipts of others lie between two.
    gaps: usize,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let policy = policy_source::load(&arguments.policy)?;
    let name = policy.name().to_owned();
    let verifier = Verifier::new(policy);
    let opened = Opened::read(&arguments.ledger)?;
    let mut tally = Tally::default();
    let mut problems = Vec::new();
    let mut attested = BTreeMap::new();
    for key in opened.view.evidence_keys()? {
        evidence(
            &opened,
            &key,
            &verifier,
            arguments,
            &mut tally,
            &mut problems,
            &mut attested,
        )?;
    }
    receipts(&opened, &attested, &mut tally, &mut problems)?;
    let exit = problems.first().map_or(exit::ACCEPTED, |problem| problem.exit);
    if console.json() {
        console.object(&json!({
            "schema": SCHEMA,
            "ledger": opened.path.display().to_string(),
            "policy": name,
            "holds": problems.is_empty(),
            "counts": tally,
            "problems": problems,
        }))?;
        return Ok(exit);
    }
    let paint = console.out();
    let mut text = String::new();
    for problem in &problems {
        text.push_str(&format!(
            "{}  {} {}  {}  {}\n",
            paint.bad("✘ FAIL"),
            problem.kind,
            brief(&problem.subject),
            line(&problem.code),
            brief(&problem.text)
        ));
    }
    let word = if problems.is_empty() {
        paint.good("HOLDS")
    } else {
        paint.bad("DOES NOT HOLD")
    };
    text.push_str(&format!(
        "{word}   {} of {} pieces of evidence accepted under policy {}, {} refused then and now; {} receipts, {} linked, {} gaps\n",
        tally.accepted,
        tally.evidence,
        brief(&name),
        tally.refused_then,
        tally.receipts,
        tally.linked,
        tally.gaps
    ));
    console.data(&text)?;
    Ok(exit)
}

fn evidence(
    opened: &Opened,
    key: &str,
    verifier: &Verifier,
    arguments: &Arguments,
    tally: &mut Tally,
    problems: &mut Vec<Problem>,
    attested: &mut BTreeMap<String, RecordedAppraisal>,
) -> Result<(), Fault> {
    tally.evidence += 1;
    let mut problem = |code: &str, text: String, exit: u8| {
        problems.push(Problem {
            kind: "evidence",
            subject: key.to_owned(),
            code: code.to_owned(),
            text,
            exit,
        });
    };
    let Some(envelope) = opened.view.envelope(key)? else {
        problem(
            "ledger.corrupt",
            "the ledger names it and does not have it".to_owned(),
            exit::MALFORMED,
        );
        return Ok(());
    };
    let decoded = match Evidence::decode(&envelope.bytes) {
        Ok(decoded) => decoded,
        Err(_) if !envelope.accepted => {
            tally.refused_then += 1;
            return Ok(());
        }
        Err(error) => {
            problem("evidence.malformed", error.to_string(), exit::MALFORMED);
            return Ok(());
        }
    };
    let at = UnixTime::from_secs(envelope.first);
    let judged = verifier.appraise_receipt_evidence(&decoded, at).and_then(|kept| {
        let _ = gate::permit(kept.verdict().clone(), arguments.policy.allow_simulated)?;
        Ok(kept)
    });
    match judged {
        Ok(kept) => {
            tally.accepted += 1;
            attested.insert(kept.statement_digest().to_string(), kept);
        }
        Err(_) if !envelope.accepted => tally.refused_then += 1,
        Err(verdict) => problem(
            verdict.code.unwrap_or_else(|| word(verdict.decision)),
            verdict.reason.clone().unwrap_or_default(),
            match verdict.decision {
                // Not that it can be: it was not accepted.
                Decision::Accepted => exit::INTERNAL,
                decision => decision.exit_code(),
            },
        ),
    }
    Ok(())
}

fn receipts(
    opened: &Opened,
    attested: &BTreeMap<String, RecordedAppraisal>,
    tally: &mut Tally,
    problems: &mut Vec<Problem>,
) -> Result<(), Fault> {
    // Stages sign by keys of their boot, in whichever epoch they are.
    let by_key: BTreeMap<_, _> = attested
        .values()
        .map(|kept| (kept.statement().receipt_key, kept))
        .collect();
    let mut boots: BTreeMap<String, Vec<(&Kept, Receipt)>> = BTreeMap::new();
    for (_, entry) in &opened.entries {
        let Entry::Receipt(kept) = entry else { continue };
        tally.receipts += 1;
        let mut problem = |code: &str, text: String, exit| {
            problems.push(Problem {
                kind: "receipt",
                subject: kept.digest.clone(),
                code: code.to_owned(),
                text,
                exit,
            });
        };
        let receipt = match verified(&kept.bytes()) {
            Ok(receipt) => receipt,
            Err(fault) => {
                problem(fault.code, fault.message, fault.exit);
                continue;
            }
        };
        match attested.get(&receipt.claims().statement.to_string()) {
            Some(appraisal) => {
                let failed = receipt_check::checks(&receipt, appraisal.into(), None, None)
                    .into_iter()
                    .find(|check| check.status == Status::Fail);
                if let Some(check) = failed {
                    let text = format!("expected {}, got {}", check.expected, check.got);
                    problem(check.id, text, exit::REJECTED);
                }
            }
            None => problem(
                "receipt.no_evidence",
                "no evidence of its statement is here that is accepted".to_owned(),
                exit::REJECTED,
            ),
        }
        if let Some(claims) = &receipt.claims().pipeline {
            let plan = opened.view.plan(&claims.plan)?;
            let accepted = |part: &SignedPart| {
                let exact = attested.get(&part.claims().statement.to_string());
                exact.or_else(|| by_key.get(part.key()).copied())
            };
            if let Some((code, text)) = pipeline::receipt::wrong(&receipt, plan.as_deref(), accepted) {
                problem(code, text, exit::REJECTED);
            }
        }
        boots
            .entry(receipt.key().to_string())
            .or_default()
            .push((kept, receipt));
    }
    for chain in boots.values_mut() {
        chain.sort_by_key(|(_, receipt)| receipt.claims().sequence);
        let mut before: Option<&Receipt> = None;
        for (kept, receipt) in chain.iter() {
            let checks = receipt_check::link(receipt, before);
            for check in &checks {
                if check.status == Status::Fail {
                    problems.push(Problem {
                        kind: "receipt",
                        subject: kept.digest.clone(),
                        code: check.id.to_owned(),
                        text: format!("expected {}, got {}", check.expected, check.got),
                        exit: exit::REJECTED,
                    });
                }
            }
            if before.is_some() {
                match checks.last().map(|check| check.status) {
                    Some(Status::Pass) => tally.linked += 1,
                    Some(Status::Skip) => tally.gaps += 1,
                    _ => {}
                }
            }
            before = Some(receipt);
        }
    }
    Ok(())
}
