//! How the head treats its stages, its clients and its terms.

use std::time::Duration;

use bastide_attestation::Salt;
use bastide_pipeline::head::{Effect, Event, Finish, Head, Loss, Record, Request, Speculation};
use bastide_pipeline::message::{Envelope, Message, Sampling, SequenceId};
use zeroize::Zeroizing;

use crate::stage::{MAX_POSITIONS, evidence};
use crate::world::{Ask, CANDIDATES, Setting, Vice, World, terms};

/// The record of the only answer.
fn record(world: &World) -> &Record {
    world.outcomes[0].record.as_ref().expect("it is complete")
}

fn with_vice(stage: usize, vice: Vice) -> World {
    let mut world = World::new(Setting {
        asks: vec![Ask::long(0, 60)],
        ..Setting::default()
    });
    world.vice = Some((stage * CANDIDATES, 60_000, vice));
    world.run();
    world
}

#[test]
fn a_stage_that_says_nothing_any_more_is_lost_after_three_pings() {
    let mut world = World::new(Setting::default());
    world.run();
    world.vice = Some((CANDIDATES, world.now, Vice::Mute));
    let mut last = world.now;
    while world.head.status().nodes[0] == Some(0) {
        last = world.now;
        assert!(world.step());
    }
    assert!((3_000_000..5_000_000).contains(&last), "{last}");
    assert_eq!(world.head.status().nodes, [Some(1), Some(0)]);
}

#[test]
fn the_first_stage_that_has_not_done_a_frame_is_to_blame() {
    for stage in 1..3 {
        let world = with_vice(stage, Vice::Stuck);
        let replan = record(&world).replans[0];
        assert_eq!(
            (usize::from(replan.stage), replan.why),
            (stage, Loss::Slow.code())
        );
        assert!(replan.position > 5);
    }
}

#[test]
fn a_stage_that_lost_rows_is_replaced() {
    let world = with_vice(2, Vice::Forgetful);
    let replan = record(&world).replans[0];
    assert_eq!((replan.stage, replan.why), (2, Loss::Forgot.code()));
}

#[test]
fn a_stage_that_is_not_the_plans_is_set_aside_and_nothing_sent_before_all_are() {
    let tampers: [fn(&mut Envelope); 6] = [
        |envelope| ready(envelope, |ready| ready.plan[0] ^= 1),
        |envelope| ready(envelope, |ready| ready.weights[31] ^= 1),
        |envelope| ready(envelope, |ready| ready.engine[5] ^= 1),
        |envelope| ready(envelope, |ready| ready.stage ^= 1),
        |envelope| ready(envelope, |ready| ready.max_positions -= 1),
        |envelope| ready(envelope, |ready| ready.max_sequences = 0),
    ];
    for tamper in tampers {
        let mut world = World::new(Setting::default());
        world.tamper = Some(tamper);
        world.tampers = 1;
        world.run();
        assert!(
            record(&world).replans.is_empty(),
            "no frame was on the first ring"
        );
        let status = world.head.status();
        assert_eq!(status.counts.lost, 1);
        assert!(status.ring >= 2);
    }
}

fn ready(envelope: &mut Envelope, change: impl Fn(&mut bastide_pipeline::message::Ready)) {
    if let Message::Ready(ready) = &mut envelope.message {
        change(ready);
    }
}

fn answer(envelope: &mut Envelope, change: impl Fn(&mut bastide_pipeline::message::Answer)) {
    if let Message::Answer(answer) = &mut envelope.message
        && answer.number == 3
    {
        change(answer);
    }
}

#[test]
fn a_tail_whose_answer_makes_no_sense_is_lost_and_nothing_of_it_emitted() {
    let tampers: [fn(&mut Envelope); 9] = [
        |envelope| answer(envelope, |answer| answer.number = 0),
        |envelope| answer(envelope, |answer| answer.number = 1 << 40),
        |envelope| answer(envelope, |answer| answer.runs[0].targets.clear()),
        |envelope| answer(envelope, |answer| answer.runs[0].targets[0].id = 97),
        |envelope| answer(envelope, |answer| answer.runs[0].targets[0].top.push((1, 0.0))),
        |envelope| answer(envelope, |answer| answer.runs[0].pos += 1),
        |envelope| answer(envelope, |answer| answer.runs[0].epoch.0 += 1),
        |envelope| answer(envelope, |answer| answer.runs[0].sequence.0 += 1),
        |envelope| {
            answer(envelope, |answer| {
                let again = answer.runs[0].clone();
                answer.runs.push(again);
            });
        },
    ];
    for tamper in tampers {
        let mut world = World::new(Setting::default());
        world.tamper = Some(tamper);
        world.tampers = 1;
        world.run();
        let replan = record(&world).replans[0];
        assert_eq!((replan.stage, replan.why), (2, Loss::Nonsense.code()));
    }
}

