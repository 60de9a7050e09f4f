//! What a stage takes from whom, what it drops, and what it signs.

mod parts;
mod rows;
mod small;

use bastide_attestation::{Nonce, Salt};
use proptest::prelude::*;
use small::{PLAN, Signer, WIDTH, envelope, stage};
use zeroize::Zeroizing;

use super::*;
use crate::message::{
    Answer, Epoch, Fault, FaultCode, Finish, Frame, Join, Message, Open, SequenceId, tests,
};

const SALT: Salt = Salt::new([9; 32]);

fn join(number: u16, next: Option<&str>) -> Message {
    Message::Join(Join {
        plan: PLAN,
        stage: number,
        next: next.map(str::to_owned),
    })
}

fn open(sequence: u64) -> Message {
    Message::Open(Open {
        sequence: SequenceId(sequence),
        epoch: Epoch(0),
        positions: 32,
        salt: SALT,
        sampling: Sampling {
            temperature: 0.0,
            top_p: 1.0,
            seed: 0,
            top_logprobs: None,
        },
    })
}

fn run(sequence: u64, epoch: u32, pos: u32, rows: u16, committed: u32) -> Run {
    Run {
        sequence: SequenceId(sequence),
        epoch: Epoch(epoch),
        pos,
        rows,
        wanted: rows,
        committed,
    }
}

fn ids(number: u64, runs: &[Run], ids: &[u32]) -> Message {
    Message::Frame(Frame {
        number,
        runs: runs.to_vec(),
        payload: Payload::Ids(Zeroizing::new(ids.to_vec())),
    })
}

fn activations(number: u64, runs: &[Run], values: &[f32]) -> Message {
    Message::Frame(Frame {
        number,
        runs: runs.to_vec(),
        payload: Payload::Activations {
            width: WIDTH,
            values: Zeroizing::new(values.to_vec()),
        },
    })
}

fn finish(sequence: u64, epoch: u32, rows: u32) -> Message {
    Message::Finish(Finish {
        sequence: SequenceId(sequence),
        epoch: Epoch(epoch),
        rows,
        sign: true,
    })
}

fn fault(code: FaultCode, sequence: u64, epoch: u32) -> Message {
    Message::Fault(Fault {
        code,
        sequence: SequenceId(sequence),
        epoch: Epoch(epoch),
    })
}

/// What would be sent, the way first.
fn sent(effects: Vec<StageEffect>) -> Vec<(&'static str, Message)> {
    let effects = effects.into_iter().map(|effect| match effect {
        StageEffect::ToHead(envelope) => ("head", envelope.message),
        StageEffect::ToNext(envelope) => ("next", envelope.message),
        _ => panic!("expected messages alone"),
    });
    effects.collect()
}

fn names(effects: &[StageEffect]) -> Vec<&'static str> {
    let name = |effect: &StageEffect| match effect {
        StageEffect::ToHead(envelope) | StageEffect::ToNext(envelope) => envelope.message.kind().0,
        StageEffect::LinkNext { .. } => "link",
        StageEffect::UnlinkNext => "unlink",
        StageEffect::Attest { .. } => "attest",
    };
    effects.iter().map(name).collect()
}

/// A joined stage with its next link open.
fn joined(number: u16, stages: u16) -> Stage<small::Small> {
    let mut stage = stage(number, stages, Signer::default(), Cancelled::new());
    let next = (number + 1 < stages).then_some("next:1");
    let effects = stage
        .handle(Origin::Head, envelope(3, join(number, next)))
        .ok()
        .unwrap();
    if next.is_some() {
        assert_eq!(names(&effects), ["link"], "READY waits for the link");
        assert_eq!(names(&stage.next_linked(RingId(3))), ["READY"]);
    } else {
        assert_eq!(names(&effects), ["READY"]);
    }
    stage
}

fn give(stage: &mut Stage<small::Small>, message: Message) -> Vec<StageEffect> {
    stage.handle(Origin::Head, envelope(3, message)).ok().unwrap()
}

fn refused(stage: &mut Stage<small::Small>, from: Origin, ring: u32, message: Message) -> &'static str {
    let fault = stage.handle(from, envelope(ring, message)).err();
    fault.map_or("accepted", |fault| fault.code())
}

