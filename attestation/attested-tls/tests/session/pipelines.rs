//! Nobody has a connection to a head of a pipeline before its stages were
//! accepted: its own evidence, however good, proves nothing of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bastide_attestation::Decision;
use bastide_attested_tls::{
    AppraisePipeline, AttestedConnection, AttestedPool, ConnectError, Connector, EnclaveFacts, HttpVersions,
    LaneLimits, LaneM, PipelineRefused, PoolLimits, RENEW_AFTER, SendError, ServerIdentity,
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
    /// Whether what was accepted no longer counts.
    over: AtomicBool,
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
            let refused = self.refusals.lock().unwrap().pop();
            self.over.store(refused.is_some(), Ordering::SeqCst);
            refused.map_or(Ok(()), Err)
        })
    }

    fn counts(&self, _: &AttestedConnection) -> bool {
        !self.over.load(Ordering::SeqCst)
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

async fn past_renewal() {
    tokio::time::pause();
    tokio::time::advance(RENEW_AFTER).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_heads_stages_are_judged_again_with_each_renewal() {
    let echo = head();
    let node = echo.listen(ServerIdentity::generate().unwrap()).await;
    let judge = Arc::new(Judge::default());
    let connector = Connector::new(BindingAppraiser::shared()).with_pipelines(Arc::<Judge>::clone(&judge));
    let mut connection = connector.connect(&node).await.unwrap();
    // What counted for a while counts no more, and the renewal asks all the same.
    judge.over.store(true, Ordering::SeqCst);
    past_renewal().await;
    connection.renew().await.unwrap();
    assert_eq!(judge.asked.load(Ordering::SeqCst), 2);
    assert!(connection.send(question()).await.is_ok());

    judge.refusals.lock().unwrap().push(refusal(false));
    past_renewal().await;
    let error = connection.renew().await.unwrap_err();
    assert_eq!(error.code(), "pipeline.stage_refused");
    let answered = echo.answered.load(Ordering::SeqCst);
    assert!(connection.send(question()).await.is_err());
    assert_eq!(echo.answered.load(Ordering::SeqCst), answered);
}

#[tokio::test]
async fn nothing_is_sent_on_connections_to_a_head_once_its_stages_no_longer_count() {
    for http in [HttpVersions::Http1, HttpVersions::Any] {
        let echo = head();
        let node = echo.listen(ServerIdentity::generate().unwrap()).await;
        let judge = Arc::new(Judge::default());
        let connector = Connector::new(BindingAppraiser::shared())
            .with_http(http)
            .with_pipelines(Arc::<Judge>::clone(&judge));
        let mut connection = connector.connect(&node).await.unwrap();
        let pool = AttestedPool::new(connector, vec![node], PoolLimits::default());
        let (pooled, answer) = pool.send(question()).await.unwrap();
        answer.into_body().collect().await.unwrap();
        pooled.done();
        let answered = || echo.answered.load(Ordering::SeqCst);
        let before = answered();

        judge.over.store(true, Ordering::SeqCst);
        assert!(!connection.is_usable());
        let error = connection.send(question()).await.unwrap_err();
        assert!(matches!(error, SendError::StagesOver), "{error:?}");
        assert_eq!(
            (error.code(), error.nothing_written()),
            ("session.lease_over", true)
        );
        assert_eq!(answered(), before);
        // A pool asks again, on a connection of its own.
        judge.refusals.lock().unwrap().push(refusal(false));
        assert_eq!(pool.take().await.unwrap_err().code(), "pipeline.stage_refused");
        assert_eq!(
            answered(),
            before + 1,
            "the question after the stages, and no other"
        );
        let (_, answer) = pool.send(question()).await.unwrap();
        answer.into_body().collect().await.unwrap();
        assert_eq!(answered(), before + 3);
        // And what counts again may be used again.
        assert!(connection.send(question()).await.is_ok());
    }
}
