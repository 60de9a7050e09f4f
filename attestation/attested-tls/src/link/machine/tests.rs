//! Single events at single states.

use super::*;
use bastide_attestation::ManifestDigest;
use bastide_attestation::PipelineId;
use bastide_attestation::binding::link_confirm;
use zeroize::Zeroizing;

pub(super) fn secret(byte: u8) -> ExporterSecret {
    ExporterSecret::new(Zeroizing::new([byte; 32])).unwrap()
}

pub(super) fn context(stage: u16) -> LinkContext {
    LinkContext {
        pipeline: PipelineId::new([1; 16]),
        stage,
        model: ManifestDigest::new([2; 32]),
    }
}

/// Terms of the end that has `role`: the client is stage 1, the server stage 2.
pub(super) fn terms(role: Role) -> Terms {
    let client = Terms {
        role: Role::Client,
        own: context(1),
        peers: BTreeSet::from([2]),
        gate: LinkGate::default(),
        spki_own: SpkiDigest::new([3; 32]),
        spki_peer: SpkiDigest::new([4; 32]),
        exporter_own: secret(5),
        exporter_peer: secret(6),
        credential: Some(vec![7; 100]),
        capabilities: vec!["bf16".to_owned()],
        times: LinkTimes::default(),
    };
    match role {
        Role::Client => client,
        Role::Server => Terms {
            role,
            own: context(2),
            peers: BTreeSet::from([client.own.stage]),
            spki_own: client.spki_peer,
            spki_peer: client.spki_own,
            exporter_own: client.exporter_peer,
            exporter_peer: client.exporter_own,
            ..client
        },
    }
}

/// Evidence that says what it is bound to: an ideal one.
pub(super) fn ideal_evidence(binder: &Binder, leaf: LeafType) -> Vec<u8> {
    [b"evidence of ", format!("{leaf:?} {binder}").as_bytes()].concat()
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn frame(kind: FrameType, body: &[u8]) -> Vec<u8> {
    encode_frame(kind, body).unwrap()
}

/// Some legal body of each type.
fn some_frame(kind: FrameType) -> Vec<u8> {
    frame(kind, &vec![9; kind.bounds().0])
}

fn sent(effects: &[Effect]) -> Vec<Vec<u8>> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send(frame) => Some(frame.clone()),
            _ => None,
        })
        .collect()
}

fn end(effects: &[Effect]) -> Option<&LinkEnd> {
    effects.iter().find_map(|effect| match effect {
        Effect::Close { end, .. } => Some(end),
        _ => None,
    })
}

fn opened(effects: &[Effect]) -> bool {
    effects.contains(&Effect::Opened)
}

/// A server under test and everything its honest client would send.
struct Bench {
    machine: LinkMachine,
    client: LinkMachine,
    client_hello: Vec<u8>,
    server_hello: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let (machine, effects) = LinkMachine::start(terms(Role::Server), Nonce::new([10; 32])).unwrap();
        let server_hello = sent(&effects).concat();
        let (client, effects) = LinkMachine::start(terms(Role::Client), Nonce::new([11; 32])).unwrap();
        Self {
            machine,
            client,
            client_hello: sent(&effects).concat(),
            server_hello,
        }
    }

    /// Brings the server to a state, by frames of the honest client. Returns
    /// what the client would send next.
    fn at(state: LinkState) -> (Self, Vec<u8>) {
        let mut bench = Self::new();
        let now = seconds(1);
        let hello = bench.client_hello.clone();
        if state == LinkState::Hello {
            return (bench, hello);
        }
        let to_server = bench.machine.step(now, Input::Received(&hello));
        let server_evidence = evidence_of(&to_server);
        let server_hello = bench.server_hello.clone();
        let to_client = bench.client.step(now, Input::Received(&server_hello));
        let evidence = bench
            .client
            .step(now, Input::Evidence(Ok(evidence_of(&to_client))));
        let evidence = sent(&evidence).concat();
        if state == LinkState::Evidence {
            return (bench, evidence);
        }
        let effects = bench.machine.step(now, Input::Received(&evidence));
        assert_eq!(bench.machine.state, LinkState::Confirm);
        assert!(
            effects
                .iter()
                .any(|effect| matches!(effect, Effect::Appraise { .. }))
        );
        let evidence = bench.machine.step(now, Input::Evidence(Ok(server_evidence)));
        let confirm = bench.machine.step(now, Input::Appraised(Ok(())));
        drop(bench.client.step(now, Input::Received(&sent(&evidence).concat())));
        let confirmed = bench.client.step(now, Input::Appraised(Ok(())));
        let client_confirm = sent(&confirmed).concat();
        if state == LinkState::Confirm {
            return (bench, client_confirm);
        }
        let server_open = bench.machine.step(now, Input::Received(&client_confirm));
        let client_open = bench.client.step(now, Input::Received(&sent(&confirm).concat()));
        let client_open = sent(&client_open).concat();
        if state == LinkState::Open {
            return (bench, client_open);
        }
        let effects = bench.machine.step(now, Input::Received(&client_open));
        assert!(opened(&effects));
        let effects = bench
            .client
            .step(now, Input::Received(&sent(&server_open).concat()));
        assert!(opened(&effects));
        (bench, frame(FrameType::Data, b"message"))
    }
}

