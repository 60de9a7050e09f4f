//! What goes wrong with a request, as OpenAI-shaped errors with stable codes.
//!
//! Refuses to carry anything a client wrote: messages are made of our own
//! words, parameter names that we know, and positions.

use hyper::StatusCode;
use serde::Serialize;

use crate::json;

/// Why a request gets no answer from the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The body is not JSON.
    #[error("the body is not JSON: it is ill-formed or breaks off at line {line}, column {column}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The body is JSON, but no object, or not UTF-8, or has too many or repeated members.
    #[error("{param} must be a JSON object of at most {most} members, each named once", param = named(.param))]
    Object {
        /// Which value; empty for the body.
        param: String,
        /// Most members.
        most: usize,
    },
    /// A parameter that must be there is not.
    #[error("`{param}` is missing: {expected}")]
    Missing {
        /// The parameter.
        param: String,
        /// What should have come.
        expected: &'static str,
    },
    /// A parameter has the wrong type or lies outside its range.
    #[error("`{param}` must be {expected}")]
    Invalid {
        /// The parameter.
        param: String,
        /// What should have come.
        expected: String,
    },
    /// A parameter that would change the answer in a way this enclave does not do.
    #[error("`{param}` is not supported here: {instead}")]
    Unsupported {
        /// The parameter.
        param: String,
        /// What is accepted.
        instead: &'static str,
    },
    /// A member whose name is not known, so that its effect isn't either.
    #[error("member {position} of {object} is not a parameter this enclave knows; leave it out", object = named(.param))]
    Unknown {
        /// The object that holds it; empty for the body.
        param: String,
        /// Its position in the object, from 1.
        position: usize,
    },
    /// Another model than the one served.
    #[error("the model asked for is not served here; this enclave serves `{served}`")]
    ModelNotFound {
        /// The model that is served.
        served: String,
    },
    /// Prompt and answer do not fit into the model's context.
    #[error(
        "the model's context is {context} tokens, the prompt has {prompt} and the answer may have {answer}; \
         shorten the messages or ask for fewer tokens"
    )]
    ContextLength {
        /// Tokens that fit.
        context: usize,
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens asked for.
        answer: usize,
    },
    /// The messages can't be written in the model's chat format.
    #[error(
        "the messages can't be written in this model's chat format; use system, user and assistant in turn"
    )]
    Template,
    /// The body is larger than the limit.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// Most bytes.
        limit: usize,
    },
    /// The body's media type is another.
    #[error("the body must be `{expected}`")]
    MediaType {
        /// The right media type.
        expected: &'static str,
    },
    /// The body did not come in time, or broke off.
    #[error("the body did not arrive whole within the time limit")]
    BodyTimeout,
    /// There is no such path.
    #[error("there is nothing at this path; see /v1/models and /v1/chat/completions")]
    NotFound,
    /// Prompts are answered by another enclave of the pipeline.
    #[error("this enclave is stage {stage} of a pipeline and answers no prompts; ask the pipeline's head")]
    NotTheHead {
        /// Its stage.
        stage: u16,
    },
    /// The other stages can't be had.
    #[error("a stage of the pipeline can't be had; try again, or another pipeline")]
    PipelineUnavailable,
    /// There is no pipeline here.
    #[error(
        "this enclave computes its model alone, or isn't the head of its pipeline: there are no stages to attest"
    )]
    NoPipeline,
    /// The path exists, the method doesn't.
    #[error("this path answers {allow} only")]
    Method {
        /// The method that works.
        allow: &'static str,
    },
    /// Nothing was attested on this connection, or too long ago.
    #[error(
        "this connection is not attested; POST {path} on it first and check the evidence",
        path = bastide_attestation::ATTEST_PATH
    )]
    AttestationRequired,
    /// The attest request is not what the protocol defines.
    #[error("the attest request is not deterministic CBOR of the defined shape")]
    AttestMalformed,
    /// Too many sessions wait for a report.
    #[error("too many sessions wait for evidence; try again on a new connection")]
    AttestBusy,
    /// More attests came from one client than one may make.
    #[error(
        "attests come faster than one client or connection may make them; wait, and use a new connection"
    )]
    AttestLimited {
        /// When another will be answered, seconds.
        seconds: u32,
    },
    /// No report could be had.
    #[error("the security processor gave no evidence; try again on a new connection, or another node")]
    AttestFailed,
    /// The session key may not sign for the statement that the request names.
    #[error(
        "the session key can't answer for this statement: it is not of this boot, too old, or something has changed \
         since; ask for a report (lane 1)"
    )]
    LaneKUnavailable,
    /// What was attested on this connection is not so any more.
    #[error(
        "what this connection attested has changed; POST {path} on a new one and check the evidence",
        path = bastide_attestation::ATTEST_PATH
    )]
    AttestationOutdated,
    /// GPUs were to be asked on demand.
    #[error(
        "no evidence of GPUs could be had on demand; ask for current evidence (gpu 0), or try again on a new connection"
    )]
    GpusUnavailable,
    /// The machine's GPUs are not attested at the moment.
    #[error(
        "this enclave's GPUs are not attested at the moment; try again on a new connection, or another node"
    )]
    GpusNotAttested,
    /// A sealed request can't be read.
    #[error("the sealed request is not chunked OHTTP with binary HTTP inside, or was changed on its way")]
    SealedMalformed,
    /// A sealed request names a key that is not in use.
    #[error("the sealed request names a key that is not in use; ask for the key's evidence again")]
    SealedKeyUnknown,
    /// A sealed request names no statement that stands for its key.
    #[error(
        "the sealed request names no statement that was given out for its key in the last 300 s; \
         ask for the key's evidence again"
    )]
    SealedStatement,
    /// A sealed request that came before.
    #[error("a sealed request with this encapsulated key came before; seal it again")]
    SealedReplay,
    /// Too much has to be remembered for sealed mode.
    #[error("too many sealed requests came in the last 5 minutes; try again later")]
    SealedBusy,
    /// Too many generations run and wait.
    #[error("all generations are taken and the queue is full; try again")]
    Overloaded,
    /// The queue is full, and this client has more in it than others.
    #[error("the queue is full and others wait who have less in it than you; ask for less at once")]
    ShareTaken,
    /// The enclave is about to stop.
    #[error("this enclave is stopping; use another node")]
    Draining,
    /// The answer took longer than the limit.
    #[error("the answer took longer than the limit of {seconds} s; ask for fewer tokens")]
    TimeLimit {
        /// The limit, seconds.
        seconds: u64,
    },
    /// Our own fault.
    #[error("the enclave failed to answer; the fault is its own, not the request's")]
    Internal,
}

