//! T3: one's own frames and evidence, sent back on a mutual link.

use bastide_attestation::binding::Role;
use bastide_attestation::link::{CloseCode, FrameType, Hello};
use bastide_attestation::{Evidence, PlatformEvidence};

use crate::enclave::{Machine, chips, code, context};
use crate::rogue::Rogue;

/// The victim admits its own chip, so that nothing but the binding is in the way.
async fn victim() -> (Machine, bastide_attested_tls::LinkEndpoint) {
    let machine = Machine::on_chip(1).await;
    let endpoint = machine.endpoint(1, 0, chips(&[machine.chip]));
    (machine, endpoint)
}

#[tokio::test]
async fn t3_ones_own_evidence_bounced_is_refused() {
    let (_machine, endpoint) = victim().await;
    let mut rogue = Rogue::connect(&endpoint).await;
    // The victim's own HELLO with role and stage turned round: the same challenge.
    let own = Hello::decode(&rogue.expect(FrameType::Hello).await).unwrap();
    let turned = Hello {
        role: Role::Client,
        context: context(0),
        ..own
    };
    rogue.send(FrameType::Hello, &turned.encode().unwrap()).await;
    let evidence = rogue.expect(FrameType::Evidence).await;
    let genuine = Evidence::decode(&evidence).unwrap();
    assert!(matches!(
        genuine.as_unverified().platform,
        PlatformEvidence::Snp(_)
    ));
    rogue.send(FrameType::Evidence, &evidence).await;
    assert_eq!(rogue.expect_close().await, CloseCode::Refused);
    assert_eq!(code(rogue.outcome().await), "session.binding");
}

#[tokio::test]
async fn t3_ones_own_hello_bounced_is_refused() {
    let (_machine, endpoint) = victim().await;
    let mut rogue = Rogue::connect(&endpoint).await;
    let own = rogue.expect(FrameType::Hello).await;
    rogue.send(FrameType::Hello, &own).await;
    assert_eq!(rogue.expect_close().await, CloseCode::Protocol);
    assert_eq!(code(rogue.outcome().await), "link.role");
}

#[tokio::test]
async fn t3_ones_own_confirm_bounced_is_refused() {
    let (machine, endpoint) = victim().await;
    let mut rogue = Rogue::connect(&endpoint).await;
    let hello = rogue.greet(context(0), None).await;
    let evidence = rogue.evidence(&machine.lane, &hello.nonce, context(0)).await;
    rogue.send(FrameType::Evidence, &evidence).await;
    rogue.expect(FrameType::Evidence).await;
    let own = rogue.expect(FrameType::Confirm).await;
    rogue.send(FrameType::Confirm, &own).await;
    assert_eq!(rogue.expect_close().await, CloseCode::Confirm);
    assert_eq!(code(rogue.outcome().await), "link.confirm");
}