fn evidence_of(effects: &[Effect]) -> Vec<u8> {
    effects
        .iter()
        .find_map(|effect| match effect {
            Effect::MakeEvidence { binder, leaf } => Some(ideal_evidence(binder, *leaf)),
            _ => None,
        })
        .expect("evidence was asked for")
}

const STATES: [LinkState; 5] = [
    LinkState::Hello,
    LinkState::Evidence,
    LinkState::Confirm,
    LinkState::Open,
    LinkState::Opened,
];

#[test]
fn data_before_both_have_confirmed_closes_the_link_by_its_header_alone() {
    for state in STATES.into_iter().filter(|state| *state != LinkState::Opened) {
        let (mut bench, _) = Bench::at(state);
        let header = &some_frame(FrameType::Data)[..5];
        let effects = bench.machine.step(seconds(2), Input::Received(header));
        assert_eq!(end(&effects), Some(&LinkEnd::EarlyData), "{state}");
        assert_eq!(
            sent(&effects),
            [frame(FrameType::Close, &CloseCode::Protocol.encode())]
        );
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Deliver(_))));
    }
    let (mut bench, message) = Bench::at(LinkState::Opened);
    let effects = bench.machine.step(seconds(2), Input::Received(&message));
    assert_eq!(effects, [Effect::Deliver(b"message".to_vec())]);
}

#[test]
fn a_frame_of_the_wrong_type_closes_the_link_at_every_state() {
    for state in STATES {
        for kind in FrameType::ALL {
            let expected = match (state, kind) {
                (_, FrameType::Close) => continue,
                (LinkState::Hello, FrameType::Hello)
                | (LinkState::Evidence, FrameType::Evidence)
                | (LinkState::Confirm, FrameType::Confirm)
                | (LinkState::Open, FrameType::Open)
                | (LinkState::Opened, FrameType::Data | FrameType::Renew) => continue,
                (_, FrameType::Data) => LinkEnd::EarlyData,
                (_, kind) => LinkEnd::Unexpected { kind, state },
            };
            let (mut bench, _) = Bench::at(state);
            let effects = bench.machine.step(seconds(2), Input::Received(&some_frame(kind)));
            assert_eq!(end(&effects), Some(&expected), "{kind} while {state}");
            // The machine is over: nothing brings it back.
            for input in [
                Input::Received(&some_frame(FrameType::Open)),
                Input::Appraised(Ok(())),
                Input::Evidence(Ok(vec![1])),
                Input::Timer,
            ] {
                assert_eq!(bench.machine.step(seconds(3), input), []);
            }
            assert!(bench.machine.data(seconds(3), b"x").1.is_err());
        }
    }
}

#[test]
fn the_connection_cut_at_every_state_is_a_truncation() {
    for state in STATES {
        let (mut bench, _) = Bench::at(state);
        let effects = bench.machine.step(seconds(2), Input::Ended);
        assert_eq!(end(&effects), Some(&LinkEnd::Truncated), "{state}");
        assert_eq!(sent(&effects), Vec::<Vec<u8>>::new(), "there is nobody to tell");
    }
}

