//! Stages that are lost in the middle of an answer.

use std::time::{Duration, Instant};

use bastide_pipeline::head::Speculation;
use bastide_pipeline::node::HeadUpdate;

use crate::ring::{Fleet, PROMPT, addresses, ask, assert_parts_join, load, plain, read, sampling};

/// Each stage in turn loses its machine after a number of tokens; a spare is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_killed_in_mid_answer_costs_no_token_where_there_is_a_spare() {
    let model = load(None);
    let expected = plain(&model, PROMPT, 24, &sampling(Some(3)));
    let pipelined = Speculation::Pipelined { k: 4, depth: 4 };
    for (stage, after, speculation) in [
        (1, 1, Speculation::Off),
        (2, 5, Speculation::Off),
        (1, 9, pipelined),
        (2, 3, pipelined),
    ] {
        let fleet = Fleet::new(3, 2).await;
        let mut ring = fleet.start().await;
        let head = fleet.start_head(addresses(&ring), speculation);
        let mut answer = head
            .submit(ask(PROMPT, 24, sampling(Some(3)), None))
            .await
            .unwrap();
        let mut ids: Vec<u32> = Vec::new();
        while ids.len() < after {
            match answer.next().await {
                Some(HeadUpdate::Tokens(targets)) => ids.extend(targets.iter().map(|target| target.id)),
                _ => panic!("the answer ended too soon"),
            }
        }
        ring[stage][0] = None;
        let killed = Instant::now();
        let (rest, record) = read(&mut answer).await;
        ids.extend(rest);
        assert_eq!(ids, expected, "stage {stage} after {after}, {speculation:?}");
        let record = record.unwrap();
        assert_parts_join(&record, 3);
        // It may have been over before anyone noticed.
        assert!(record.replans.len() <= 1, "{:?}", record.replans);
        assert!(
            killed.elapsed() < Duration::from_secs(10),
            "{:?}",
            killed.elapsed()
        );
        let mut next = head.submit(ask(PROMPT, 4, sampling(None), None)).await.unwrap();
        assert!(read(&mut next).await.1.is_ok());
        let status = head.status().await.unwrap();
        assert_eq!(status.nodes[stage - 1], Some(1), "the spare: {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_spare_an_answer_waits_for_the_stage_to_come_back() {
    let model = load(None);
    let expected = plain(&model, PROMPT, 24, &sampling(None));
    let fleet = Fleet::new(2, 1).await;
    let mut ring = fleet.start().await;
    let head = fleet.start_head(addresses(&ring), Speculation::Off);
    let mut answer = head.submit(ask(PROMPT, 24, sampling(None), None)).await.unwrap();
    let Some(HeadUpdate::Tokens(first)) = answer.next().await else {
        panic!("an answer begins with tokens");
    };
    let address = ring[1][0].as_ref().unwrap().address;
    ring[1][0] = None;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let links = fleet.links(&fleet.nodes[1][0], 1);
    let _again = crate::ring::Running::start_at(&address.to_string(), 1, 2, links).await;
    let mut ids: Vec<u32> = first.iter().map(|target| target.id).collect();
    let (rest, record) = read(&mut answer).await;
    ids.extend(rest);
    assert_eq!(ids, expected);
    assert_parts_join(&record.unwrap(), 2);
}
