//! Answers over whole rings.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bastide_attestation::{Evidence, Nonce};
use bastide_pipeline::head::{Finish, Speculation};
use bastide_pipeline::node::HeadUpdate;

use crate::ring::{Fleet, PROMPT, addresses, ask, assert_parts_join, load, plain, read, sampling};

const PIPELINED: Speculation = Speculation::Pipelined { k: 4, depth: 4 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_to_four_stages_say_what_one_node_says() {
    let model = load(None);
    for stages in 1..=4 {
        let fleet = Fleet::new(stages, 1).await;
        let ring = fleet.start().await;
        for speculation in [Speculation::Off, Speculation::Synchronous { k: 4 }, PIPELINED] {
            let head = fleet.start_head(addresses(&ring), speculation);
            for seed in [None, Some(7)] {
                let sampling = sampling(seed);
                let expected = plain(&model, PROMPT, 24, &sampling);
                let mut answer = head.submit(ask(PROMPT, 24, sampling, None)).await.unwrap();
                let (ids, record) = read(&mut answer).await;
                assert_eq!(ids, expected, "{stages} stages, {speculation:?}, seed {seed:?}");
                let record = record.unwrap();
                assert_parts_join(&record, stages);
                assert!(record.replans.is_empty());
                assert!(answer.next().await.is_none());
            }
            let status = head.status().await.unwrap();
            assert!(status.whole && status.running == 0, "{status:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_answers_at_once_are_each_what_one_node_says() {
    let model = load(None);
    let fleet = Fleet::new(3, 1).await;
    let ring = fleet.start().await;
    let head = fleet.start_head(addresses(&ring), PIPELINED);
    let mut running = Vec::new();
    // More than are held at once: the rest wait for a place.
    for number in 0..24_u64 {
        let (prompt, sampling) = (format!("{PROMPT} {number}"), sampling(Some(number)));
        let expected = plain(&model, &prompt, 16, &sampling);
        let head = head.clone();
        running.push(tokio::spawn(async move {
            let mut answer = head.submit(ask(&prompt, 16, sampling, None)).await.unwrap();
            let (ids, record) = read(&mut answer).await;
            assert_eq!(ids, expected, "answer {number}");
            assert_parts_join(&record.unwrap(), 3);
        }));
    }
    for answer in running {
        answer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_stops_where_its_reader_says_and_the_receipt_covers_no_more() {
    let model = load(None);
    let expected = plain(&model, PROMPT, 24, &sampling(None));
    let fleet = Fleet::new(2, 1).await;
    let ring = fleet.start().await;
    let head = fleet.start_head(addresses(&ring), PIPELINED);
    for stop_at in [1, 2, 7, 8] {
        let seen = Arc::new(Mutex::new(0));
        let looked = Arc::clone(&seen);
        let stop = Box::new(move |targets: &[bastide_pipeline::message::Target]| {
            let mut seen = looked.lock().unwrap();
            *seen += targets.len();
            (*seen >= stop_at).then(|| u32::try_from(stop_at).unwrap())
        });
        let asked = ask(PROMPT, 24, sampling(None), Some(stop));
        let prompt = u32::try_from(asked.prompt.len()).unwrap();
        let mut answer = head.submit(asked).await.unwrap();
        let (ids, record) = read(&mut answer).await;
        assert_eq!(ids, expected[..stop_at]);
        let record = record.unwrap();
        assert_eq!(record.finish, Finish::Stop);
        assert_eq!(record.produced, u32::try_from(stop_at).unwrap());
        assert_eq!(record.rows, prompt + record.produced - 1);
        assert_parts_join(&record, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_reads_any_more_ends_and_the_others_go_on() {
    let fleet = Fleet::new(2, 1).await;
    let ring = fleet.start().await;
    let head = fleet.start_head(addresses(&ring), PIPELINED);
    let mut first = head.submit(ask(PROMPT, 400, sampling(None), None)).await.unwrap();
    assert!(matches!(first.next().await, Some(HeadUpdate::Tokens(_))));
    drop(first);
    // One that is dropped before the head has looked at it.
    drop(head.submit(ask(PROMPT, 400, sampling(None), None)).await.unwrap());
    let mut second = head.submit(ask(PROMPT, 8, sampling(None), None)).await.unwrap();
    assert!(read(&mut second).await.1.is_ok());
    let ended = async {
        while head.status().await.unwrap().running > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), ended).await.unwrap();
}

/// Tokens wait for a reader that sleeps, and nobody else does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_reads_nothing_holds_up_nobody() {
    let model = load(None);
    let fleet = Fleet::new(2, 1).await;
    let ring = fleet.start().await;
    let head = fleet.start_head(addresses(&ring), Speculation::Off);
    let mut slow = head.submit(ask(PROMPT, 32, sampling(None), None)).await.unwrap();
    for number in 0..3 {
        let mut quick = head
            .submit(ask(PROMPT, 16, sampling(Some(number)), None))
            .await
            .unwrap();
        assert!(read(&mut quick).await.1.is_ok());
    }
    let (ids, _) = read(&mut slow).await;
    assert_eq!(ids, plain(&model, PROMPT, 32, &sampling(None)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_refused_with_a_code() {
    let fleet = Fleet::new(1, 1).await;
    let head = fleet.start_head(vec![Vec::new()], Speculation::Off);
    let refused = async |budget: u32, change: fn(&mut bastide_pipeline::node::Ask)| {
        let mut asked = ask(PROMPT, budget, sampling(None), None);
        change(&mut asked);
        let mut answer = head.submit(asked).await.unwrap();
        read(&mut answer).await.1.expect_err("refused")
    };
    assert_eq!(
        refused(1, |asked| asked.prompt.clear()).await,
        "generate.empty_prompt"
    );
    assert_eq!(refused(0, |_| ()).await, "generate.parameter");
    assert_eq!(
        refused(1, |asked| asked.prompt.resize(600, 9)).await,
        "generate.prompt_too_long"
    );
    assert_eq!(
        refused(1, |asked| asked.prompt.push(2048)).await,
        "pipeline.vocabulary"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_gets_the_evidence_of_every_stage_for_its_own_nonce() {
    let fleet = Fleet::new(3, 1).await;
    let ring = fleet.start().await;
    let head = fleet.start_head(addresses(&ring), Speculation::Off);
    let mut answer = head.submit(ask(PROMPT, 4, sampling(None), None)).await.unwrap();
    assert!(read(&mut answer).await.1.is_ok());
    let nonces = [Nonce::new([0x41; 32]), Nonce::new([0x42; 32])];
    let (one, two) = tokio::join!(head.evidence(nonces[0]), head.evidence(nonces[1]));
    for envelopes in [one.unwrap(), two.unwrap()] {
        assert_eq!(envelopes.len(), 3);
        for envelope in envelopes {
            Evidence::decode(&envelope.expect("every stage can attest")).unwrap();
        }
    }
    let peers = head.peers();
    assert!(peers[0].is_none());
    for (stage, peer) in (0u16..).zip(peers).skip(1) {
        assert_eq!(peer.expect("it is linked").hello.context.stage, stage);
    }
}
