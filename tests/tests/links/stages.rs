//! T22: the wrong stage joins a pipeline.

use std::time::Duration;

use bastide_attestation::LaunchMeasurement;
use bastide_attestation::link::{CloseCode, FrameType};
use bastide_attested_tls::{LinkEndpoint, LinkPeers, LinkTerms, LinkTimes};
use bastide_attester::simulator::{Generation, SimulatorOptions};
use bastide_verifier::Policy;

use crate::enclave::{Machine, chips, code, context, judged_by, link, members, now, policy_text, terms};
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
    swapped.credential = one.credential([5, 6]).into();
    let mut server = terms(1, 0, members());
    server.credential = two.credential([1, 1]).into();
    let (_, server) = link(&one.with_terms(swapped), &two.with_terms(server)).await;
    let error = server.expect_err("not admitted");
    assert_eq!(error.code(), "link.peer_not_admitted");
    assert!(
        error.end().unwrap().to_string().contains("stages 5 to 6"),
        "{error:?}"
    );
}

/// A machine whose launch measurement is this byte, 48 times.
async fn measured(chip: u8, measurement: u8) -> Machine {
    Machine::boot(SimulatorOptions {
        chip,
        measurement: LaunchMeasurement::new([measurement; 48]),
        ..SimulatorOptions::new(Generation::Genoa, now())
    })
    .await
}

/// The policy of simulated machines with exactly this measurement.
fn requires(measurement: u8) -> Policy {
    let text = policy_text().replace(SIMULATED, &format!("{measurement:02x}").repeat(48));
    Policy::parse(text.as_bytes()).unwrap()
}

const SIMULATED: &str =
    "2e15d0c9e1ac6a61b5672fc0b54c72ac98148c9671a455d6bcd921bcfa4e605a054772e846b52a3e07cfe44d4e4a7e5d";

/// Stage 2 of a ring: the head, stage 0, links to it, and so does stage 1. Each
/// must be another image, on a chip of its own.
async fn stage_2(head: &Machine, before: &Machine, times: LinkTimes) -> (Machine, LinkEndpoint) {
    let peers = LinkPeers::new([
        (0, judged_by(requires(0xa0), chips(&[head.chip]))),
        (1, judged_by(requires(0xa1), chips(&[before.chip]))),
    ]);
    let terms = LinkTerms {
        peers,
        times,
        ..terms(2, 0, members())
    };
    let machine = Machine::on_chip(3).await;
    let endpoint = machine.with_terms(terms);
    (machine, endpoint)
}

#[tokio::test]
async fn t22_an_end_of_several_peers_judges_each_by_the_policy_of_its_own_stage() {
    let (head, before) = (measured(1, 0xa0).await, measured(2, 0xa1).await);
    let (own, server) = stage_2(&head, &before, LinkTimes::default()).await;
    let ours = || chips(&[own.chip]);
    for (machine, stage, expected) in [
        (&head, 0, Ok(0)),
        (&before, 1, Ok(1)),
        // Each with the other's image: good for the pipeline, not for that stage.
        (&before, 0, Err("snp.launch.not_allowed")),
        (&head, 1, Err("snp.launch.not_allowed")),
        // And neither is a stage that this one has nothing to do with.
        (&head, 3, Err("link.context")),
    ] {
        let client = machine.endpoint(stage, 2, ours());
        let (_client, server) = link(&client, &server).await;
        let got = server.map(|link| link.peer().unwrap().hello.context.stage);
        assert_eq!(got.map_err(|error| error.code()), expected, "stage {stage}");
    }
    // Hardware is of a stage, too: the image of stage 1 on the head's chip.
    let moved = measured(1, 0xa1).await;
    let (_client, server) = link(&moved.endpoint(1, 2, ours()), &server).await;
    assert_eq!(code(server), "link.peer_not_admitted");
}

#[tokio::test]
async fn t22_a_stage_that_is_not_in_the_table_gets_hello_and_close_and_nothing_else() {
    let (head, before) = (measured(1, 0xa0).await, measured(2, 0xa1).await);
    let (_own, victim) = stage_2(&head, &before, LinkTimes::default()).await;
    for stage in [2, 3, u16::MAX] {
        let mut rogue = Rogue::connect(&victim).await;
        rogue.greet(context(stage), None).await;
        let (kind, body) = rogue.receive().await.unwrap();
        assert_eq!(
            (kind, body),
            (FrameType::Close, CloseCode::Context.encode().to_vec())
        );
        assert!(rogue.receive().await.is_none());
        let error = rogue.outcome().await.expect_err("refused");
        let why = error.end().unwrap().to_string();
        assert!(
            why.ends_with(&format!("of stage {stage}, expected 0 or 1")),
            "{why}"
        );
    }
}

#[tokio::test]
async fn t22_fresh_evidence_is_judged_by_the_policy_of_the_same_stage() {
    let (head, before) = (measured(1, 0xa0).await, measured(2, 0xa1).await);
    let times = LinkTimes {
        renew_after: Duration::from_millis(300),
        drain_after: Duration::from_millis(900),
        lease: Duration::from_millis(1200),
        renew_gap: Duration::from_millis(50),
        ..LinkTimes::default()
    };
    let (own, server) = stage_2(&head, &before, times).await;
    let mut client = terms(1, 2, chips(&[own.chip]));
    client.times = times;
    let (client, server) = link(&before.with_terms(client), &server).await;
    let (client, mut server) = (client.unwrap(), server.unwrap());
    for number in 0..30_u8 {
        client.send(vec![number]).await.unwrap();
        assert_eq!(server.recv().await, Ok(Some(vec![number])));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let peer = server.peer().unwrap();
    assert_eq!(peer.hello.context.stage, 1);
    assert_eq!(peer.admission.report_id, before.report_id);
}

#[tokio::test]
async fn an_end_connects_only_to_a_stage_that_it_has_a_policy_for() {
    let one = Machine::on_chip(1).await;
    let client = one.endpoint(1, 2, chips(&[one.chip]));
    // Nobody listens there: it isn't asked.
    let error = client.connect(3, "127.0.0.1:9").await.expect_err("no policy");
    assert_eq!(
        error.to_string(),
        "there is no policy for a peer at stage 3; this end links with 2"
    );
}
