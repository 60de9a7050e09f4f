//! T3 and T22: one's own frames bounced, and ends of another stage.

use super::*;

#[test]
fn t3_ones_own_hello_bounced_closes_the_link() {
    let mut bench = Bench::new();
    let own = bench.server_hello.clone();
    let effects = bench.machine.step(seconds(1), Input::Received(&own));
    assert_eq!(end(&effects), Some(&LinkEnd::Role));
}

/// T3: the binder that this end proves and the one that it expects differ, even
/// where HELLO was bounced with the role turned round and the same nonce.
#[test]
fn t3_evidence_of_ones_own_is_never_what_is_expected_of_the_peer() {
    let mut bench = Bench::new();
    let own = Hello::decode(&bench.server_hello[5..]).unwrap();
    let turned = Hello {
        role: Role::Client,
        context: context(1),
        ..own
    };
    let turned = frame(FrameType::Hello, &turned.encode().unwrap());
    let effects = bench.machine.step(seconds(1), Input::Received(&turned));
    let proved = evidence_of(&effects);
    let effects = bench
        .machine
        .step(seconds(1), Input::Received(&frame(FrameType::Evidence, &proved)));
    let expected = effects.iter().find_map(|effect| match effect {
        Effect::Appraise {
            expected, evidence, ..
        } => {
            assert_eq!(*evidence, proved);
            Some(ideal_evidence(&expected.binder, expected.leaf))
        }
        _ => None,
    });
    assert_ne!(expected.unwrap(), proved);
}

#[test]
fn t3_ones_own_confirm_bounced_closes_the_link() {
    let (mut bench, _) = Bench::at(LinkState::Confirm);
    let own = link_confirm(&bench.machine.terms.exporter_own, &bench.machine.transcript());
    let effects = bench
        .machine
        .step(seconds(2), Input::Received(&frame(FrameType::Confirm, &own)));
    assert_eq!(end(&effects), Some(&LinkEnd::Confirm));
}

#[test]
fn t22_another_stage_pipeline_or_model_is_refused_before_evidence_is_made() {
    let other = |change: fn(&mut LinkContext)| {
        let mut bench = Bench::new();
        let mut hello = Hello::decode(&bench.client_hello[5..]).unwrap();
        change(&mut hello.context);
        let hello = frame(FrameType::Hello, &hello.encode().unwrap());
        let effects = bench.machine.step(seconds(1), Input::Received(&hello));
        assert!(
            !effects
                .iter()
                .any(|effect| matches!(effect, Effect::MakeEvidence { .. }))
        );
        match end(&effects) {
            Some(LinkEnd::Context { member, .. }) => *member,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(other(|context| context.stage = 2), "stage");
    assert_eq!(
        other(|context| context.pipeline = PipelineId::new([9; 16])),
        "pipeline"
    );
    assert_eq!(
        other(|context| context.model = ManifestDigest::new([9; 32])),
        "model"
    );
}

/// T22: a table of peers is a table: what is in between is not in it.
#[test]
fn t22_a_stage_that_is_not_in_the_table_gets_no_evidence_and_is_told_why() {
    let terms = Terms {
        own: context(3),
        peers: BTreeSet::from([0, 2]),
        ..terms(Role::Server)
    };
    for (stage, listed) in [(0, true), (1, false), (2, true), (3, false), (4, false)] {
        let (mut machine, _) = LinkMachine::start(terms.clone(), Nonce::new([10; 32])).unwrap();
        let hello = Hello {
            role: Role::Client,
            nonce: Nonce::new([11; 32]),
            credential: None,
            context: context(stage),
            capabilities: Vec::new(),
        };
        let hello = frame(FrameType::Hello, &hello.encode().unwrap());
        let effects = machine.step(seconds(1), Input::Received(&hello));
        let attests = effects
            .iter()
            .any(|effect| matches!(effect, Effect::MakeEvidence { .. }));
        assert_eq!(attests, listed, "stage {stage}");
        if !listed {
            assert_eq!(
                sent(&effects),
                [frame(FrameType::Close, &CloseCode::Context.encode())]
            );
            let why = end(&effects).unwrap().to_string();
            assert!(why.contains(&format!("stage {stage}, expected 0 or 2")), "{why}");
        }
    }
}

/// T22: even with HELLOs that agree, evidence for stage 1 is not what is
/// expected of stage 4.
#[test]
fn t22_the_expected_binder_is_of_the_stage_that_the_peer_claims() {
    let expected = |stage| {
        let terms = Terms {
            // As an end that links with both: the binder is of the one it said.
            peers: BTreeSet::from([1, 4]),
            ..terms(Role::Server)
        };
        let (mut machine, _) = LinkMachine::start(terms, Nonce::new([10; 32])).unwrap();
        let hello = Hello {
            role: Role::Client,
            nonce: Nonce::new([11; 32]),
            credential: None,
            context: context(stage),
            capabilities: Vec::new(),
        };
        let frames = [
            frame(FrameType::Hello, &hello.encode().unwrap()),
            frame(FrameType::Evidence, b"x"),
        ];
        let effects = machine.step(seconds(1), Input::Received(&frames.concat()));
        effects
            .into_iter()
            .find_map(|effect| match effect {
                Effect::Appraise { expected, .. } => Some(expected),
                _ => None,
            })
            .unwrap()
    };
    assert_eq!(expected(1), expected(1));
    assert_ne!(expected(1).binder, expected(4).binder);
    assert_eq!(expected(1).leaf, LeafType::ClientTls);
}

#[test]
fn a_peer_whose_place_is_taken_is_told_so_before_evidence_is_made() {
    for free in [false, true] {
        let terms = Terms {
            gate: LinkGate::new(move |hello, spki| {
                assert_eq!((hello.context.stage, *spki), (1, SpkiDigest::new([3; 32])));
                free
            }),
            ..terms(Role::Server)
        };
        let bench = Bench::new();
        let (mut machine, _) = LinkMachine::start(terms, Nonce::new([10; 32])).unwrap();
        let effects = machine.step(seconds(1), Input::Received(&bench.client_hello));
        let attests = |effect: &Effect| matches!(effect, Effect::MakeEvidence { .. });
        assert_eq!(effects.iter().any(attests), free);
        if !free {
            assert_eq!(end(&effects), Some(&LinkEnd::Taken { stage: 1 }));
            assert_eq!(
                sent(&effects),
                [frame(FrameType::Close, &CloseCode::Taken.encode())]
            );
        }
    }
}
