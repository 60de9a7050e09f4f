//! T22: the wrong stage joins a pipeline.

use bastide_attestation::link::{CloseCode, FrameType};

use crate::enclave::{Machine, chips, code, context, link, members, terms};
use crate::rogue::Rogue;

#[tokio::test]
async fn t22_an_enclave_of_another_stage_is_refused() {
    let (one, two) = (Machine::on_chip(1).await, Machine::on_chip(2).await);
    let server = two.endpoint(1, 0, chips(&[one.chip]));
    let client = one.endpoint(3, 1, chips(&[two.chip]));
    let (_, server) = link(&client, &server).await;
    assert_eq!(code(server), "link.context");
}

#[tokio::test]
async fn t22_evidence_for_one_stage_is_of_no_use_for_another() {
    let (ours, theirs) = (Machine::on_chip(1).await, Machine::on_chip(2).await);
    let victim = ours.endpoint(4, 3, chips(&[theirs.chip]));
    for (stage, refused) in [(3, false), (4, true), (0, true)] {
        let mut rogue = Rogue::connect(&victim).await;
        // It says 3, as the victim wants, and has evidence for another stage.
        let hello = rogue.greet(context(3), None).await;
        let evidence = rogue.evidence(&theirs.lane, &hello.nonce, context(stage)).await;
        rogue.send(FrameType::Evidence, &evidence).await;
        rogue.expect(FrameType::Evidence).await;
        if refused {
            assert_eq!(rogue.expect_close().await, CloseCode::Refused);
            assert_eq!(code(rogue.outcome().await), "session.binding");
        } else {
            rogue.expect(FrameType::Confirm).await;
        }
    }
}

#[tokio::test]
async fn t22_a_member_that_takes_a_stage_not_in_its_credential_is_not_admitted() {
    let (one, two) = (Machine::on_chip(1).await, Machine::on_chip(2).await);
    let mut swapped = terms(0, 1, members());
    swapped.credential = Some(one.credential([5, 6]));
    let mut server = terms(1, 0, members());
    server.credential = Some(two.credential([1, 1]));
    let (_, server) = link(&one.with_terms(swapped), &two.with_terms(server)).await;
    let error = server.expect_err("not admitted");
    assert_eq!(error.code(), "link.peer_not_admitted");
    assert!(
        error.end().unwrap().to_string().contains("stages 5 to 6"),
        "{error:?}"
    );
}