#[test]
fn an_answer_that_leaves_a_run_out_is_late() {
    let mut world = World::new(Setting::default());
    world.tamper = Some(|envelope| answer(envelope, |answer| answer.runs.clear()));
    world.tampers = 1;
    world.run();
    let replan = record(&world).replans[0];
    assert_eq!((replan.stage, replan.why), (2, Loss::Slow.code()));
}

#[test]
fn what_only_a_head_says_is_nonsense_from_a_stage() {
    let mut world = World::new(Setting::default());
    world.tamper = Some(|envelope| {
        if let Message::Answer(answer) = &envelope.message
            && answer.number == 4
        {
            envelope.message = Message::Ping { tick: 1 };
        }
    });
    world.tampers = 1;
    world.run();
    assert_eq!(record(&world).replans[0].why, Loss::Nonsense.code());
}

#[test]
fn without_a_stage_answers_fail_in_time_and_the_head_does_not_spin() {
    let mut world = World::new(Setting {
        asks: vec![Ask::long(0, 60)],
        ..Setting::default()
    });
    world.doomed = true;
    for node in [2, 3] {
        world.crash(node);
    }
    while !world.outcomes[0].over() {
        if world.ticks == 0 {
            world.begin();
        }
        assert!(world.step());
    }
    assert_eq!(world.outcomes[0].failed, Some("pipeline.no_stage"));
    assert!((30_000_000..31_000_000).contains(&world.now));
    assert!(world.ticks < 500, "{} ticks", world.ticks);
}

#[test]
fn a_stop_string_ends_the_answer_where_it_was_found() {
    for speculation in [
        Speculation::Off,
        Speculation::Synchronous { k: 8 },
        Speculation::Pipelined { k: 3, depth: 6 },
    ] {
        for stop in 1..20 {
            let ask = Ask {
                stop: Some(stop),
                ..Ask::long(0, 40)
            };
            let mut world = World::new(Setting {
                speculation,
                asks: vec![ask],
                ..Setting::default()
            });
            world.run();
            assert_eq!(
                (record(&world).finish, record(&world).produced),
                (Finish::Stop, stop)
            );
        }
    }
}

#[test]
fn a_stop_that_comes_late_covers_what_stages_were_told_is_final() {
    for later in 0..60 {
        for speculation in [Speculation::Off, Speculation::Pipelined { k: 2, depth: 8 }] {
            let asks = vec![Ask::long(0, 60)];
            let mut world = World::new(Setting {
                speculation,
                asks,
                ..Setting::default()
            });
            world.begin();
            while world.outcomes[0].emitted.len() < 12 {
                assert!(world.step());
            }
            // Other things happen before the stop is told.
            for _ in 0..later {
                world.step();
            }
            world.tell(Event::Tick);
            let produced = u32::try_from(world.outcomes[0].emitted.len()).unwrap() - later % 3;
            let sequence = SequenceId(0);
            world.tell(Event::Stop { sequence, produced });
            let emitted = world.outcomes[0].emitted.len();
            while !world.outcomes[0].over() {
                assert!(world.step());
            }
            assert_eq!(world.outcomes[0].emitted.len(), emitted, "nothing after the stop");
            let record = record(&world);
            assert!(record.produced >= produced && record.replans.is_empty());
            world.setting.asks[0].budget = record.produced;
            world.check();
        }
    }
}

#[test]
fn one_loss_is_one_loss_however_often_it_is_told() {
    let mut world = World::new(Setting {
        stages: 4,
        repeats: 1_000,
        asks: vec![Ask::long(0, 60)],
        ..Setting::default()
    });
    world.begin();
    while world.outcomes[0].emitted.len() < 5 {
        assert!(world.step());
    }
    world.crash(2 * CANDIDATES);
    while !world.outcomes[0].over() {
        assert!(world.step());
    }
    world.check();
    assert_eq!(world.head.status().counts.lost, 1);
    assert_eq!(record(&world).replans.len(), 1);
}

