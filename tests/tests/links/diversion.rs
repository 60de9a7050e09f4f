//! T6: the genuine image on a chip of the attacker's. Its evidence is as good as
//! any; what it lacks is hardware of ours, or a credential.

use bastide_attestation::link::{CloseCode, FrameType};
use bastide_attestation::{CredentialClaims, ReportId, UnixTime};

use crate::enclave::{
    MODEL, Machine, OTHER_SPKI, PIPELINE, chips, code, context, credential, link, members, now, terms,
};
use crate::rogue::Rogue;

#[tokio::test]
async fn t6_a_genuine_image_on_an_unknown_chip_is_not_admitted() {
    let (ours, theirs) = (Machine::on_chip(1).await, Machine::on_chip(66).await);
    let server = ours.endpoint(1, 0, chips(&[ours.chip]));
    // The attacker's end admits ours: it wants the link.
    let client = theirs.endpoint(0, 1, chips(&[ours.chip]));
    let (client, server) = link(&client, &server).await;
    let error = server.expect_err("not admitted");
    assert_eq!(error.code(), "link.peer_not_admitted");
    let why = error.end().unwrap().to_string();
    assert!(
        why.contains("hardware is in no set") && why.contains("no membership credential"),
        "{why}"
    );
    let told = client.expect_err("closed by the peer");
    assert_eq!(told.code(), "link.peer_closed");
    assert!(
        told.end().unwrap().to_string().contains("does not admit"),
        "{told:?}"
    );
}

#[tokio::test]
async fn t6_a_credential_of_another_guest_key_owner_or_time_admits_nobody() {
    let (ours, theirs) = (Machine::on_chip(1).await, Machine::on_chip(66).await);
    let good = CredentialClaims {
        not_before: UnixTime::from_secs(now().as_secs() - 60),
        expires: UnixTime::from_secs(now().as_secs() + 60),
        spki: theirs.identity.spki(),
        report_id: theirs.report_id,
        pipeline: PIPELINE,
        stages: [0, 0],
        model: MODEL,
    };
    let mut own = terms(1, 0, members());
    own.credential = ours.credential([1, 1]).into();
    let server = ours.with_terms(own);
    let attempt = async |credential: Vec<u8>| {
        let mut terms = terms(0, 1, members());
        terms.credential = credential.into();
        let (_, server) = link(&theirs.with_terms(terms), &server).await;
        server
    };
    // With a good one it would be let in: nothing else is in the way.
    assert!(attempt(credential(&good)).await.is_ok());
    let mut forged = credential(&good);
    *forged.last_mut().unwrap() ^= 1;
    let bad = [
        // The one that our own enclave has.
        ours.credential([1, 1]),
        credential(&CredentialClaims {
            report_id: ReportId::new([7; 32]),
            ..good
        }),
        credential(&CredentialClaims {
            spki: OTHER_SPKI,
            ..good
        }),
        credential(&CredentialClaims {
            not_before: UnixTime::from_secs(now().as_secs() - 60),
            expires: UnixTime::from_secs(now().as_secs() - 30),
            ..good
        }),
        forged,
        vec![0xd2],
    ];
    for (number, credential) in bad.into_iter().enumerate() {
        assert_eq!(
            code(attempt(credential).await),
            "link.peer_not_admitted",
            "{number}"
        );
    }
}

/// A member's credential and SPKI are no secrets; its REPORT_ID is nobody else's.
#[tokio::test]
async fn t6_a_stolen_credential_is_of_no_use_with_another_guests_evidence() {
    let (member, theirs) = (Machine::on_chip(1).await, Machine::on_chip(66).await);
    let victim = member.endpoint(1, 0, members());
    let mut rogue = Rogue::connect(&victim).await;
    // Even if the owner had bound it to the thief's key.
    let credential = credential(&CredentialClaims {
        not_before: UnixTime::from_secs(now().as_secs() - 60),
        expires: UnixTime::from_secs(now().as_secs() + 60),
        spki: rogue.spki_own,
        report_id: member.report_id,
        pipeline: PIPELINE,
        stages: [0, 0],
        model: MODEL,
    });
    let hello = rogue.greet(context(0), Some(credential)).await;
    let evidence = rogue.evidence(&theirs.lane, &hello.nonce, context(0)).await;
    rogue.send(FrameType::Evidence, &evidence).await;
    assert_eq!(rogue.expect_close().await, CloseCode::NotAdmitted);
    let error = rogue.outcome().await.expect_err("not admitted");
    assert!(
        error.end().unwrap().to_string().contains("REPORT_ID"),
        "{error:?}"
    );
}
