//! One person's exchange with one node: attested connections, questions, and
//! streamed answers whose receipts must hold.

use std::path::PathBuf;
use std::time::Duration;

use bastide_attestation::{Receipt, Verdict};
use bastide_attested_tls::{AttestedPool, NodeAddress, PoolError, PooledConnection};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::answer_stream::{self, AnswerStream, StreamFault};
use crate::answered::{Answer, Grounds};
use crate::escape;
use crate::fault::{Fault, with_causes};
use crate::gate::{Gate, Refusal};
use crate::pipeline::vouching::Vouching;
use crate::receipt_check::{self, ReceiptFault};
use crate::saved;

/// Where completions are asked for.
pub(crate) const COMPLETIONS: &str = "/v1/chat/completions";
/// Where models are listed.
pub(crate) const MODELS: &str = "/v1/models";
/// How long a node may be silent in the middle of an answer.
pub(crate) const SILENCE: Duration = Duration::from_secs(120);
/// Code of an answer that was cut because nobody reads it. Its receipt did not come.
pub(crate) const OUTPUT_CLOSED: &str = "output.closed";
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// Connections to a node, and the one that the last answer came over.
pub(crate) struct Conversation {
    gate: Gate,
    pool: AttestedPool,
    connection: Option<PooledConnection>,
    model: Option<String>,
    save: Option<PathBuf>,
    /// The stages behind the node, where it is the head of a pipeline.
    stages: Vouching,
}

/// A complete answer with its verified receipt.
pub(crate) struct Turn {
    /// The text.
    pub(crate) text: String,
    /// The receipt.
    pub(crate) receipt: Receipt,
    /// Where it was kept.
    pub(crate) kept: Option<PathBuf>,
}

/// Why there is no answer.
pub(crate) enum NoTurn {
    /// The node was not admitted; nothing was sent.
    Refused(Box<Refusal>),
    /// Something else.
    Fault(Fault),
}

impl From<Fault> for NoTurn {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Conversation {
    /// A conversation that has not begun.
    pub(crate) fn new(gate: Gate, node: NodeAddress, model: Option<String>, save: Option<PathBuf>) -> Self {
        Self {
            pool: gate.pool(vec![node], None),
            stages: Vouching::new(gate.clone()),
            gate,
            connection: None,
            model,
            save,
        }
    }

    /// Connects, unless there is a connection that counts, and says what stands
    /// behind it: the verdict, and how many stages a head's pipeline has.
    ///
    /// # Errors
    /// [`NoTurn`] if the node was not admitted.
    pub(crate) async fn verdict(&mut self) -> Result<(Verdict, Option<usize>), NoTurn> {
        let connection = self.pool.take().await.map_err(|error| self.no_turn(&error))?;
        let verdict = self.gate.verdict(&connection);
        let stages = self.gate.behind(&connection).map(|chain| chain.stages.len());
        connection.done();
        Ok((verdict, stages))
    }

    fn no_turn(&self, error: &PoolError) -> NoTurn {
        let refusal = match error {
            PoolError::NoNode(failures) => self.gate.refusals(failures).into_iter().next(),
            _ => None,
        };
        refusal.map_or_else(
            || Fault::unavailable(error.code(), with_causes(error)).into(),
            |refusal| NoTurn::Refused(Box::new(refusal)),
        )
    }

    /// Asks, hands on each piece of text as it comes, and returns the answer
    /// when its receipt has been verified. `piece` says whether to go on.
    ///
    /// # Errors
    /// [`NoTurn`]; text that was handed on before is then not vouched for.
    pub(crate) async fn ask(
        &mut self,
        messages: &[Value],
        piece: &mut (dyn FnMut(&str) -> Result<bool, Fault> + Send),
    ) -> Result<Turn, NoTurn> {
        let mut response = self.send_chat(messages).await?;
        if self.model.is_none() && response.1.status().is_client_error() {
            // The node wants its model named. A node serves few; take its first.
            let (_, response_head) = response;
            let fault = api_fault(response_head).await;
            if fault.param.as_deref() != Some("model") {
                return Err(fault.fault.into());
            }
            self.model = Some(self.first_model().await?);
            response = self.send_chat(messages).await?;
        }
        let (request, response) = response;
        if response.status() != StatusCode::OK {
            return Err(api_fault(response).await.fault.into());
        }
        self.read(&request, response.into_body(), piece).await
    }

