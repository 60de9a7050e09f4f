//! Evidence that must not open a link: none, of another image, of another
//! session, of before. No message reaches the application in any of these.

use bastide_attestation::link::{CloseCode, FrameType};
use bastide_attestation::{LaunchMeasurement, Nonce};
use bastide_attested_tls::LinkTimes;
use bastide_attester::simulator::{Generation, SimulatorOptions};
use std::time::Duration;

use crate::enclave::{Machine, chips, code, context, link, now, terms};
use crate::rogue::Rogue;

#[tokio::test]
async fn an_enclave_of_another_measurement_is_refused() {
    let ours = Machine::on_chip(1).await;
    let theirs = Machine::boot(SimulatorOptions {
        chip: 2,
        measurement: LaunchMeasurement::new([0x13; 48]),
        ..SimulatorOptions::new(Generation::Genoa, now())
    })
    .await;
    let server = ours.endpoint(1, 0, chips(&[theirs.chip]));
    let client = theirs.endpoint(0, 1, chips(&[ours.chip]));
    let (client, server) = link(&client, &server).await;
    assert_eq!(code(server), "snp.launch.not_allowed");
    assert_eq!(code(client), "link.peer_closed");
}

/// T1: whoever stands between two genuine enclaves can pass one's challenge to
/// the other, and gets evidence for that challenge; on another session.
#[tokio::test]
async fn t1_evidence_relayed_from_a_session_with_the_genuine_enclave_is_refused() {
    let (victim, genuine) = (Machine::on_chip(1).await, Machine::on_chip(2).await);
    let victims_end = victim.endpoint(1, 0, chips(&[genuine.chip]));
    let genuine_end = genuine.endpoint(0, 1, chips(&[victim.chip]));
    let mut to_victim = Rogue::connect(&victims_end).await;
    let challenge = to_victim.greet(context(0), None).await.nonce;
    let mut to_genuine = Rogue::connect(&genuine_end).await;
    to_genuine.greet_with(challenge, context(1), None).await;
    let evidence = to_genuine.expect(FrameType::Evidence).await;
    to_victim.send(FrameType::Evidence, &evidence).await;
    assert_eq!(to_victim.expect_close().await, CloseCode::Refused);
    assert_eq!(code(to_victim.outcome().await), "session.binding");
}

#[tokio::test]
async fn t2_evidence_of_an_earlier_session_is_refused() {
    let (ours, theirs) = (Machine::on_chip(1).await, Machine::on_chip(2).await);
    let victim = ours.endpoint(1, 0, chips(&[theirs.chip]));
    let mut first = Rogue::connect(&victim).await;
    let hello = first.greet(context(0), None).await;
    let evidence = first.evidence(&theirs.lane, &hello.nonce, context(0)).await;
    first.send(FrameType::Evidence, &evidence).await;
    first.expect(FrameType::Evidence).await;
    first.expect(FrameType::Confirm).await;
    drop(first);

    let mut second = Rogue::connect(&victim).await;
    second.greet(context(0), None).await;
    second.send(FrameType::Evidence, &evidence).await;
    assert_eq!(second.expect_close().await, CloseCode::Refused);
    assert_eq!(code(second.outcome().await), "session.binding");
}

#[tokio::test]
async fn t2_evidence_for_another_challenge_of_the_same_session_is_refused() {
    let (ours, theirs) = (Machine::on_chip(1).await, Machine::on_chip(2).await);
    let victim = ours.endpoint(1, 0, chips(&[theirs.chip]));
    let mut rogue = Rogue::connect(&victim).await;
    rogue.greet(context(0), None).await;
    let evidence = rogue
        .evidence(&theirs.lane, &Nonce::new([1; 32]), context(0))
        .await;
    rogue.send(FrameType::Evidence, &evidence).await;
    assert_eq!(rogue.expect_close().await, CloseCode::Refused);
    assert_eq!(code(rogue.outcome().await), "session.binding");
}

#[tokio::test]
async fn a_peer_that_cannot_read_the_evidence_frame_format_is_refused() {
    let ours = Machine::on_chip(1).await;
    let victim = ours.endpoint(1, 0, chips(&[ours.chip]));
    let mut rogue = Rogue::connect(&victim).await;
    rogue.greet(context(0), None).await;
    rogue.send(FrameType::Evidence, b"no envelope").await;
    assert_eq!(rogue.expect_close().await, CloseCode::Refused);
    assert_eq!(code(rogue.outcome().await), "evidence.malformed");
}

#[tokio::test]
async fn a_peer_without_evidence_gets_no_further_than_hello() {
    let ours = Machine::on_chip(1).await;
    let victim = ours.endpoint(1, 0, chips(&[ours.chip]));
    for kind in [
        FrameType::Confirm,
        FrameType::Open,
        FrameType::Renew,
        FrameType::Hello,
    ] {
        let mut rogue = Rogue::connect(&victim).await;
        rogue.greet(context(0), None).await;
        rogue.send(kind, &vec![1; kind.bounds().0]).await;
        assert_eq!(rogue.expect_close().await, CloseCode::Protocol);
        assert_eq!(code(rogue.outcome().await), "link.protocol", "{kind}");
    }
    let mut rogue = Rogue::connect(&victim).await;
    rogue.greet(context(0), None).await;
    rogue.send(FrameType::Data, b"a message").await;
    assert_eq!(rogue.expect_close().await, CloseCode::Protocol);
    assert_eq!(code(rogue.outcome().await), "link.early_data");
}

#[tokio::test]
async fn data_after_evidence_and_before_confirm_closes_the_link() {
    let (ours, theirs) = (Machine::on_chip(1).await, Machine::on_chip(2).await);
    let victim = ours.endpoint(1, 0, chips(&[theirs.chip]));
    for confirm in [false, true] {
        let mut rogue = Rogue::connect(&victim).await;
        let hello = rogue.greet(context(0), None).await;
        let evidence = rogue.evidence(&theirs.lane, &hello.nonce, context(0)).await;
        rogue.send(FrameType::Evidence, &evidence).await;
        rogue.expect(FrameType::Evidence).await;
        let own = rogue.confirm();
        rogue.expect(FrameType::Confirm).await;
        if confirm {
            rogue.send(FrameType::Confirm, &own).await;
            rogue.expect(FrameType::Open).await;
        }
        rogue.send(FrameType::Data, b"a message").await;
        assert_eq!(rogue.expect_close().await, CloseCode::Protocol);
        assert_eq!(code(rogue.outcome().await), "link.early_data");
    }
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_given_up() {
    let ours = Machine::on_chip(1).await;
    let mut impatient = terms(1, 0, chips(&[ours.chip]));
    impatient.times = LinkTimes {
        hello: Duration::from_millis(300),
        evidence: Duration::from_millis(300),
        ..LinkTimes::default()
    };
    let victim = ours.with_terms(impatient);
    let mut rogue = Rogue::connect(&victim).await;
    assert_eq!(rogue.expect_close().await, CloseCode::TimedOut);
    let error = rogue.outcome().await.expect_err("given up");
    assert_eq!(error.code(), "link.timeout");
    assert!(error.end().unwrap().to_string().contains("HELLO"), "{error:?}");

    let mut rogue = Rogue::connect(&victim).await;
    rogue.greet(context(0), None).await;
    assert_eq!(rogue.expect_close().await, CloseCode::TimedOut);
    let error = rogue.outcome().await.expect_err("given up");
    assert!(error.end().unwrap().to_string().contains("EVIDENCE"), "{error:?}");
}