#[test]
fn every_state_has_its_time_limit_and_the_error_names_it() {
    let limits = [
        (LinkState::Hello, seconds(10)),
        (LinkState::Evidence, seconds(31)),
        (LinkState::Confirm, seconds(21)),
        (LinkState::Open, seconds(21)),
    ];
    for (state, limit) in limits {
        let (mut bench, _) = Bench::at(state);
        let before = limit - Duration::from_millis(1);
        assert_eq!(end(&bench.machine.step(before, Input::Timer)), None, "{state}");
        let effects = bench.machine.step(limit, Input::Timer);
        assert_eq!(end(&effects), Some(&LinkEnd::TimedOut { state }));
        assert_eq!(
            sent(&effects),
            [frame(FrameType::Close, &CloseCode::TimedOut.encode())]
        );
        // What comes later than that opens nothing.
        let (mut bench, next) = Bench::at(state);
        let effects = bench.machine.step(limit, Input::Received(&next));
        assert_eq!(end(&effects), Some(&LinkEnd::TimedOut { state }));
    }
    // Own evidence that doesn't come counts too.
    let mut bench = Bench::new();
    let hello = bench.client_hello.clone();
    drop(bench.machine.step(seconds(1), Input::Received(&hello)));
    let state = LinkState::Evidence;
    let effects = bench.machine.step(seconds(31), Input::Timer);
    assert_eq!(end(&effects), Some(&LinkEnd::TimedOut { state }));
}

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
fn a_peer_that_confirms_before_its_evidence_is_appraised_waits() {
    let (mut slow, evidence) = Bench::at(LinkState::Evidence);
    let effects = slow.machine.step(seconds(1), Input::Received(&evidence));
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Appraise { .. }))
    );
    let own = ideal_evidence(&Binder::new([1; 32]), LeafType::ServerTls);
    drop(slow.machine.step(seconds(1), Input::Evidence(Ok(own))));
    let confirm = link_confirm(&secret(5), &slow.machine.transcript());
    let confirm = frame(FrameType::Confirm, &confirm);
    let effects = slow.machine.step(seconds(2), Input::Received(&confirm));
    assert_eq!(sent(&effects), Vec::<Vec<u8>>::new());
    let effects = slow.machine.step(seconds(3), Input::Appraised(Ok(())));
    let types: Vec<u8> = sent(&effects).iter().map(|frame| frame[0]).collect();
    assert_eq!(types, [FrameType::Confirm.byte(), FrameType::Open.byte()]);
    assert!(!opened(&effects), "not before the peer's OPEN");
}

#[test]
fn a_refused_peer_gets_nothing_more() {
    let (mut bench, evidence) = Bench::at(LinkState::Evidence);
    drop(bench.machine.step(seconds(2), Input::Received(&evidence)));
    let refused = LinkEnd::Confirm;
    let effects = bench
        .machine
        .step(seconds(2), Input::Appraised(Err(refused.clone())));
    assert_eq!(
        effects.last(),
        Some(&Effect::Close {
            end: refused,
            flush: false
        })
    );
    assert_eq!(sent(&effects).len(), 1, "CLOSE alone");
}

#[test]
fn an_end_that_can_not_attest_says_so_and_closes() {
    let mut bench = Bench::new();
    let hello = bench.client_hello.clone();
    drop(bench.machine.step(seconds(1), Input::Received(&hello)));
    let effects = bench
        .machine
        .step(seconds(2), Input::Evidence(Err("busy".to_owned())));
    assert_eq!(end(&effects).unwrap().code(), "link.unattestable");
    // So does one whose evidence is larger than any may be.
    let mut bench = Bench::new();
    let hello = bench.client_hello.clone();
    drop(bench.machine.step(seconds(1), Input::Received(&hello)));
    let effects = bench
        .machine
        .step(seconds(2), Input::Evidence(Ok(vec![0; 256 * 1024 + 1])));
    assert_eq!(end(&effects).unwrap().code(), "link.unattestable");
}

// Open links.

fn renewed(bench: &mut Bench, at: Duration) -> Vec<u8> {
    let effects = bench.machine.step(at, Input::Timer);
    assert!(effects.contains(&Effect::DrawNonce), "{effects:?}");
    let effects = bench.machine.step(at, Input::Nonce(Nonce::new([12; 32])));
    sent(&effects).concat()
}