    async fn send_chat(&mut self, messages: &[Value]) -> Result<(Bytes, Response<Incoming>), NoTurn> {
        let mut body = json!({"messages": messages, "stream": true});
        if let (Some(model), Some(members)) = (&self.model, body.as_object_mut()) {
            members.insert("model".to_owned(), json!(model));
        }
        let body = Bytes::from(body.to_string());
        let response = self.send(Method::POST, COMPLETIONS, body.clone()).await?;
        Ok((body, response))
    }

    async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, NoTurn> {
        // What was not given back is not to be used again.
        self.connection = None;
        let request = request(method, path, body).map_err(NoTurn::Fault)?;
        let sent = self.pool.send(request).await;
        let (connection, response) = sent.map_err(|error| self.no_turn(&error))?;
        self.connection = Some(connection);
        Ok(response)
    }

    async fn first_model(&mut self) -> Result<String, NoTurn> {
        let response = self.send(Method::GET, MODELS, Bytes::new()).await?;
        if response.status() != StatusCode::OK {
            return Err(api_fault(response).await.fault.into());
        }
        let list = json_of(response).await;
        list.pointer("/data/0/id")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or_else(|| Fault::unavailable("api.models", "the node lists no model").into())
    }

    async fn read(
        &mut self,
        request: &[u8],
        mut body: Incoming,
        piece: &mut (dyn FnMut(&str) -> Result<bool, Fault> + Send),
    ) -> Result<Turn, NoTurn> {
        let mut stream = AnswerStream::new();
        let mut text = String::new();
        while let Some(bytes) = next_bytes(&mut body, SILENCE).await? {
            let range = stream.push(&bytes).map_err(|fault| stream_fault(&fault))?;
            for data in answer_stream::data_of(&stream.bytes()[range]) {
                let chunk: Value = serde_json::from_str(data).unwrap_or_default();
                if let Some(error) = chunk.get("error").filter(|error| error.is_object()) {
                    return Err(api_error(None, error).fault.into());
                }
                let delta = chunk.pointer("/choices/0/delta/content").and_then(Value::as_str);
                if let Some(delta) = delta.filter(|delta| !delta.is_empty()) {
                    text.push_str(delta);
                    if !piece(delta)? {
                        // Nobody reads any more: closing tells the node to stop.
                        self.connection = None;
                        return Err(Fault::unavailable(OUTPUT_CLOSED, "nobody reads the answer").into());
                    }
                }
            }
        }
        let whole = stream.finish().map_err(|fault| stream_fault(&fault))?;
        let (receipt, salt) =
            receipt_check::decode(&whole.receipt, &whole.salt).map_err(|fault| receipt_fault(&fault))?;
        let connection = self
            .connection
            .as_ref()
            .ok_or_else(|| Fault::internal("an answer came without a connection"))?;
        // Beside a renewal, a request may have been answered under the new attestation.
        let renewed = connection.attestation_for(&receipt.claims().nonce);
        let attestation = renewed.as_deref().unwrap_or_else(|| connection.attestation());
        let answer = Answer {
            receipt,
            salt,
            request,
            response: whole.committed(),
        };
        let grounds = Grounds {
            node: connection.node(),
            result: attestation.result(),
            evidence: attestation.evidence(),
            nonce: attestation.nonce(),
        };
        answer.verify(&grounds).map_err(|fault| receipt_fault(&fault))?;
        let chain = self.stages.vouch(connection.node(), &answer.receipt).await?;
        let kept = answer.enter(&grounds, self.gate.ledger(), self.save.as_deref())?;
        if let (Some(folder), Some(chain)) = (&kept, &chain) {
            saved::keep_chain(folder, chain)?;
        }
        let receipt = answer.receipt;
        if let Some(connection) = self.connection.take() {
            connection.done();
        }
        Ok(Turn { text, receipt, kept })
    }
}

/// The next bytes of an answer; `None` at its end.
///
/// # Errors
/// [`Fault`] if it is cut, or nothing comes for as long as `silence`.
async fn next_bytes<B>(body: &mut B, silence: Duration) -> Result<Option<Bytes>, Fault>
where
    B: Body<Data = Bytes> + Unpin,
{
    let next = async {
        while let Some(frame) = body.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(bytes)) => return Ok(Some(bytes)),
                // Trailers say nothing here.
                Ok(Err(_)) => {}
                Err(_) => return Err(stream_fault(&StreamFault::Truncated)),
            }
        }
        Ok(None)
    };
    tokio::time::timeout(silence, next).await.unwrap_or_else(|_| {
        Err(Fault::unavailable(
            "stream.silent",
            format!(
                "the node was silent for {} s in the middle of its answer",
                silence.as_secs()
            ),
        ))
    })
}