#[test]
fn every_message_comes_from_where_it_must_or_the_link_is_closed() {
    let target = Message::Answer(Answer {
        number: 1,
        runs: Vec::new(),
    });
    let (sequence, epoch) = (SequenceId(1), Epoch(0));
    let along = [open(1), finish(1, 0, 0)];
    let from_head = [
        Message::Cancel { sequence, epoch },
        Message::Ping { tick: 1 },
        Message::Challenge {
            id: 1,
            nonce: Nonce::new([1; 32]),
        },
    ];
    let never = [
        target,
        Message::Pong { tick: 1, done: 0 },
        fault(FaultCode::Gap, 1, 0),
    ];
    let unexpected = "pipeline.stage.unexpected";
    for number in 0..3 {
        for message in &along {
            let head = refused(&mut joined(number, 4), Origin::Head, 3, message.clone());
            assert_eq!(head, if number <= 1 { "accepted" } else { unexpected });
            let previous = refused(&mut joined(number, 4), Origin::Previous, 3, message.clone());
            assert_eq!(previous, if number >= 1 { "accepted" } else { unexpected });
        }
        let joins = [join(number, Some("next:1"))];
        for message in from_head.iter().chain(&joins) {
            assert_eq!(
                refused(&mut joined(number, 4), Origin::Head, 4, message.clone()),
                "accepted"
            );
            assert_eq!(
                refused(&mut joined(number, 4), Origin::Previous, 4, message.clone()),
                unexpected
            );
        }
        for message in &never {
            for origin in [Origin::Head, Origin::Previous] {
                assert_eq!(
                    refused(&mut joined(number, 4), origin, 3, message.clone()),
                    unexpected
                );
            }
        }
    }
}

#[test]
fn a_join_of_another_plan_stage_or_place_is_refused() {
    let mut other = stage(1, 3, Signer::default(), Cancelled::new());
    let early = refused(&mut other, Origin::Head, 1, open(1));
    assert_eq!(early, "pipeline.stage.not_joined");
    let plan = Message::Join(Join {
        plan: [0; 32],
        stage: 1,
        next: Some("next:1".to_owned()),
    });
    assert_eq!(
        refused(&mut other, Origin::Head, 1, plan),
        "pipeline.stage.other_plan"
    );
    let wrong = refused(&mut other, Origin::Head, 1, join(2, None));
    assert_eq!(wrong, "pipeline.stage.other_stage");
    assert_eq!(
        refused(&mut other, Origin::Head, 1, join(1, None)),
        "pipeline.stage.address"
    );
    let mut tail = stage(2, 3, Signer::default(), Cancelled::new());
    let wrong = refused(&mut tail, Origin::Head, 1, join(2, Some("next:1")));
    assert_eq!(wrong, "pipeline.stage.address");
}

#[test]
fn of_an_older_ring_nothing_is_done_and_of_a_newer_one_nothing_is_believed() {
    let mut stage = joined(0, 2);
    assert!(
        stage
            .handle(Origin::Head, envelope(2, open(1)))
            .ok()
            .unwrap()
            .is_empty()
    );
    assert!(
        stage
            .handle(Origin::Head, envelope(2, join(0, Some("a:1"))))
            .ok()
            .unwrap()
            .is_empty()
    );
    assert_eq!(stage.sequences(), 0);
    assert_eq!(
        refused(&mut stage, Origin::Head, 4, open(1)),
        "pipeline.stage.future_ring"
    );
    let again = refused(&mut stage, Origin::Head, 3, join(0, Some("next:1")));
    assert_eq!(again, "pipeline.stage.joined_already");

    give(&mut stage, open(1));
    assert_eq!(stage.sequences(), 1);
    let effects = stage
        .handle(Origin::Head, envelope(4, join(0, Some("next:1"))))
        .ok()
        .unwrap();
    assert_eq!(names(&effects), ["READY"], "the link that is open stays");
    assert_eq!(stage.sequences(), 0, "a new ring forgets every sequence");
    let effects = stage
        .handle(Origin::Head, envelope(5, join(0, Some("other:1"))))
        .ok()
        .unwrap();
    assert_eq!(names(&effects), ["unlink", "link"]);
    assert!(stage.next_linked(RingId(4)).is_empty(), "of the ring before");
    let before = stage.handle(Origin::Head, envelope(5, open(1))).ok().unwrap();
    assert!(
        before.is_empty() && stage.sequences() == 0,
        "nothing before READY"
    );
    assert_eq!(names(&stage.next_linked(RingId(5))), ["READY"]);
    assert!(stage.next_linked(RingId(5)).is_empty(), "once");
}

