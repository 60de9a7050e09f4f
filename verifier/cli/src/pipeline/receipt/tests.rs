//! A pipeline's receipt out of the ledger: what was kept when it came is enough
//! to verify it later, and nothing less is.

use std::time::Duration;

use super::*;
use crate::ledger::LedgerFile;
use crate::ledger::record::{self, Event};
use crate::ledger::store::{Bounds, Store};
use crate::receipt_source::{self, Found};
use bastide_attestation::binding::LeafType;
use bastide_attestation::{Binder, Nonce};
use bastide_verifier::Policy;
use clap::Parser;

use crate::pipeline::simulated::{self, AT, Pipeline, statement_of};

const HEAD: &str = "https://head.example";

#[derive(Parser)]
struct Named {
    #[command(flatten)]
    ledger: LedgerFile,
}

fn verifier() -> Verifier {
    Verifier::new(Policy::parse(simulated::policy().as_bytes()).unwrap())
}

/// What a client writes down of an answer by a pipeline; `stages` of them.
fn kept(pipeline: &Pipeline, stages: usize, with_plan: bool) -> (Receipt, Vec<Event>) {
    let now = UnixTime::from_secs(AT);
    let shown = |node: String, envelope: &[u8]| Event::Appraisal {
        at: AT,
        node,
        verdict: Box::new(appraise(envelope, &verifier(), now, true).unwrap().into_verdict()),
        evidence: Some(envelope.to_vec()),
    };
    let head = pipeline.guests[0]
        .attest(LeafType::ServerTls, &Binder::new([0x5a; 32]), 4)
        .encode();
    let nonce = Nonce::new([0x11; 32]);
    let envelopes: Vec<Vec<u8>> = (0..3).map(|at| pipeline.stage(at.into(), at, &nonce)).collect();
    // The stages sign in a later epoch than the one that they showed.
    let statements = vec![bastide_attestation::StatementDigest::new([0xee; 32]); 3];
    let receipt = pipeline.receipt(&pipeline.parts(&statements), statement_of(&head));
    let mut events = vec![shown(HEAD.to_owned(), &head)];
    for (number, envelope) in envelopes.iter().enumerate().take(stages) {
        events.push(shown(record::stage_of(HEAD, number), envelope));
    }
    if with_plan {
        events.push(Event::Plan {
            at: AT,
            plan: Box::new(pipeline.plan.clone()),
        });
    }
    events.push(Event::Receipt {
        at: AT,
        node: HEAD.to_owned(),
        receipt: Box::new(receipt.clone()),
        salt: None,
        attested: None,
    });
    (receipt, events)
}

fn found(events: &[Event]) -> Found {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    let store = Store::open(&path, Duration::from_secs(5), true).unwrap();
    store.append(&path, events, Bounds::default()).unwrap();
    drop(store);
    let file = Named::parse_from(["x", "--ledger", &path.display().to_string()]).ledger;
    let mut all = receipt_source::read(&["ledger:last".parse().unwrap()], &file).unwrap();
    all.remove(0)
}

fn failed(found: &Found) -> Option<&'static str> {
    let claims = found.receipt.claims().pipeline.as_ref().unwrap();
    let plan = SignedPlan::verify(found.plan.as_ref().unwrap()).unwrap();
    let envelopes = envelopes_of(claims, &found.stages);
    let now = UnixTime::from_secs(AT);
    let judged = judge(&found.receipt, &plan, &envelopes, &verifier(), now, true).unwrap();
    judged
        .all()
        .find(|check| check.status == Status::Fail)
        .map(|check| check.id)
}

#[test]
fn what_the_ledger_kept_verifies_a_pipelines_receipt_and_nothing_less_does() {
    let pipeline = Pipeline::new();
    let (receipt, events) = kept(&pipeline, 3, true);
    let whole = found(&events);
    assert_eq!(whole.receipt.digest(), receipt.digest());
    assert_eq!(failed(&whole), None);
    let (_, events) = kept(&pipeline, 2, true);
    assert_eq!(failed(&found(&events)), Some("receipt.distinct"));
    let (_, events) = kept(&pipeline, 3, false);
    assert_eq!(found(&events).plan, None);
}

#[test]
fn another_pipelines_evidence_in_the_ledger_is_not_taken_for_a_stages() {
    let (pipeline, mut other) = (Pipeline::new(), Pipeline::new());
    other.guests.truncate(0);
    other.guests.extend((11..=13).map(simulated::Guest::new));
    let (_, own) = kept(&pipeline, 0, true);
    let (_, theirs) = kept(&other, 3, false);
    let mut events: Vec<Event> = theirs.into_iter().take(4).collect();
    events.extend(own);
    let found = found(&events);
    assert!(!found.stages.is_empty(), "they are looked at");
    assert_eq!(failed(&found), Some("receipt.distinct"));
}

#[test]
fn judged_again_a_receipt_needs_its_plan_and_accepted_evidence_of_every_stage() {
    let pipeline = Pipeline::new();
    let (receipt, events) = kept(&pipeline, 3, true);
    let found = found(&events);
    let now = UnixTime::from_secs(AT);
    let accepted: Vec<RecordedAppraisal> = found
        .stages
        .iter()
        .map(|envelope| appraise(envelope, &verifier(), now, true).unwrap())
        .collect();
    let by_key = |part: &SignedPart| {
        accepted
            .iter()
            .find(|kept| kept.statement().receipt_key == *part.key())
    };
    let plan = found.plan.as_deref();
    assert_eq!(wrong(&receipt, plan, by_key), None);
    let code = |wrong: Option<(&'static str, String)>| wrong.map(|(code, _)| code);
    assert_eq!(code(wrong(&receipt, None, by_key)), Some("receipt.no_plan"));
    let without_one = |part: &SignedPart| by_key(part).filter(|_| part.claims().stage != 1);
    assert_eq!(
        code(wrong(&receipt, plan, without_one)),
        Some("receipt.stage_evidence")
    );
}
