//! Who may link to a stage, and what a stage links to.

use std::time::Duration;

use bastide_attestation::LaunchMeasurement;
use bastide_attested_tls::LinkTimes;
use bastide_pipeline::head::{HeadTimes, Speculation};

use crate::enclave::Enclave;
use crate::relay::Relay;
use crate::ring::{Fleet, PROMPT, Running, addresses, ask, load, plain, read, sampling};

async fn imposter(chip: u8) -> Enclave {
    Enclave::measured(chip, LaunchMeasurement::new([0x13; 48])).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enclave_of_another_image_is_passed_over_and_never_joined() {
    let mut fleet = Fleet::new(2, 2).await;
    fleet.nodes[1][0] = imposter(9).await;
    let ring = fleet.start().await;
    let head = fleet.start_head(addresses(&ring), Speculation::Off);
    let mut answer = head.submit(ask(PROMPT, 4, sampling(None), None)).await.unwrap();
    assert!(read(&mut answer).await.1.is_ok());
    let status = head.status().await.unwrap();
    assert_eq!(status.nodes, [Some(1)]);
    let state = ring[1][0].as_ref().unwrap().node.state();
    assert!(!state.head && !state.before, "{state:?}");
}

/// The host sends the head to the genuine stage 2, and stage 1 to another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_hands_nothing_on_to_an_enclave_that_cannot_prove_to_be_the_next() {
    let mut fleet = Fleet::new(3, 1).await;
    let genuine = fleet.nodes[2][0].clone();
    fleet.nodes[2] = vec![genuine, imposter(9).await];
    let ring = fleet.start().await;
    let mut nodes = addresses(&ring);
    let (good, bad) = (nodes[2][0].clone(), nodes[2][1].clone());
    let relay = Relay::start(vec![good, bad]).await;
    nodes[2] = vec![relay.address.clone()];
    fleet.head_times = HeadTimes {
        give_up: Duration::from_secs(3),
        ..HeadTimes::default()
    };
    let head = fleet.start_head(nodes, Speculation::Off);
    let mut answer = head.submit(ask(PROMPT, 4, sampling(None), None)).await.unwrap();
    let (ids, refused) = read(&mut answer).await;
    assert_eq!((ids, refused.err()), (Vec::new(), Some("pipeline.no_stage")));
    let state = ring[2][1].as_ref().unwrap().node.state();
    assert!(!state.head && !state.before, "{state:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_head_is_turned_away_while_the_first_lives_and_let_in_after() {
    let fleet = Fleet::new(2, 1).await;
    let ring = fleet.start().await;
    let first = fleet.start_head(addresses(&ring), Speculation::Off);
    let mut answer = first.submit(ask(PROMPT, 4, sampling(None), None)).await.unwrap();
    assert!(read(&mut answer).await.1.is_ok());

    // Another enclave, as good as the first: its chip is listed.
    let mut others = Fleet::new(2, 1).await;
    others.head = Enclave::on_chip(2).await;
    others.nodes[1][0] = fleet.nodes[1][0].clone();
    let second = others.start_head(addresses(&ring), Speculation::Off);
    let mut waiting = second.submit(ask(PROMPT, 4, sampling(None), None)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!second.status().await.unwrap().whole);
    let mut answer = first.submit(ask(PROMPT, 4, sampling(None), None)).await.unwrap();
    assert!(
        read(&mut answer).await.1.unwrap().replans.is_empty(),
        "undisturbed"
    );

    drop(answer);
    drop(first);
    assert!(read(&mut waiting).await.1.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_starts_again_in_the_same_enclave_is_let_in_at_once() {
    let fleet = Fleet::new(2, 1).await;
    let ring = fleet.start().await;
    let _first = fleet.start_head(addresses(&ring), Speculation::Off);
    let second = fleet.start_head(addresses(&ring), Speculation::Off);
    let mut answer = second.submit(ask(PROMPT, 4, sampling(None), None)).await.unwrap();
    assert!(read(&mut answer).await.1.is_ok());
}

/// A ring outlives many leases: renewals go on beside the answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_outlives_the_leases_of_its_links() {
    let model = load(None);
    let mut fleet = Fleet::new(3, 1).await;
    fleet.times = LinkTimes {
        renew_after: Duration::from_millis(400),
        drain_after: Duration::from_millis(1500),
        lease: Duration::from_millis(2000),
        renew_gap: Duration::from_millis(50),
        ..LinkTimes::default()
    };
    let ring = fleet.start().await;
    let head = fleet.start_head(addresses(&ring), Speculation::Off);
    let expected = plain(&model, PROMPT, 16, &sampling(None));
    let until = tokio::time::Instant::now() + Duration::from_secs(5);
    while tokio::time::Instant::now() < until {
        let mut answer = head.submit(ask(PROMPT, 16, sampling(None), None)).await.unwrap();
        let (ids, record) = read(&mut answer).await;
        assert_eq!(ids, expected);
        assert!(record.unwrap().replans.is_empty());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_that_shuts_down_lets_its_answers_end_first() {
    let mut fleet = Fleet::new(2, 1).await;
    fleet.slow = Duration::from_millis(15);
    let mut ring = fleet.start().await;
    let head = fleet.start_head(addresses(&ring), Speculation::Off);
    let mut answer = head.submit(ask(PROMPT, 16, sampling(None), None)).await.unwrap();
    assert!(answer.next().await.is_some());
    let running: Running = ring[1][0].take().unwrap();
    let down = tokio::spawn(running.shut_down(Duration::from_secs(20)));
    assert!(read(&mut answer).await.1.unwrap().replans.is_empty());
    tokio::time::timeout(Duration::from_secs(5), down)
        .await
        .unwrap()
        .unwrap();
    let noticed = async {
        while head.status().await.unwrap().whole {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(2), noticed)
        .await
        .expect("its link was closed");
}
