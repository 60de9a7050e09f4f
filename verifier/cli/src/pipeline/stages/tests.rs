//! Nothing is accepted of a chain but real evidence of each stage, for our own
//! nonce, this plan and that very stage.

use super::*;
use crate::gate::appraiser;
use crate::paint::Paint;
use bastide_attestation::Binder;
use bastide_attestation::pipeline::Plan;

use crate::pipeline::simulated::{self, AT, Pipeline, key, signed};

const NONCE: Nonce = Nonce::new([0x11; 32]);

fn now() -> UnixTime {
    UnixTime::from_secs(AT)
}

fn ours() -> std::sync::Arc<dyn Appraiser> {
    appraiser(Policy::parse(simulated::policy().as_bytes()).unwrap(), true)
}

/// What a session with the head established.
fn head(pipeline: &Pipeline) -> AttestationResult {
    let binder = Binder::new([0x5a; 32]);
    let evidence = pipeline.guests[0].attest(LeafType::ServerTls, &binder, 4);
    let expected = SessionExpectation {
        binder,
        leaf: LeafType::ServerTls,
    };
    let evidence = Evidence::decode(&evidence.encode()).unwrap();
    ours().appraise(&evidence, &expected, now()).unwrap()
}

/// Nothing named: the plan must hold stages to our own policy.
fn by_policy() -> Wanted {
    Wanted {
        policy: Some(Policy::parse(simulated::policy().as_bytes()).unwrap().digest()),
        allow_simulated: true,
        ..Wanted::default()
    }
}

fn judged(pipeline: &Pipeline, answer: &PipelineAnswer, wanted: &Wanted) -> Chain {
    judge(answer, &NONCE, &head(pipeline), &*ours(), wanted, now()).unwrap()
}

fn code(
    pipeline: &Pipeline,
    answer: &PipelineAnswer,
    wanted: &Wanted,
) -> Option<(Option<usize>, &'static str)> {
    let chain = judged(pipeline, answer, wanted);
    chain.failed().map(|(stage, check)| (stage, check.id))
}

