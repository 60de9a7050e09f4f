//! A client that has a head prove itself and accepts whatever is behind it, which
//! none of ours does: so that a prompt comes to a head that must not hand it on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bastide_attested_tls::{AppraisePipeline, AttestedConnection, Connector, PipelineRefused};
use bastide_tests::workspace_root;
use bastide_verifier::{Policy, Verifier};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use serde_json::{Value, json};

struct Careless;

impl AppraisePipeline for Careless {
    fn appraise<'a>(
        &'a self,
        _: &'a mut AttestedConnection,
    ) -> Pin<Box<dyn Future<Output = Result<(), PipelineRefused>> + Send + 'a>> {
        Box::pin(async { Ok(()) })
    }

    fn counts(&self, _: &AttestedConnection) -> bool {
        true
    }
}

/// Asks the head for some tokens: the status of its answer, and what it says.
pub(crate) fn ask(url: &str, prompt: &str) -> (u16, Value) {
    let policy = std::fs::read(workspace_root().join("policies/development.toml")).unwrap();
    let verifier = Verifier::new(Policy::parse(&policy).unwrap());
    let connector = Connector::new(Arc::new(verifier)).with_pipelines(Arc::new(Careless));
    let body = json!({
        "model": "bastide-5m", "temperature": 0, "max_tokens": 4,
        "messages": [{"role": "user", "content": prompt}],
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let mut connection = connector.connect(&url.parse().unwrap()).await.unwrap();
        let request = Request::post("/v1/chat/completions")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())));
        let asked = connection.send(request.unwrap());
        let answer = tokio::time::timeout(Duration::from_secs(120), asked).await;
        let answer = answer.unwrap().unwrap();
        let status = answer.status().as_u16();
        let said = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&said).unwrap())
    })
}
