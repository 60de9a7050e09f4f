//! Nobody has a connection to a head of a pipeline before its stages were
//! accepted: its own evidence, however good, proves nothing of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bastide_attestation::Decision;
use bastide_attested_tls::{
    AppraisePipeline, AttestedConnection, ConnectError, Connector, EnclaveFacts, HttpVersions, LaneLimits,
    LaneM, PipelineRefused, RENEW_AFTER, ServerIdentity,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;

use crate::doubles::{BindingAppraiser, BlankAttester, facts};
use crate::node::{Echo, lane};
use crate::recorder::Recorder;

fn of_a_head() -> EnclaveFacts {
    EnclaveFacts {
        pipeline: true,
        ..facts()
    }
}

fn head() -> Echo {
    Echo::of(LaneM::start(Arc::new(BlankAttester), of_a_head(), LaneLimits::default()).unwrap())
}

fn question() -> Request<Full<Bytes>> {
    Request::post("/stages").body(Full::from("who are you?")).unwrap()
}

/// Asks a head, and says of its answer what it was told to say.
#[derive(Default)]
struct Judge {
    refusals: Mutex<Vec<PipelineRefused>>,
    asked: AtomicUsize,
}

impl AppraisePipeline for Judge {
    fn appraise<'a>(
        &'a self,
        head: &'a mut AttestedConnection,
    ) -> Pin<Box<dyn Future<Output = Result<(), PipelineRefused>> + Send + 'a>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let answer = head.send(question()).await.unwrap();
            assert_eq!(
                answer.into_body().collect().await.unwrap().to_bytes(),
                "who are you?"
            );
            self.refusals.lock().unwrap().pop().map_or(Ok(()), Err)
        })
    }
}

fn refusal(interrupted: bool) -> PipelineRefused {
    PipelineRefused {
        code: "pipeline.stage_refused",
        decision: Decision::Rejected,
        reason: "stage 1: expected evidence, got none".to_owned(),
        interrupted,
    }
}

#[tokio::test]
async fn a_client_that_judges_no_stages_gets_no_connection_to_a_head_and_sends_nothing() {
    let echo = head();
    let node = echo.listen(ServerIdentity::generate().unwrap()).await;
    let connector = Connector::new(BindingAppraiser::shared());
    let error = connector.connect(&node).await.unwrap_err();
    assert!(matches!(error, ConnectError::Pipeline), "{error:?}");
    assert_eq!((error.code(), error.exit_code()), ("session.pipeline", 10));
    assert_eq!(echo.answered.load(Ordering::SeqCst), 0);
    // As long as that is so, nothing follows the challenge on the wire.
    let fresh = || Connector::new(BindingAppraiser::shared()).with_http(HttpVersions::Http1);
    let (recorder, relay) = Recorder::before(&node).await;
    fresh().connect(&relay).await.unwrap_err();
    let other = Echo::of(lane());
    let other = other.listen(ServerIdentity::generate().unwrap()).await;
    let (honest, relay) = Recorder::before(&other).await;
    drop(fresh().connect(&relay).await.unwrap());
    let sent = |recorder: &Recorder| recorder.application_bytes(0).iter().sum::<usize>();
    assert_eq!(sent(&recorder), sent(&honest));
}

#[tokio::test]
async fn a_connection_to_a_head_is_given_out_once_its_stages_are_accepted_and_not_otherwise() {
    let echo = head();
    let node = echo.listen(ServerIdentity::generate().unwrap()).await;
    let judge = Arc::new(Judge::default());
    let connector = Connector::new(BindingAppraiser::shared()).with_pipelines(Arc::<Judge>::clone(&judge));
    judge.refusals.lock().unwrap().push(refusal(false));
    let error = connector.connect(&node).await.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("pipeline.stage_refused", 10));
    assert!(
        error.to_string().contains("expected evidence, got none"),
        "{error}"
    );
    assert_eq!(
        judge.asked.load(Ordering::SeqCst),
        1,
        "what was refused is not asked again"
    );

    let mut connection = connector.connect(&node).await.unwrap();
    assert_eq!(judge.asked.load(Ordering::SeqCst), 2);
    assert!(connection.send(question()).await.is_ok());

    // A head that only closed the connection is asked once more, and no oftener.
    judge.refusals.lock().unwrap().push(refusal(true));
    connector.connect(&node).await.unwrap();
    assert_eq!(judge.asked.load(Ordering::SeqCst), 4);
    judge
        .refusals
        .lock()
        .unwrap()
        .extend([refusal(true), refusal(true)]);
    connector.connect(&node).await.unwrap_err();
    assert_eq!(judge.asked.load(Ordering::SeqCst), 6);
}

#[tokio::test]
async fn stages_of_a_node_that_has_none_are_not_asked_for() {
    let echo = Echo::of(lane());
    let node = echo.listen(ServerIdentity::generate().unwrap()).await;
    let judge = Arc::new(Judge::default());
    let connector = Connector::new(BindingAppraiser::shared()).with_pipelines(Arc::<Judge>::clone(&judge));
    connector.connect(&node).await.unwrap();
    assert_eq!(judge.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_node_that_becomes_a_head_is_not_renewed() {
    let lane = lane();
    let echo = Echo::of(lane.clone());
    let node = echo.listen(ServerIdentity::generate().unwrap()).await;
    let judge = Arc::new(Judge::default());
    let connector = Connector::new(BindingAppraiser::shared()).with_pipelines(Arc::<Judge>::clone(&judge));
    let mut connection = connector.connect(&node).await.unwrap();
    lane.restate(|facts| facts.pipeline = true);
    tokio::time::pause();
    tokio::time::advance(RENEW_AFTER).await;
    tokio::time::resume();
    let error = connection.renew().await.unwrap_err();
    assert!(matches!(error, ConnectError::Pipeline), "{error:?}");
    assert!(!connection.is_usable());
    assert_eq!(judge.asked.load(Ordering::SeqCst), 0);
}