#[test]
fn nothing_of_an_answer_stays_at_a_stage_however_it_ended() {
    let asks = vec![
        Ask::long(0, 30),
        Ask {
            stop: Some(7),
            ..Ask::long(1, 30)
        },
        Ask {
            cancel: Some(5),
            ..Ask::long(2, 30)
        },
    ];
    let speculation = Speculation::Pipelined { k: 2, depth: 4 };
    let mut world = World::new(Setting {
        speculation,
        asks,
        ..Setting::default()
    });
    world.run();
    let end = world.now + 500_000;
    while world.now < end && world.step() {}
    assert_eq!(world.held(), 0);
    let status = world.head.status();
    assert_eq!((status.running, status.waiting, status.frames), (0, 0, 0));
}

#[test]
fn every_stage_answers_a_challenge_and_one_that_is_lost_for_good_has_no_evidence() {
    let mut world = World::new(Setting::default());
    world.run();
    world.challenge(5);
    while world.evidence.len() < 3 {
        assert!(world.step());
    }
    world.evidence.sort();
    for (stage, answer) in (0u16..).zip(world.evidence.drain(..)) {
        assert_eq!(answer, (5, stage, Some(evidence(&[9; 32], stage))));
    }
    world.doomed = true;
    world.crash(2);
    world.crash(3);
    world.challenge(6);
    while world.evidence.len() < 3 {
        assert!(world.step());
    }
    world.evidence.sort();
    assert_eq!(world.evidence[1], (6, 1, None));
}

#[test]
fn evidence_asked_for_before_the_first_ring_or_while_a_stage_is_replaced_is_that_of_every_stage() {
    let mut world = World::new(Setting::default());
    world.begin();
    world.challenge(5);
    while world.evidence.len() < 3 {
        assert!(world.step());
    }
    world.crash(2);
    world.challenge(6);
    while world.evidence.len() < 6 {
        assert!(world.step());
    }
    for (_, stage, envelope) in &world.evidence {
        assert_eq!(envelope.as_ref(), Some(&evidence(&[9; 32], *stage)));
    }
}

#[test]
fn answers_share_frames_and_none_waits_for_another() {
    let asks: Vec<Ask> = (0..16).map(|which| Ask::long(which, 40)).collect();
    let mut world = World::new(Setting {
        steady: true,
        hop: 500,
        max_sequences: 16,
        asks,
        ..Setting::default()
    });
    world.run();
    let counts = world.head.status().counts;
    assert_eq!(counts.emitted, 16 * 40);
    assert!(counts.frames * 2 < counts.emitted, "{} frames", counts.frames);
    assert!(world.most_frames >= 3, "a frame for each stage");
}

fn request(id: u64, prompt: Vec<u32>, budget: u32, sampling: Sampling) -> Event {
    Event::Submit(Request {
        sequence: SequenceId(id),
        prompt: Zeroizing::new(prompt),
        budget,
        sampling,
        salt: Salt::new([0; 32]),
    })
}

#[test]
fn requests_that_do_not_fit_are_refused_and_how_many_wait_is_bounded() {
    let good = Sampling {
        temperature: 0.0,
        top_p: 1.0,
        seed: 0,
        top_logprobs: None,
    };
    let mut head = Head::new(terms(2, Speculation::Off, 3));
    head.start(Duration::ZERO);
    let mut refused = |event| match head.handle(Duration::ZERO, event).as_slice() {
        [] => None,
        [Effect::Failed { code, .. }] => Some(*code),
        _ => panic!("another effect"),
    };
    let long = vec![1; usize::try_from(MAX_POSITIONS).unwrap()];
    for (event, code) in [
        (request(1, vec![], 5, good), "generate.empty_prompt"),
        (request(1, long, 5, good), "generate.prompt_too_long"),
        (request(1, vec![1], 0, good), "generate.parameter"),
        (request(1, vec![97], 5, good), "pipeline.vocabulary"),
        (
            request(
                1,
                vec![1],
                5,
                Sampling {
                    temperature: f32::NAN,
                    ..good
                },
            ),
            "generate.parameter",
        ),
        (
            request(1, vec![1], 5, Sampling { top_p: 0.0, ..good }),
            "generate.parameter",
        ),
        (
            request(
                1,
                vec![1],
                5,
                Sampling {
                    top_logprobs: Some(21),
                    ..good
                },
            ),
            "generate.parameter",
        ),
    ] {
        assert_eq!(refused(event), Some(code));
    }
    for id in 0..3 + 64 {
        assert_eq!(refused(request(id, vec![1], 5, good)), None);
        // The same number again is none the wiser.
        assert_eq!(refused(request(id, vec![1], 5, good)), None);
    }
    assert_eq!(refused(request(99, vec![1], 5, good)), Some("pipeline.busy"));
}
