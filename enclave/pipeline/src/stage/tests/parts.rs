//! What a stage vouches for: parts of receipts, and evidence.

use proptest::prelude::*;

use super::small::Chain;
use super::*;

#[test]
fn evidence_goes_to_the_head_in_pieces_and_challenges_are_bounded() {
    let mut stage = joined(1, 2);
    let challenge = |id| Message::Challenge {
        id,
        nonce: Nonce::new([4; 32]),
    };
    assert_eq!(names(&give(&mut stage, challenge(1))), ["attest"]);
    let whole: Vec<u8> = (0..200_000u32)
        .map(|index| (index % 251).to_le_bytes()[0])
        .collect();
    let mut got = Vec::new();
    for (index, effect) in stage.evidence(1, Some(whole.clone())).into_iter().enumerate() {
        let StageEffect::ToHead(envelope) = effect else {
            panic!("to the head")
        };
        assert_eq!(
            envelope.encode().unwrap().len(),
            if index < 3 { 65_536 } else { 16_384 }
        );
        let Message::Evidence(piece) = envelope.message else {
            panic!("evidence")
        };
        assert_eq!((piece.id, usize::from(piece.part), piece.parts), (1, index, 4));
        got.extend(piece.bytes);
    }
    assert!(got == whole);
    assert!(stage.evidence(1, Some(whole)).is_empty(), "asked for once");
    let empty = |effects: Vec<StageEffect>| match &sent(effects)[..] {
        [("head", Message::Evidence(piece))] => piece.bytes.is_empty() && piece.parts == 1,
        _ => false,
    };
    give(&mut stage, challenge(2));
    assert!(empty(stage.evidence(2, None)));
    give(&mut stage, challenge(3));
    assert!(
        empty(stage.evidence(3, Some(vec![0; 300_000]))),
        "too long to be one"
    );
    for id in 10..26 {
        assert_eq!(names(&give(&mut stage, challenge(id))), ["attest"]);
    }
    assert!(empty(give(&mut stage, challenge(26))), "no more at once");
}

#[test]
fn a_part_is_signed_of_exactly_the_final_rows_or_not_at_all() {
    let code = |effects: Vec<StageEffect>| match &sent(effects)[..] {
        [("head", Message::Fault(fault))] => Some(fault.code),
        [("head", Message::Part(_))] => None,
        _ => panic!("a part or a fault"),
    };
    let with_rows = || {
        let mut stage = joined(0, 1);
        give(&mut stage, open(1));
        give(&mut stage, ids(1, &[run(1, 0, 0, 3, 2)], &[1, 2, 3]));
        stage
    };
    for (rows, expected) in [
        (1, Some(FaultCode::Gap)),
        (2, None),
        (3, None),
        (4, Some(FaultCode::Gap)),
    ] {
        let mut stage = with_rows();
        assert_eq!(
            code(give(&mut stage, finish(1, 0, rows))),
            expected,
            "{rows} rows"
        );
        assert_eq!(stage.sequences(), 0, "forgotten either way");
    }
    let mut stage = with_rows();
    assert_eq!(code(give(&mut stage, finish(2, 0, 3))), Some(FaultCode::Unknown));
    let below = sent(give(&mut stage, ids(2, &[run(1, 0, 1, 1, 2)], &[7])));
    assert!(
        below[0] == ("head", fault(FaultCode::Gap, 1, 0)),
        "a final row is not computed anew"
    );
    give(&mut stage, ids(3, &[run(1, 2, 3, 1, 2)], &[7]));
    assert!(give(&mut stage, finish(1, 1, 3)).is_empty(), "of an older epoch");

    let mut failing = small::stage(0, 1, Signer(std::sync::Arc::default(), true), Cancelled::new());
    failing
        .handle(Origin::Head, envelope(3, join(0, None)))
        .ok()
        .unwrap();
    give(&mut failing, open(1));
    assert_eq!(
        code(give(&mut failing, finish(1, 0, 0))),
        Some(FaultCode::Signing)
    );
}

proptest! {
    /// However the rows were cut, thrown away and sent again, every stage's part joins with its
    /// neighbours', and the ends are the ids that were kept and their targets.
    #[test]
    fn parts_join_whatever_was_thrown_away(
        stages in 1u16..5,
        steps in proptest::collection::vec((0u32..5, 1u16..5, any::<bool>()), 1..9),
    ) {
        let mut chain = Chain::new(stages);
        chain.send(open(1));
        let (mut kept, mut answers): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        let (mut committed, mut epoch) = (0u32, 0);
        for (number, (back, count, settle)) in (1u64..).zip(steps) {
            let len = u32::try_from(kept.len()).unwrap();
            let pos = len.saturating_sub(back).max(committed);
            epoch += u32::from(pos < len);
            kept.truncate(pos.try_into().unwrap());
            answers.truncate(pos.try_into().unwrap());
            if settle {
                committed = pos;
            }
            let new: Vec<u32> = (0..u32::from(count)).map(|i| i * 7 + u32::try_from(number).unwrap() * 31).collect();
            kept.extend(&new);
            let got = chain.send(ids(number, &[run(1, epoch, pos, count, committed)], &new));
            let [Message::Answer(answer)] = &got[..] else { panic!("an answer") };
            prop_assert_eq!(answer.runs[0].pos, pos);
            answers.extend(answer.runs[0].targets.iter().map(|target| target.id));
        }
        let parts = chain.send(finish(1, epoch, kept.len().try_into().unwrap()));
        prop_assert_eq!(parts.len(), usize::from(stages));
        let parts: Vec<PartContent> = chain.signers.iter().map(|signer| signer.0.lock().unwrap()[0].clone()).collect();
        let digest = |ids: &[u32], first: u64| {
            let mut rows = RowsDigest::new(&SALT);
            for (pos, id) in (first..).zip(ids) {
                rows.push(&row_digest(&SALT, pos, &id.to_le_bytes()));
            }
            rows.finish()
        };
        prop_assert_eq!(parts[0].input, digest(&kept, 0));
        prop_assert_eq!(parts.last().unwrap().output, digest(&answers, 1));
        prop_assert!(parts.windows(2).all(|pair| pair[0].output == pair[1].input && pair[0].rows == pair[1].rows));
        // One stage, all at once, comes to the same targets.
        let mut whole = Chain::new(stages);
        whole.send(open(1));
        let got = whole.send(ids(1, &[run(1, 0, 0, u16::try_from(kept.len()).unwrap(), 0)], &kept));
        let [Message::Answer(answer)] = &got[..] else { panic!("an answer") };
        prop_assert!(answer.runs[0].targets.iter().map(|target| target.id).eq(answers));
    }
}
