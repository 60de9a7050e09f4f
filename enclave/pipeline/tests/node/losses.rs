//! Stages that are lost in the middle of an answer.

use std::time::{Duration, Instant};

use bastide_pipeline::head::{HeadTimes, Loss, Speculation};
use bastide_pipeline::node::{Answer, HeadUpdate};

use crate::relay::Relay;
use crate::ring::{Fleet, PROMPT, Running, addresses, ask, assert_parts_join, load, plain, read, sampling};

/// A long answer, by this seed.
const SEED: Option<u64> = Some(11);

/// Reads at least so many tokens.
async fn read_some(answer: &mut Answer, count: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = Vec::new();
    while ids.len() < count {
        match answer.next().await {
            Some(HeadUpdate::Tokens(targets)) => ids.extend(targets.iter().map(|target| target.id)),
            _ => panic!("the answer ended after {} tokens", ids.len()),
        }
    }
    ids
}

/// Each stage in turn loses its machine after a number of tokens; a spare is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_killed_in_mid_answer_costs_no_token_where_there_is_a_spare() {
    let model = load(None);
    let expected = plain(&model, PROMPT, 32, &sampling(SEED));
    let pipelined = Speculation::Pipelined { k: 4, depth: 4 };
    for (stage, after, speculation) in [
        (1, 1, Speculation::Off),
        (2, 5, Speculation::Off),
        (1, 9, pipelined),
        (2, 3, pipelined),
    ] {
        let mut fleet = Fleet::new(3, 2).await;
        fleet.slow = Duration::from_millis(15);
        let mut ring = fleet.start().await;
        let head = fleet.start_head(addresses(&ring), speculation);
        let asked = ask(PROMPT, 32, sampling(SEED), None);
        let mut answer = head.submit(asked).await.unwrap();
        let mut ids = read_some(&mut answer, after).await;
        ring[stage][0] = None;
        let killed = Instant::now();
        let (rest, record) = read(&mut answer).await;
        ids.extend(rest);
        assert_eq!(ids, expected, "stage {stage} after {after}, {speculation:?}");
        let record = record.unwrap();
        assert_parts_join(&record, 3);
        assert_eq!(record.replans.len(), 1, "{:?}", record.replans);
        assert!(
            killed.elapsed() < Duration::from_secs(15),
            "{:?}",
            killed.elapsed()
        );
        let status = head.status().await.unwrap();
        assert_eq!(status.nodes[stage - 1], Some(1), "the spare: {status:?}");
    }
}

/// Its host still answers TCP, and passes nothing on any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_that_falls_silent_is_lost_by_its_heartbeat() {
    let model = load(None);
    let expected = plain(&model, PROMPT, 32, &sampling(SEED));
    let mut fleet = Fleet::new(2, 2).await;
    fleet.slow = Duration::from_millis(15);
    fleet.head_times.ping = HeadTimes::default().ping;
    let ring = fleet.start().await;
    let mut nodes = addresses(&ring);
    let relay = Relay::start(vec![nodes[1][0].clone()]).await;
    nodes[1][0] = relay.address.clone();
    let head = fleet.start_head(nodes, Speculation::Off);
    let mut answer = head.submit(ask(PROMPT, 32, sampling(SEED), None)).await.unwrap();
    let mut ids = read_some(&mut answer, 3).await;
    relay.freeze();
    let (rest, record) = read(&mut answer).await;
    ids.extend(rest);
    assert_eq!(ids, expected);
    let record = record.unwrap();
    let why: Vec<u8> = record.replans.iter().map(|replan| replan.why).collect();
    assert_eq!(why, [Loss::Silent.code()]);
}

/// Four seconds for one frame, and a ping each second: it is at work, not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_answers_pings_while_it_computes() {
    let mut fleet = Fleet::new(2, 1).await;
    fleet.slow = Duration::from_secs(5);
    fleet.head_times.ping = HeadTimes::default().ping;
    fleet.head_times.slack = Duration::from_secs(60);
    let ring = fleet.start().await;
    let head = fleet.start_head(addresses(&ring), Speculation::Off);
    let mut answer = head.submit(ask(PROMPT, 1, sampling(None), None)).await.unwrap();
    let (ids, record) = read(&mut answer).await;
    assert_eq!(ids.len(), 1);
    assert!(record.unwrap().replans.is_empty());
    let status = head.status().await.unwrap();
    assert_eq!(status.counts.lost, 0, "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_spare_an_answer_waits_for_the_stage_to_come_back() {
    let model = load(None);
    let expected = plain(&model, PROMPT, 24, &sampling(None));
    let mut fleet = Fleet::new(2, 1).await;
    fleet.slow = Duration::from_millis(15);
    let mut ring = fleet.start().await;
    let head = fleet.start_head(addresses(&ring), Speculation::Off);
    let mut answer = head.submit(ask(PROMPT, 24, sampling(None), None)).await.unwrap();
    let mut ids = read_some(&mut answer, 1).await;
    let address = ring[1][0].as_ref().unwrap().address;
    ring[1][0] = None;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let links = fleet.links(&fleet.nodes[1][0], 1);
    let _again = Running::start_at(&address.to_string(), 1, &fleet, links).await;
    let (rest, record) = read(&mut answer).await;
    ids.extend(rest);
    assert_eq!(ids, expected);
    assert_parts_join(&record.unwrap(), 2);
}
