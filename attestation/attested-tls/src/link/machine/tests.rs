//! Single events at single states.

mod leases;
mod who;

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
