//! Services that stall, lie about lengths or ask for patience.

use std::time::Duration;

use bastide_endorsements::fetch::Limits;
use bastide_endorsements::nvidia::Services;

use crate::server::{Reply, Server};
use crate::{TestPace, Wanted, asked, made, published, rim, services};

const ID: &str = made::RIM_IDS[0];

#[tokio::test]
async fn a_429_waits_as_long_as_it_says_and_ten_seconds_if_it_does_not() {
    let throttled = |headers| Reply::Status(429, headers);
    let server = Server::start([
        throttled(vec![("retry-after", "23".to_owned())]),
        throttled(vec![]),
    ])
    .await
    .with(published(1, made::ISSUED));
    let pace = TestPace::new();
    services(&server.address, &pace).fetch(&rim(ID)).await.unwrap();
    assert_eq!(pace.waits(), [23, 10]);
    assert!(
        pace.said()[0].starts_with("the RIM service says 429"),
        "{:?}",
        pace.said()
    );
}

#[tokio::test]
async fn a_question_is_posted_again_with_the_same_body() {
    let question = made::device_questions().remove(0);
    let wanted = Wanted::Ocsp(question.clone());
    let server = Server::start([Reply::Status(503, vec![])])
        .await
        .with(published(1, made::ISSUED));
    let pace = TestPace::new();
    let answer = services(&server.address, &pace).fetch(&wanted).await.unwrap();
    assert_eq!(answer.bytes(), made::ocsp(question.id(), made::ISSUED));
    assert_eq!(server.asked(), [asked(&wanted), asked(&wanted)]);
}

#[tokio::test]
async fn answers_that_end_before_their_length_are_tried_again_and_then_left() {
    let whole = made::rim_answer(ID, &made::rim(1, made::ISSUED)).into_bytes();
    let length = u64::try_from(whole.len()).unwrap();
    let cut = Reply::Cut(length, whole[..whole.len() / 2].to_vec());
    let lying = Reply::Cut(length + 1, whole);
    let server = Server::start([cut, lying.clone()])
        .await
        .with(published(1, made::ISSUED));
    let pace = TestPace::new();
    services(&server.address, &pace).fetch(&rim(ID)).await.unwrap();
    assert_eq!(pace.waits(), [1, 2]);

    server.then(vec![lying; 5]);
    let error = services(&server.address, &pace)
        .fetch(&rim(ID))
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.attempts), ("nvidia.connection", 5));
}

#[tokio::test]
async fn services_that_never_answer_or_stop_in_the_middle_are_left() {
    let server = Server::start([Reply::Nothing, Reply::Stall(500, b"{".to_vec()), Reply::Nothing]).await;
    let pace = TestPace::new();
    let addresses = services(&server.address, &pace).addresses().clone();
    let limits = Limits {
        request: Duration::from_millis(100),
        attempts: 3,
        ..Limits::default()
    };
    let client = Services::new(addresses, limits, &pace);
    let error = client.fetch(&rim(ID)).await.unwrap_err();
    assert_eq!((error.code(), error.attempts), ("nvidia.silent", 3));
    assert!(error.to_string().contains("within 0.1 s"), "{error}");
}

#[tokio::test]
async fn nobody_listening_is_tried_again_and_then_said() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let pace = TestPace::new();
    let error = services(&address, &pace).fetch(&rim(ID)).await.unwrap_err();
    assert_eq!((error.code(), error.attempts), ("nvidia.connection", 5));
}
