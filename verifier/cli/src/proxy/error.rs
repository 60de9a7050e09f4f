//! Errors in the shape that OpenAI clients read. The messages are ours: codes,
//! what was expected and what came, never a body.

use bastide_attestation::{Status, Verdict};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;

use crate::advice;
use crate::escape::{brief, line};
use crate::gate::Refusal;

/// Header that says what stands behind an answer.
pub(super) const VERDICT: &str = "x-bastide-verdict";

/// An error to answer with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// Value of `x-bastide-verdict`, if a node's standing is the reason or is known.
    pub(super) verdict: Option<String>,
    /// Seconds.
    pub(super) retry_after: Option<u32>,
}

impl ApiError {
    /// An error with nothing to say about a node.
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            verdict: None,
            retry_after: None,
        }
    }

    /// No node was admitted. The first that was judged gives the code: a
    /// verdict says more than a connection that failed.
    pub(super) fn no_node(refusals: &[Refusal]) -> Self {
        let judged = refusals.iter().find(|refusal| refusal.evidence.is_some());
        let Some(refusal) = judged.or_else(|| refusals.first()) else {
            return Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "session.tcp",
                "there is no node to ask",
            );
        };
        let mut message = format!("no node meets the policy; nothing was sent\n{}", explain(refusal));
        for other in refusals.iter().filter(|other| !std::ptr::eq(*other, refusal)) {
            message.push_str(&format!(
                "\nalso tried {}: {}",
                line(&other.node.to_string()),
                other.code
            ));
        }
        Self {
            verdict: Some(format!("rejected; code={}", refusal.code)),
            retry_after: Some(5),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, refusal.code, message)
        }
    }

    /// The JSON body.
    pub(super) fn body(&self) -> String {
        let kind = match self.status {
            StatusCode::FORBIDDEN => "permission_error",
            status if status.is_client_error() => "invalid_request_error",
            _ => "server_error",
        };
        json!({"error": {"message": self.message, "type": kind, "param": null, "code": self.code}})
            .to_string()
    }

    /// The same as the last event of a stream that is about to be cut.
    pub(super) fn event(&self) -> Bytes {
        Bytes::from(format!("event: error\ndata: {}\n\n", self.body()))
    }

    /// The whole response.
    pub(super) fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(value) = self
            .verdict
            .as_ref()
            .and_then(|verdict| HeaderValue::from_str(verdict).ok())
        {
            headers.insert(VERDICT, value);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A refusal in lines: node and code, then expected, got, likely, do.
pub(super) fn explain(refusal: &Refusal) -> String {
    let verdict: &Verdict = &refusal.verdict;
    let mut text = format!("{}: {}", line(&refusal.node.to_string()), refusal.code);
    let mut row = |name: &str, value: &str| text.push_str(&format!("\n  {name:<8}  {}", brief(value)));
    match verdict.checks.iter().find(|check| check.status == Status::Fail) {
        Some(check) => {
            row("expected", &check.expected);
            row("got", &check.got);
        }
        None => {
            if let Some(reason) = &verdict.reason {
                row("got", reason);
            }
        }
    }
    if let Some(advice) = advice::of(refusal.code) {
        row("likely", advice.likely);
        row("do", advice.remedy);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate;
    use bastide_attestation::{Decision, UnixTime};

    fn refusal(node: &str, code: &'static str, judged: bool) -> Refusal {
        let reason = "why\u{1b}[2J".to_owned();
        let verdict = gate::without_evidence(Decision::Rejected, code, reason, UnixTime::from_secs(0));
        Refusal {
            node: node.parse().unwrap(),
            code,
            exit: 10,
            verdict: Box::new(verdict),
            evidence: judged.then(Vec::new),
        }
    }

    #[test]
    fn the_judged_node_gives_the_code_and_the_others_are_named() {
        let error = ApiError::no_node(&[
            refusal("https://one.example", "session.tcp", false),
            refusal("https://two.example", "snp.root.unknown", true),
        ]);
        assert_eq!(error.code, "snp.root.unknown");
        assert_eq!(error.verdict.as_deref(), Some("rejected; code=snp.root.unknown"));
        assert!(
            error.message.contains("https://two.example: snp.root.unknown\n"),
            "{}",
            error.message
        );
        assert!(
            error
                .message
                .contains("also tried https://one.example: session.tcp"),
            "{}",
            error.message
        );
        assert!(!error.message.contains('\u{1b}'));
        let response = error.response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[VERDICT], "rejected; code=snp.root.unknown");
        let body: serde_json::Value = serde_json::from_str(&error.body()).unwrap();
        assert_eq!(body["error"]["code"], "snp.root.unknown");
        assert_eq!(body["error"]["type"], "server_error");
    }
}
