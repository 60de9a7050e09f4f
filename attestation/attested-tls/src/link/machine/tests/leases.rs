//! Renewal in band, and what becomes of a link that isn't renewed.

use super::*;

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