#[test]
fn a_chain_of_real_stages_is_accepted_and_shown_stage_by_stage() {
    let pipeline = Pipeline::new();
    let wanted = Wanted {
        owners: vec![key(9).1],
        plan_policies: true,
        ..by_policy()
    };
    let chain = judged(&pipeline, &pipeline.answer(&NONCE), &wanted);
    assert_eq!(chain.failed(), None);
    assert!(chain.stages.iter().all(|stage| stage.attested.is_some()));
    let verdict = chain.applied_to(head(&pipeline).verdict.into_verdict());
    assert_eq!((verdict.decision, verdict.code), (Decision::Accepted, None));
    assert!(verdict.simulated);
    let text = chain.tree(false, Paint::PLAIN).render();
    for wanted in [
        "3 stages",
        "stage 0   layers 0..2   SIMULATED",
        "stage 2   layers 4..6",
        "REPORT_ID",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    let json = chain.object();
    assert_eq!(json["verdict"], "accepted");
    assert_eq!(json["stages"][2]["verdict"]["verdict"], "accepted");
    assert_eq!(json["plan"]["layers"], 6);
}

#[test]
fn a_missing_stage_and_one_that_shows_something_else_are_refused_by_name() {
    let pipeline = Pipeline::new();
    let good = pipeline.answer(&NONCE);
    let with = |stage: usize, envelope: Option<Vec<u8>>| {
        let mut answer = good.clone();
        answer.stages[stage] = envelope;
        answer
    };
    let none = by_policy();
    let refused = Some((Some(1), "pipeline.stage_refused"));
    let session = pipeline.guests[1].attest(LeafType::ServerTls, &Binder::new([0x5a; 32]), 4);
    let mut other_plan = Pipeline::new();
    other_plan.plan = signed(other_plan.plan.plan(), 8);
    let cases = [
        (
            "no evidence",
            with(1, None),
            Some((Some(1), "pipeline.stage_evidence")),
        ),
        ("no envelope", with(1, Some(b"x".to_vec())), refused),
        (
            "another nonce's",
            with(1, Some(pipeline.stage(1, 1, &Nonce::new([0x12; 32])))),
            refused,
        ),
        (
            "another stage's place",
            with(1, Some(pipeline.stage(1, 2, &NONCE))),
            refused,
        ),
        (
            "another plan's",
            with(1, Some(other_plan.stage(1, 1, &NONCE))),
            refused,
        ),
        ("a session's", with(1, Some(session.encode())), refused),
        (
            "the head's guest in another place",
            with(1, Some(pipeline.stage(0, 1, &NONCE))),
            Some((None, "pipeline.distinct")),
        ),
        (
            "another guest in the head's place",
            with(0, Some(other_plan_guest(&pipeline))),
            Some((None, "pipeline.head")),
        ),
    ];
    for (name, answer, expected) in cases {
        assert_eq!(code(&pipeline, &answer, &none), expected, "{name}");
        let verdict = judged(&pipeline, &answer, &none).applied_to(head(&pipeline).verdict.into_verdict());
        assert_eq!(verdict.decision, Decision::Rejected, "{name}");
    }
    let mut fewer = good.clone();
    fewer.stages.pop();
    assert_eq!(
        code(&pipeline, &fewer, &none),
        Some((Some(2), "pipeline.stage_evidence"))
    );
    let mut more = good.clone();
    more.stages.push(None);
    assert_eq!(code(&pipeline, &more, &none), Some((None, "pipeline.stages")));
}

/// Evidence for stage 0 by a genuine guest that is not the head.
fn other_plan_guest(pipeline: &Pipeline) -> Vec<u8> {
    let stranger = Pipeline {
        guests: vec![simulated::Guest::new(7)],
        plan: pipeline.plan.clone(),
    };
    stranger.stage(0, 0, &NONCE)
}

#[test]
fn a_stage_with_other_files_and_a_plan_for_another_model_are_refused() {
    let mut pipeline = Pipeline::new();
    pipeline.guests[2].model = bastide_attestation::ManifestDigest::new([0x99; 32]);
    let answer = pipeline.answer(&NONCE);
    assert_eq!(
        code(&pipeline, &answer, &by_policy()),
        Some((Some(2), "pipeline.stage_model"))
    );
    let mut pipeline = Pipeline::new();
    for guest in &mut pipeline.guests {
        guest.model = bastide_attestation::ManifestDigest::new([0x99; 32]);
    }
    let chain = judged(&pipeline, &pipeline.answer(&NONCE), &by_policy());
    assert!(
        chain
            .checks
            .iter()
            .any(|check| check.id == "pipeline.model" && check.status == Status::Fail)
    );
}

#[test]
fn whose_plan_it_is_counts_where_it_is_asked() {
    let pipeline = Pipeline::new();
    let answer = pipeline.answer(&NONCE);
    let owner = |seed: u8| Wanted {
        owners: vec![key(seed).1],
        ..by_policy()
    };
    assert_eq!(code(&pipeline, &answer, &owner(9)), None);
    assert_eq!(
        code(&pipeline, &answer, &owner(8)),
        Some((None, "pipeline.owner"))
    );
    let plan = |plan: SignedPlan| Wanted {
        plan: Some(plan),
        ..by_policy()
    };
    assert_eq!(code(&pipeline, &answer, &plan(pipeline.plan.clone())), None);
    let resigned = signed(pipeline.plan.plan(), 8);
    assert_eq!(
        code(&pipeline, &answer, &plan(resigned)),
        Some((None, "pipeline.plan_differs"))
    );
    // Not named, it is skipped and not passed.
    let chain = judged(&pipeline, &answer, &by_policy());
    let skipped = chain.checks.iter().find(|check| check.id == "pipeline.owner");
    assert_eq!(skipped.map(|check| check.status), Some(Status::Skip));
    // Nor does a plan count whose signature was altered.
    let mut altered = answer;
    *altered.plan.last_mut().unwrap() ^= 1;
    let fault = judge(&altered, &NONCE, &head(&pipeline), &*ours(), &by_policy(), now()).unwrap_err();
    assert_eq!((fault.exit, fault.code), (10, "pipeline.signature"));
}

#[test]
fn the_plans_own_policy_for_a_stage_is_held_to_where_that_is_asked() {
    let mut pipeline = Pipeline::new();
    let strict = bastide_verifier::shipped::by_name("production").unwrap();
    let plan = pipeline.plan.plan();
    let contents = bastide_attestation::pipeline::PlanContents {
        pipeline: plan.pipeline(),
        model: plan.model(),
        draft: plan.draft(),
        stages: plan.stages().to_vec(),
        policies: vec![strict.as_bytes().to_vec()],
        rules: plan.rules().clone(),
    };
    pipeline.plan = signed(&Plan::new(contents).unwrap(), 9);
    let answer = pipeline.answer(&NONCE);
    let named = Wanted {
        owners: vec![key(9).1],
        ..by_policy()
    };
    assert_eq!(code(&pipeline, &answer, &named), None);
    let held = Wanted {
        plan_policies: true,
        ..named
    };
    assert_eq!(
        code(&pipeline, &answer, &held),
        Some((Some(0), "pipeline.stage_policy"))
    );
}

#[test]
fn simulated_stages_need_the_persons_permission() {
    let pipeline = Pipeline::new();
    let strict = appraiser(Policy::parse(simulated::policy().as_bytes()).unwrap(), false);
    let chain = judge(
        &pipeline.answer(&NONCE),
        &NONCE,
        &head(&pipeline),
        &*strict,
        &by_policy(),
        now(),
    )
    .unwrap();
    let (stage, failed) = chain.failed().unwrap();
    assert_eq!((stage, failed.id), (Some(0), "pipeline.stage_refused"));
    assert_eq!(failed.got, gate::SIMULATED_NOT_ALLOWED);
}

#[test]
fn a_plan_by_which_others_could_come_in_is_refused_unless_it_is_accepted_by_name() {
    let pipeline = Pipeline::new();
    let answer = pipeline.answer(&NONCE);
    let refused = Some((None, "pipeline.plan_policy"));
    assert_eq!(code(&pipeline, &answer, &by_policy()), None);
    // By another policy of ours, though it accepts all that is there now.
    let another = Wanted {
        policy: Some(PolicyDigest::new([8; 32])),
        ..by_policy()
    };
    assert_eq!(code(&pipeline, &answer, &another), refused);
    let nobodys = Wanted {
        policy: None,
        ..by_policy()
    };
    assert_eq!(code(&pipeline, &answer, &nobodys), refused);
    // The same policy, and simulated hardware could come in that we didn't permit.
    let unpermitted = Wanted {
        allow_simulated: false,
        ..by_policy()
    };
    assert_eq!(code(&pipeline, &answer, &unpermitted), refused);
    for named in [
        Wanted {
            owners: vec![key(9).1],
            ..another.clone()
        },
        Wanted {
            plan: Some(pipeline.plan.clone()),
            ..another
        },
    ] {
        assert_eq!(code(&pipeline, &answer, &named), None);
    }
    // One lax policy among several is enough.
    let plan = pipeline.plan.plan();
    let mut stages = plan.stages().to_vec();
    stages[2].policy = 1;
    let contents = bastide_attestation::pipeline::PlanContents {
        pipeline: plan.pipeline(),
        model: plan.model(),
        draft: plan.draft(),
        stages,
        policies: vec![
            simulated::policy().into_bytes(),
            bastide_verifier::shipped::by_name("production")
                .unwrap()
                .as_bytes()
                .to_vec(),
        ],
        rules: plan.rules().clone(),
    };
    let mixed = Pipeline {
        plan: signed(&Plan::new(contents).unwrap(), 9),
        ..Pipeline::new()
    };
    assert_eq!(code(&mixed, &mixed.answer(&NONCE), &by_policy()), refused);
}
