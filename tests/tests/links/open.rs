//! Links that open: who is at the other end, and messages both ways.

use std::time::Duration;

use bastide_attested_tls::{LinkEnd, LinkSendError};

use crate::enclave::{Machine, chips, context, link, members, terms};

#[tokio::test]
async fn two_enclaves_open_a_link_and_each_knows_the_other_by_its_evidence() {
    let (one, two) = (Machine::on_chip(1).await, Machine::on_chip(2).await);
    let client = one.endpoint(0, 1, chips(&[two.chip]));
    let server = two.endpoint(1, 0, chips(&[one.chip]));
    let (client, server) = link(&client, &server).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());

    for (link, stage, machine) in [(&client, 1, &two), (&server, 0, &one)] {
        let peer = link.peer().unwrap();
        assert_eq!(peer.hello.context, context(stage));
        assert_eq!(peer.spki, machine.identity.spki());
        assert_eq!(peer.admission.report_id, machine.report_id);
        assert!(peer.admission.hardware && peer.admission.issuer.is_none());
        assert!(peer.result.verdict.simulated);
    }

    client.send(b"activations".to_vec()).await.unwrap();
    server.send(b"logits".to_vec()).await.unwrap();
    assert_eq!(server.recv().await, Ok(Some(b"activations".to_vec())));
    assert_eq!(client.recv().await, Ok(Some(b"logits".to_vec())));

    // Closed in order: what was sent arrives, and then there is no more.
    client.send(b"last".to_vec()).await.unwrap();
    let closing = tokio::spawn(client.close());
    assert_eq!(server.recv().await, Ok(Some(b"last".to_vec())));
    assert_eq!(server.recv().await, Ok(None));
    assert_eq!(closing.await.unwrap(), Ok(()));
    let late = server.send(b"late".to_vec()).await;
    assert_eq!(late, Err(LinkSendError::Ended(LinkEnd::Done)));
}

#[tokio::test]
async fn members_by_credential_open_a_link_on_any_chip() {
    let (one, two) = (Machine::on_chip(1).await, Machine::on_chip(2).await);
    let client = one.endpoint(4, 5, members());
    let client = client.with_credential(one.credential([4, 4]).into());
    let mut server = terms(5, 4, members());
    server.credential = two.credential([0, 9]).into();
    let (client, server) = link(&client, &two.with_terms(server)).await;
    let (client, server) = (client.unwrap(), server.unwrap());
    for link in [&client, &server] {
        let admission = link.peer().unwrap().admission;
        assert!(!admission.hardware && admission.issuer.is_some());
    }
}

#[tokio::test]
async fn a_sender_is_held_up_by_a_peer_that_does_not_read_and_nothing_is_lost() {
    const MESSAGES: usize = 64;
    let (one, two) = (Machine::on_chip(1).await, Machine::on_chip(2).await);
    let client = one.endpoint(0, 1, chips(&[two.chip]));
    let server = two.endpoint(1, 0, chips(&[one.chip]));
    let (client, server) = link(&client, &server).await;
    let (client, mut server) = (client.unwrap(), server.unwrap());

    let sender = client.sender();
    let sending = tokio::spawn(async move {
        for number in 0..MESSAGES {
            let byte = u8::try_from(number).unwrap();
            sender.send(vec![byte; 1024 * 1024]).await.unwrap();
        }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!sending.is_finished(), "64 MiB wait nowhere");
    for number in 0..MESSAGES {
        let message = server.recv().await.unwrap().unwrap();
        assert_eq!(message.len(), 1024 * 1024);
        assert!(message.iter().all(|byte| usize::from(*byte) == number));
    }
    sending.await.unwrap();
    let too_long = client.send(vec![0; 1024 * 1024 + 1]).await.unwrap_err();
    assert_eq!(too_long, LinkSendError::Length { got: 1024 * 1024 + 1 });
    assert!(
        client.send(b"short".to_vec()).await.is_ok(),
        "the link is as it was"
    );
}

/// Both ends write large frames at once: neither waits for the other to read.
#[tokio::test]
async fn both_ends_sending_at_once_is_no_deadlock() {
    let (one, two) = (Machine::on_chip(1).await, Machine::on_chip(2).await);
    let client = one.endpoint(0, 1, chips(&[two.chip]));
    let server = two.endpoint(1, 0, chips(&[one.chip]));
    let (client, server) = link(&client, &server).await;
    let both = [client.unwrap(), server.unwrap()].map(|mut link| {
        tokio::spawn(async move {
            let sender = link.sender();
            let sending = tokio::spawn(async move {
                for _ in 0..32 {
                    sender.send(vec![7; 1024 * 1024]).await.unwrap();
                }
            });
            for _ in 0..32 {
                assert_eq!(link.recv().await.unwrap().unwrap().len(), 1024 * 1024);
            }
            sending.await.unwrap();
            link
        })
    });
    for end in both {
        tokio::time::timeout(Duration::from_secs(60), end)
            .await
            .unwrap()
            .unwrap();
    }
}