#[test]
fn a_lease_is_renewed_in_band_from_240_s_and_messages_go_on() {
    let (mut bench, message) = Bench::at(LinkState::Opened);
    let early = bench.machine.step(seconds(239), Input::Timer);
    assert!(!early.contains(&Effect::DrawNonce));
    let renew = renewed(&mut bench, seconds(240));
    assert_eq!(renew, frame(FrameType::Renew, &[12; 32]));
    assert!(bench.machine.data(seconds(241), b"still").1.is_ok());
    let effects = bench.machine.step(seconds(241), Input::Received(&message));
    assert_eq!(effects, [Effect::Deliver(b"message".to_vec())]);

    let effects = bench.client.step(seconds(241), Input::Received(&renew));
    let evidence = evidence_of(&effects);
    let effects = bench
        .client
        .step(seconds(242), Input::Evidence(Ok(evidence.clone())));
    assert_eq!(sent(&effects), [frame(FrameType::Evidence, &evidence)]);
    let answer = sent(&effects).concat();
    let effects = bench.machine.step(seconds(243), Input::Received(&answer));
    let expected = effects.iter().find_map(|effect| match effect {
        Effect::Appraise { expected, .. } => Some(ideal_evidence(&expected.binder, expected.leaf)),
        _ => None,
    });
    assert_eq!(expected, Some(evidence), "bound to the new challenge");
    let effects = bench.machine.step(seconds(243), Input::Appraised(Ok(())));
    // The lease counts from the challenge, not from the verdict.
    assert_eq!(effects, [Effect::ArmTimer(seconds(480))]);
    assert_eq!(end(&bench.machine.step(seconds(479), Input::Timer)), None);
}

#[test]
fn a_lease_that_is_not_renewed_drains_and_closes() {
    let (mut bench, message) = Bench::at(LinkState::Opened);
    drop(renewed(&mut bench, seconds(240)));
    let effects = bench.machine.step(seconds(285), Input::Timer);
    let close = frame(FrameType::Close, &CloseCode::LeaseOver.encode());
    assert_eq!(effects[..2], [Effect::Draining, Effect::Send(close)]);
    assert!(bench.machine.data(seconds(286), b"late").1.is_err());
    // What the peer had sent is still taken, while its lease holds.
    let effects = bench.machine.step(seconds(299), Input::Received(&message));
    assert_eq!(effects, [Effect::Deliver(b"message".to_vec())]);
    let effects = bench.machine.step(seconds(300), Input::Received(&message));
    assert_eq!(end(&effects), Some(&LinkEnd::NotRenewed));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Deliver(_))));
}

#[test]
fn nothing_is_sent_or_taken_on_evidence_older_than_the_lease() {
    for late in [seconds(300), seconds(100_000)] {
        let (mut bench, message) = Bench::at(LinkState::Opened);
        // As a machine that was asleep: no timer fired.
        let effects = bench.machine.step(late, Input::Received(&message));
        assert_eq!(end(&effects), Some(&LinkEnd::LeaseOver));
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Deliver(_))));
        let (mut bench, _) = Bench::at(LinkState::Opened);
        let (effects, result) = bench.machine.data(late, b"late");
        assert_eq!((end(&effects), result), (Some(&LinkEnd::LeaseOver), Err(NotOpen)));
        assert_eq!(
            sent(&effects),
            [frame(FrameType::Close, &CloseCode::LeaseOver.encode())]
        );
    }
}

#[test]
fn refused_renewals_close_at_once_and_throw_away_what_is_queued() {
    let (mut bench, _) = Bench::at(LinkState::Opened);
    drop(renewed(&mut bench, seconds(240)));
    drop(
        bench
            .machine
            .step(seconds(241), Input::Received(&frame(FrameType::Evidence, b"x"))),
    );
    let effects = bench
        .machine
        .step(seconds(241), Input::Appraised(Err(LinkEnd::Confirm)));
    assert!(matches!(effects.last(), Some(Effect::Close { flush: false, .. })));
}

