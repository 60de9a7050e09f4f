//! The same ring over bare TCP, as the benchmark has it.

use bastide_pipeline::head::Speculation;

use crate::ring::{Fleet, PROMPT, addresses, ask, assert_parts_join, load, plain, read, sampling};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_bare_tcp_a_ring_says_what_one_node_says() {
    let model = load(None);
    let mut fleet = Fleet::new(3, 1).await;
    fleet.plain = true;
    let ring = fleet.start().await;
    let head = fleet.start_head(addresses(&ring), Speculation::Pipelined { k: 4, depth: 4 });
    for seed in [None, Some(7)] {
        let sampling = sampling(seed);
        let mut answer = head.submit(ask(PROMPT, 24, sampling, None)).await.unwrap();
        let (ids, record) = read(&mut answer).await;
        assert_eq!(ids, plain(&model, PROMPT, 24, &sampling));
        assert_parts_join(&record.unwrap(), 3);
    }
    assert!(
        head.peers().iter().all(Option::is_none),
        "nobody has proved anything"
    );
}