#[test]
fn a_lost_neighbour_ends_the_ring_and_what_it_held() {
    let mut stage = joined(1, 3);
    give(&mut stage, open(1));
    let lost = sent(stage.next_lost());
    assert!(lost == [("head", fault(FaultCode::NextLost, 0, 0))]);
    assert_eq!(stage.sequences(), 0);
    assert!(stage.next_lost().is_empty(), "said once");
    assert!(give(&mut stage, open(1)).is_empty());
    assert!(stage.next_linked(RingId(3)).is_empty());

    let mut stage = joined(1, 3);
    give(&mut stage, open(1));
    assert_eq!(names(&stage.head_lost()), ["unlink"]);
    assert_eq!(stage.sequences(), 0);
    // Another head counts from 1 again.
    let effects = stage
        .handle(Origin::Head, envelope(1, join(1, Some("next:1"))))
        .ok()
        .unwrap();
    assert_eq!(names(&effects), ["link"]);
}

#[test]
fn sequences_and_their_positions_are_bounded() {
    let mut stage = joined(0, 2);
    for sequence in 0..4 {
        assert_eq!(names(&give(&mut stage, open(sequence))), ["OPEN"]);
    }
    assert!(sent(give(&mut stage, open(4))) == [("head", fault(FaultCode::Full, 4, 0))]);
    assert!(
        give(&mut stage, open(3)).is_empty(),
        "the same again changes nothing"
    );
    let mut other = open(3);
    if let Message::Open(open) = &mut other {
        open.salt = Salt::new([1; 32]);
    }
    assert_eq!(
        refused(&mut stage, Origin::Head, 3, other),
        "pipeline.stage.reopened"
    );
    give(&mut stage, finish(0, 0, 0));
    for positions in [0, 65, u32::MAX] {
        let mut message = open(5);
        if let Message::Open(open) = &mut message {
            open.positions = positions;
        }
        assert!(sent(give(&mut stage, message)) == [("head", fault(FaultCode::Full, 5, 0))]);
    }
    let effects = sent(give(&mut stage, ids(1, &[run(1, 0, 0, 33, 0)], &[1; 33])));
    assert!(effects[0] == ("head", fault(FaultCode::Full, 1, 0)));
}

#[test]
fn a_ping_is_answered_whatever_the_ring_and_while_a_frame_is_at_work() {
    let mut idle = stage(1, 2, Signer::default(), Cancelled::new());
    let pong = idle
        .handle(Origin::Head, envelope(7, Message::Ping { tick: 5 }))
        .ok()
        .unwrap();
    assert!(
        pong == [StageEffect::ToHead(envelope(
            7,
            Message::Pong { tick: 5, done: 0 }
        ))]
    );
    let mut stage = joined(0, 1);
    let progress = stage.progress();
    give(&mut stage, open(1));
    give(&mut stage, ids(6, &[run(1, 0, 0, 1, 0)], &[1]));
    assert!(progress.pong(RingId(3), 1) == envelope(3, Message::Pong { tick: 1, done: 6 }));
    assert!(progress.pong(RingId(4), 1) == envelope(4, Message::Pong { tick: 1, done: 0 }));
}

proptest! {
    #[test]
    fn whatever_comes_is_taken_or_refused_within_bounds(
        number in 0u16..3,
        messages in proptest::collection::vec((tests::messages(), 0u32..5, any::<bool>(), 0u64..6), 0..40),
    ) {
        let mut stage = joined(number, 3);
        for (tests::Quiet(mut message), ring, head, sequence) in messages {
            // Most sequences would otherwise be unknown.
            match &mut message {
                Message::Open(open) => {
                    open.sequence = SequenceId(sequence);
                    open.positions %= 70;
                }
                Message::Frame(frame) => frame.runs.iter_mut().for_each(|run| run.pos %= 8),
                _ => {}
            }
            let from = if head { Origin::Head } else { Origin::Previous };
            let effects = stage.handle(from, envelope(ring, message)).unwrap_or_default();
            for effect in effects {
                match effect {
                    StageEffect::ToHead(envelope) | StageEffect::ToNext(envelope) => {
                        prop_assert!(envelope.encode().is_ok(), "what it sends can be sent");
                    }
                    StageEffect::LinkNext { ring, .. } => drop(stage.next_linked(ring)),
                    _ => {}
                }
            }
            prop_assert!(stage.sequences() <= 4);
        }
    }
}
