//! Frames: what is computed, dropped and refused.

use super::*;

#[test]
fn rows_that_cannot_be_computed_are_a_fault_and_the_others_go_on() {
    let mut stage = joined(0, 1);
    give(&mut stage, open(1));
    give(&mut stage, open(2));
    let effects = give(
        &mut stage,
        ids(
            1,
            &[run(1, 0, 1, 1, 0), run(2, 0, 0, 2, 0), run(3, 0, 0, 1, 0)],
            &[1, 2, 3, 4],
        ),
    );
    let mut sent = sent(effects).into_iter();
    assert!(sent.next() == Some(("head", fault(FaultCode::Gap, 1, 0))));
    assert!(sent.next() == Some(("head", fault(FaultCode::Unknown, 3, 0))));
    let Some(("head", Message::Answer(answer))) = sent.next() else {
        panic!("the frame is answered");
    };
    assert_eq!(answer.runs.len(), 1);
    assert_eq!(
        (answer.runs[0].sequence, answer.runs[0].targets.len()),
        (SequenceId(2), 2)
    );

    let mut middle = joined(1, 3);
    give(&mut middle, open(1));
    give(&mut middle, open(2));
    for bad in [f32::NAN, f32::INFINITY] {
        let mut values = [0.25; 6];
        values[4] = bad;
        let number = if bad.is_nan() { 1 } else { 2 };
        let pos = u32::from(!bad.is_nan());
        let runs = [run(1, 0, pos, 1, 0), run(2, 0, 0, 1, 0)];
        let effects = self::sent(give(&mut middle, activations(number, &runs, &values)));
        assert!(effects[0] == ("head", fault(FaultCode::Forward, 2, 0)));
        assert!(matches!(&effects[1], ("next", Message::Frame(frame)) if frame.runs == runs[..1]));
    }
    // What the layers refuse changes nothing, and the frame goes on with no runs.
    let effects = self::sent(give(
        &mut middle,
        activations(3, &[run(1, 0, 2, 1, 0)], &[0.5; 3]),
    ));
    assert!(effects[0] == ("head", fault(FaultCode::Forward, 1, 0)));
    assert!(
        matches!(&effects[1], ("next", Message::Frame(frame)) if frame.runs.is_empty() && frame.number == 3)
    );
    let effects = self::sent(give(
        &mut middle,
        activations(4, &[run(1, 0, 2, 1, 0)], &[0.25; 3]),
    ));
    assert!(matches!(&effects[..], [("next", Message::Frame(frame))] if frame.runs.len() == 1));
}

#[test]
fn rows_in_vain_and_frames_that_come_again_are_dropped() {
    let cancelled = Cancelled::new();
    let mut stage = stage(0, 1, Signer::default(), cancelled.clone());
    stage
        .handle(Origin::Head, envelope(3, join(0, None)))
        .ok()
        .unwrap();
    give(&mut stage, open(1));
    let answered = |effects: Vec<StageEffect>| match &sent(effects)[..] {
        [("head", Message::Answer(answer))] => answer.runs.len(),
        [] => 99,
        _ => panic!("an answer or nothing"),
    };
    assert_eq!(
        answered(give(&mut stage, ids(1, &[run(1, 0, 0, 3, 0)], &[1, 2, 3]))),
        1
    );
    assert_eq!(
        answered(give(&mut stage, ids(1, &[run(1, 0, 0, 3, 0)], &[1, 2, 3]))),
        99,
        "again"
    );
    // Read ahead of the queue, from another thread.
    cancelled.note(RingId(2), SequenceId(1), Epoch(9));
    cancelled.note(RingId(3), SequenceId(1), Epoch(1));
    cancelled.note(RingId(3), SequenceId(1), Epoch(0));
    assert_eq!(answered(give(&mut stage, ids(2, &[run(1, 0, 3, 1, 0)], &[4]))), 0);
    assert_eq!(answered(give(&mut stage, ids(3, &[run(1, 1, 2, 1, 0)], &[5]))), 1);
    assert_eq!(
        answered(give(&mut stage, ids(4, &[run(1, 0, 3, 1, 0)], &[4]))),
        0,
        "an older epoch"
    );
    // In the next ring the notes of this one are without meaning.
    stage
        .handle(Origin::Head, envelope(4, join(0, None)))
        .ok()
        .unwrap();
    assert!(!cancelled.is_vain(RingId(4), SequenceId(1), Epoch(0)));
    for sequence in 0..3_000 {
        cancelled.note(RingId(4), SequenceId(sequence), Epoch(1));
    }
    assert!(cancelled.is_vain(RingId(4), SequenceId(2_999), Epoch(0)));
    assert!(
        !cancelled.is_vain(RingId(4), SequenceId(0), Epoch(0)),
        "notes are bounded"
    );
}

#[test]
fn a_payload_that_is_not_for_this_stage_closes_the_link() {
    let kind = "pipeline.stage.payload_kind";
    let one = [run(1, 0, 0, 1, 0)];
    assert_eq!(
        refused(
            &mut joined(0, 2),
            Origin::Head,
            3,
            activations(1, &one, &[0.0; 3])
        ),
        kind
    );
    assert_eq!(
        refused(&mut joined(1, 2), Origin::Head, 3, ids(1, &one, &[0])),
        kind
    );
    let short = refused(
        &mut joined(1, 2),
        Origin::Head,
        3,
        activations(1, &one, &[0.0; 2]),
    );
    assert_eq!(short, "pipeline.stage.rows");
    let mut wide = activations(1, &one, &[0.0; 4]);
    if let Message::Frame(Frame {
        payload: Payload::Activations { width, .. },
        ..
    }) = &mut wide
    {
        *width = 4;
    }
    assert_eq!(
        refused(&mut joined(1, 2), Origin::Head, 3, wide),
        "pipeline.stage.width"
    );
}