#[test]
fn evidence_that_nobody_asked_for_and_challenges_too_often_close_the_link() {
    let (mut bench, _) = Bench::at(LinkState::Opened);
    let evidence = frame(FrameType::Evidence, b"x");
    let effects = bench.machine.step(seconds(2), Input::Received(&evidence));
    assert_eq!(end(&effects).unwrap().code(), "link.protocol");

    let renew = frame(FrameType::Renew, &[1; 32]);
    let (mut bench, _) = Bench::at(LinkState::Opened);
    let effects = bench.machine.step(seconds(2), Input::Received(&renew));
    let evidence = evidence_of(&effects);
    // Not before the first is answered,
    let effects = bench.machine.step(seconds(3), Input::Received(&renew));
    assert_eq!(end(&effects).unwrap().code(), "link.protocol");
    // and not soon after.
    let (mut bench, _) = Bench::at(LinkState::Opened);
    drop(bench.machine.step(seconds(2), Input::Received(&renew)));
    drop(
        bench
            .machine
            .step(seconds(3), Input::Evidence(Ok(evidence.clone()))),
    );
    let effects = bench.machine.step(seconds(31), Input::Received(&renew));
    assert_eq!(end(&effects), Some(&LinkEnd::RenewedTooOften));
    let (mut bench, _) = Bench::at(LinkState::Opened);
    drop(bench.machine.step(seconds(2), Input::Received(&renew)));
    drop(bench.machine.step(seconds(3), Input::Evidence(Ok(evidence))));
    let effects = bench.machine.step(seconds(32), Input::Received(&renew));
    assert_eq!(end(&effects), None);
}

#[test]
fn an_end_without_fresh_evidence_closes_in_order() {
    let (mut bench, _) = Bench::at(LinkState::Opened);
    let renew = frame(FrameType::Renew, &[1; 32]);
    drop(bench.machine.step(seconds(240), Input::Received(&renew)));
    let effects = bench
        .machine
        .step(seconds(250), Input::Evidence(Err("busy".to_owned())));
    let close = frame(FrameType::Close, &CloseCode::Unattestable.encode());
    assert_eq!(effects[..2], [Effect::Draining, Effect::Send(close)]);
    let effects = bench.machine.step(seconds(260), Input::Timer);
    assert_eq!(end(&effects).unwrap().code(), "link.unattestable");
}

#[test]
fn a_link_is_closed_in_order_by_both_ends_saying_so() {
    let done = frame(FrameType::Close, &CloseCode::Done.encode());
    let (mut bench, message) = Bench::at(LinkState::Opened);
    let effects = bench.machine.step(seconds(2), Input::Finish);
    assert_eq!(effects[..2], [Effect::Draining, Effect::Send(done.clone())]);
    assert_eq!(bench.machine.data(seconds(2), b"late").1, Err(NotOpen));
    let effects = bench.machine.step(seconds(3), Input::Received(&message));
    assert_eq!(effects, [Effect::Deliver(b"message".to_vec())]);
    let effects = bench.client.step(seconds(3), Input::Received(&done));
    assert_eq!(
        effects,
        [
            Effect::Draining,
            Effect::Send(done.clone()),
            Effect::Close {
                end: LinkEnd::Done,
                flush: true
            }
        ]
    );
    let effects = bench.machine.step(seconds(4), Input::Received(&done));
    assert_eq!(end(&effects), Some(&LinkEnd::Done));
    // Without the peer's word for it, nobody knows what is lost.
    for input in [Input::Ended, Input::Timer] {
        let (mut bench, _) = Bench::at(LinkState::Opened);
        drop(bench.machine.step(seconds(2), Input::Finish));
        let effects = bench.machine.step(seconds(12), input);
        assert_eq!(end(&effects), Some(&LinkEnd::Truncated));
    }
}

#[test]
fn a_peer_that_closes_for_a_reason_is_heard_at_every_state() {
    for state in STATES {
        for code in [CloseCode::Refused, CloseCode::NotAdmitted, CloseCode::Other(99)] {
            let (mut bench, _) = Bench::at(state);
            let close = frame(FrameType::Close, &code.encode());
            let effects = bench.machine.step(seconds(2), Input::Received(&close));
            assert_eq!(
                effects,
                [Effect::Close {
                    end: LinkEnd::PeerClosed { code },
                    flush: false
                }],
                "{state}"
            );
        }
    }
}

#[test]
fn messages_out_of_bounds_are_not_sent() {
    let (mut bench, _) = Bench::at(LinkState::Opened);
    for message in [vec![], vec![0; 1024 * 1024 + 1]] {
        assert_eq!(bench.machine.data(seconds(2), &message).1, Err(NotOpen));
    }
    let (effects, result) = bench.machine.data(seconds(2), &vec![0; 1024 * 1024]);
    assert_eq!((effects.len(), result), (1, Ok(())));
}