/// A request for a node. It carries nothing of this machine but its body.
///
/// # Errors
/// [`Fault`] that can't happen for the paths of this program.
pub(crate) fn request(method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Fault> {
    let mut request = Request::builder().method(method).uri(path);
    if !body.is_empty() {
        request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    request
        .body(Full::new(body))
        .map_err(|error| Fault::internal(format!("no request: {error}")))
}

struct ApiFault {
    fault: Fault,
    param: Option<String>,
}

async fn json_of(response: Response<Incoming>) -> Value {
    let body = Limited::new(response.into_body(), MAX_ERROR_BYTES).collect();
    tokio::time::timeout(SILENCE, body)
        .await
        .ok()
        .and_then(Result::ok)
        .and_then(|body| serde_json::from_slice(&body.to_bytes()).ok())
        .unwrap_or_default()
}

async fn api_fault(response: Response<Incoming>) -> ApiFault {
    let status = response.status();
    let body = json_of(response).await;
    api_error(Some(status), &body["error"])
}

fn api_error(status: Option<StatusCode>, error: &Value) -> ApiFault {
    let member = |name: &str| error[name].as_str().unwrap_or_default();
    let status_text = status.map_or_else(String::new, |status| format!("{} ", status.as_u16()));
    let message = format!(
        "the node answered {status_text}{}: {}",
        escape::line(member("code")),
        escape::line(member("message"))
    );
    let fault = match status {
        Some(status) if status.is_client_error() => Fault::usage("api.request", message),
        _ => Fault::unavailable("api.node", message),
    };
    ApiFault {
        fault,
        param: error["param"].as_str().map(str::to_owned),
    }
}

fn stream_fault(fault: &StreamFault) -> Fault {
    match fault {
        StreamFault::Truncated => Fault::unavailable(fault.code(), with_causes(fault)),
        _ => unvouched(fault.code(), fault.to_string()),
    }
}

fn receipt_fault(fault: &ReceiptFault) -> Fault {
    unvouched(fault.code(), fault.to_string())
}

fn unvouched(code: &'static str, message: String) -> Fault {
    Fault::rejected(code, message).with_remedy("do not rely on the answer: nothing vouches for it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// A body that never goes on.
    struct Stalled;

    impl Body for Stalled {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_node_that_falls_silent_is_not_waited_for_for_ever() {
        let fault = next_bytes(&mut Stalled, Duration::from_millis(1))
            .await
            .unwrap_err();
        assert_eq!((fault.exit, fault.code), (40, "stream.silent"));
        let mut whole = Full::new(Bytes::from_static(b"x"));
        assert_eq!(
            next_bytes(&mut whole, SILENCE).await,
            Ok(Some(Bytes::from_static(b"x")))
        );
        assert_eq!(next_bytes(&mut whole, SILENCE).await, Ok(None));
    }
}