fn named(param: &str) -> String {
    if param.is_empty() {
        "the body".to_owned()
    } else {
        format!("`{param}`")
    }
}

impl ApiError {
    /// A parameter outside its type or range.
    pub(crate) fn invalid(param: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Invalid {
            param: param.into(),
            expected: expected.into(),
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Json { .. }
            | Self::Object { .. }
            | Self::Missing { .. }
            | Self::Invalid { .. }
            | Self::Unsupported { .. }
            | Self::Unknown { .. }
            | Self::ContextLength { .. }
            | Self::Template
            | Self::AttestMalformed
            | Self::SealedMalformed => StatusCode::BAD_REQUEST,
            Self::AttestationRequired | Self::AttestationOutdated | Self::SealedStatement => {
                StatusCode::FORBIDDEN
            }
            Self::LaneKUnavailable | Self::SealedReplay => StatusCode::CONFLICT,
            Self::SealedKeyUnknown => StatusCode::UNPROCESSABLE_ENTITY,
            Self::ModelNotFound { .. } | Self::NotFound | Self::NoPipeline => StatusCode::NOT_FOUND,
            Self::NotTheHead { .. } => StatusCode::MISDIRECTED_REQUEST,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::AttestLimited { .. } | Self::ShareTaken => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::AttestBusy
            | Self::AttestFailed
            | Self::GpusNotAttested
            | Self::GpusUnavailable
            | Self::Overloaded
            | Self::SealedBusy
            | Self::PipelineUnavailable
            | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimeLimit { .. } => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Json { .. } => "invalid_json",
            Self::Object { .. } => "invalid_object",
            Self::Missing { .. } => "missing_required_parameter",
            Self::Invalid { .. } => "invalid_value",
            Self::Unsupported { .. } => "unsupported_parameter",
            Self::Unknown { .. } => "unknown_parameter",
            Self::ModelNotFound { .. } => "model_not_found",
            Self::ContextLength { .. } => "context_length_exceeded",
            Self::Template => "invalid_messages",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::MediaType { .. } => "unsupported_media_type",
            Self::BodyTimeout => "body_timeout",
            Self::NotFound => "unknown_url",
            Self::NotTheHead { .. } => "not_the_head",
            Self::PipelineUnavailable => "pipeline_unavailable",
            Self::NoPipeline => "no_pipeline",
            Self::Method { .. } => "method_not_allowed",
            Self::AttestationRequired => "attestation_required",
            Self::AttestMalformed => "attest_malformed",
            Self::AttestBusy => "attest_busy",
            Self::AttestLimited { .. } => "attest_limited",
            Self::AttestFailed => "attest_failed",
            Self::GpusNotAttested => "gpus_not_attested",
            Self::GpusUnavailable => "gpus_unavailable",
            Self::LaneKUnavailable => "lane_k_unavailable",
            Self::AttestationOutdated => "attestation_outdated",
            Self::SealedMalformed => "sealed_malformed",
            Self::SealedKeyUnknown => "sealed_key_unknown",
            Self::SealedStatement => "sealed_statement",
            Self::SealedReplay => "sealed_replay",
            Self::SealedBusy => "sealed_busy",
            Self::Overloaded => "overloaded",
            Self::ShareTaken => "share_taken",
            Self::Draining => "draining",
            Self::TimeLimit { .. } => "time_limit",
            Self::Internal => "internal_error",
        }
    }

