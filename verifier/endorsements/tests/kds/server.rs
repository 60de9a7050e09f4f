//! A server as a test scripts it: for each request the next reply of the script,
//! and what it has when the script is over. What is posted is known by its path,
//! its media type and the body in hex.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What to do with one request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Status and headers without a body.
    Status(u16, Vec<(&'static str, String)>),
    /// 200 and these bytes, their number announced.
    Body(Vec<u8>),
    /// 200 and these bytes, in chunks, their number not announced.
    Chunked(Vec<u8>),
    /// No answer, ever.
    Nothing,
    /// 200, a number of bytes announced, these sent, and then silence.
    Stall(u64, Vec<u8>),
    /// 200, a number of bytes announced, these sent, and then the end.
    Cut(u64, Vec<u8>),
    /// 200 and these bytes for as long as anybody reads.
    Endless(Vec<u8>),
}

#[derive(Debug, Default)]
struct State {
    script: Mutex<VecDeque<Reply>>,
    has: Mutex<HashMap<String, Vec<u8>>>,
    asked: Mutex<Vec<String>>,
}

/// A running server; ends with the runtime.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) address: String,
    state: Arc<State>,
}

impl Server {
    /// Answers these first, then truthfully.
    pub(crate) async fn start(script: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            script: Mutex::new(script.into_iter().collect()),
            ..State::default()
        });
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { answer(&state, request).await }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self { address, state }
    }

    /// Has these from now on.
    pub(crate) fn with(self, files: impl Into<Vec<(String, Vec<u8>)>>) -> Self {
        self.state.has.lock().unwrap().extend(files.into());
        self
    }

    /// Answers these next.
    pub(crate) fn then(&self, script: impl IntoIterator<Item = Reply>) {
        self.state.script.lock().unwrap().extend(script);
    }

    /// Paths and queries that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap().clone()
    }
}

async fn answer(state: &State, request: Request<Incoming>) -> Result<Response<Script>, Infallible> {
    let mut path = request.uri().to_string();
    if request.method() == Method::POST {
        let media_type = request.headers()["content-type"].to_str().unwrap().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        path = format!("{path} {media_type} {}", hex::encode(body));
    }
    state.asked.lock().unwrap().push(path.clone());
    let scripted = state.script.lock().unwrap().pop_front();
    let known = || state.has.lock().unwrap().get(&path).cloned();
    let reply = scripted.unwrap_or_else(|| known().map_or(Reply::Status(404, vec![]), Reply::Body));
    let whole = |bytes: Vec<u8>, announced, then| {
        Response::new(Script {
            next: Some(bytes.into()),
            announced,
            then,
        })
    };
    Ok(match reply {
        Reply::Status(status, headers) => {
            let mut builder = Response::builder().status(status);
            for (name, value) in headers {
                builder = builder.header(name, value);
            }
            builder
                .body(Script {
                    next: None,
                    announced: Some(0),
                    then: Then::End,
                })
                .unwrap()
        }
        Reply::Body(bytes) => {
            let length = u64::try_from(bytes.len()).unwrap();
            whole(bytes, Some(length), Then::End)
        }
        Reply::Chunked(bytes) => whole(bytes, None, Then::End),
        Reply::Nothing => std::future::pending().await,
        Reply::Stall(length, bytes) => whole(bytes, Some(length), Then::Silence),
        Reply::Cut(length, bytes) => whole(bytes, Some(length), Then::Fail),
        Reply::Endless(bytes) => {
            let again = bytes.clone();
            whole(bytes, None, Then::Again(again))
        }
    })
}

#[derive(Debug)]
enum Then {
    End,
    Silence,
    Fail,
    Again(Vec<u8>),
}

/// A body that may lie about its length, stop, or never stop.
#[derive(Debug)]
struct Script {
    next: Option<Bytes>,
    announced: Option<u64>,
    then: Then,
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(bytes) = self.next.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match &self.then {
            Then::End => Poll::Ready(None),
            Then::Silence => Poll::Pending,
            Then::Fail => Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into()))),
            Then::Again(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes.clone().into())))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.announced
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