    /// The parameter at fault, if it is one that we know.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Object { param, .. }
            | Self::Missing { param, .. }
            | Self::Invalid { param, .. }
            | Self::Unsupported { param, .. }
            | Self::Unknown { param, .. } => Some(param.as_str()).filter(|param| !param.is_empty()),
            Self::ModelNotFound { .. } => Some("model"),
            Self::ContextLength { .. } | Self::Template => Some("messages"),
            _ => None,
        }
    }

    /// Seconds after which another attempt makes sense.
    #[must_use]
    pub const fn retry_after(&self) -> Option<u32> {
        match self {
            Self::AttestLimited { seconds } => Some(*seconds),
            Self::Overloaded | Self::ShareTaken | Self::AttestBusy => Some(1),
            Self::AttestFailed
            | Self::GpusNotAttested
            | Self::SealedBusy
            | Self::PipelineUnavailable
            | Self::Draining => Some(5),
            Self::GpusUnavailable => Some(10),
            _ => None,
        }
    }

    /// Whether the connection ends with this answer.
    #[must_use]
    pub const fn closes(&self) -> bool {
        matches!(
            self,
            Self::AttestationRequired
                | Self::AttestationOutdated
                | Self::AttestMalformed
                | Self::AttestBusy
                | Self::AttestLimited { .. }
                | Self::AttestFailed
                | Self::GpusNotAttested
                | Self::GpusUnavailable
                | Self::BodyTooLarge { .. }
                | Self::BodyTimeout
                | Self::Draining
        )
    }

    const fn kind(&self) -> &'static str {
        match self.status().as_u16() {
            403 => "permission_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            503 => "overloaded_error",
            _ => "server_error",
        }
    }

    /// `{"error":{"message","type","param","code"}}`.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Envelope<'a> {
            error: Body<'a>,
        }
        #[derive(Serialize)]
        struct Body<'a> {
            message: &'a str,
            r#type: &'static str,
            param: Option<&'a str>,
            code: &'static str,
        }
        json::encode(&Envelope {
            error: Body {
                message: &self.to_string(),
                r#type: self.kind(),
                param: self.param(),
                code: self.code(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ApiError;

    #[test]
    fn an_error_has_openais_shape() {
        let error = ApiError::invalid("temperature", "a number from 0 to 2");
        assert_eq!(
            String::from_utf8(error.to_json()).unwrap(),
            r#"{"error":{"message":"`temperature` must be a number from 0 to 2","type":"invalid_request_error","param":"temperature","code":"invalid_value"}}"#
        );
        let error: serde_json::Value = serde_json::from_slice(
            &ApiError::Unknown {
                param: String::new(),
                position: 3,
            }
            .to_json(),
        )
        .unwrap();
        assert_eq!(error["error"]["param"], serde_json::Value::Null);
        assert_eq!(
            error["error"]["message"],
            "member 3 of the body is not a parameter this enclave knows; leave it out"
        );
    }

    #[test]
    fn every_refusal_for_load_says_when_to_come_back() {
        for error in [
            ApiError::AttestBusy,
            ApiError::AttestFailed,
            ApiError::GpusNotAttested,
            ApiError::GpusUnavailable,
            ApiError::Overloaded,
            ApiError::SealedBusy,
            ApiError::PipelineUnavailable,
            ApiError::Draining,
        ] {
            assert_eq!(error.status(), 503);
            assert!(error.retry_after().is_some(), "{error}");
        }
        for error in [ApiError::AttestLimited { seconds: 7 }, ApiError::ShareTaken] {
            assert_eq!(error.status(), 429);
            assert!(error.retry_after().is_some(), "{error}");
            assert!(
                String::from_utf8(error.to_json())
                    .unwrap()
                    .contains("rate_limit_error")
            );
        }
    }
}
