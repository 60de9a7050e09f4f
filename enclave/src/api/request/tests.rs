//! Tests of the request parser: what is accepted, and a table of refusals.

use super::{ChatRequest, Served};
use crate::api::{ApiError, Speaker};
use proptest::prelude::*;

const SERVED: Served<'static> = Served {
    model: "tiny",
    tokens: 100,
};

fn parse(extra: &str) -> Result<ChatRequest, ApiError> {
    let body = format!(r#"{{"model":"tiny","messages":[{{"role":"user","content":"CANARY"}}]{extra}}}"#);
    ChatRequest::parse(body.as_bytes(), SERVED)
}

#[test]
fn defaults_are_openais() {
    let request = parse("").unwrap();
    assert_eq!(request.messages.len(), 1);
    assert_eq!(request.messages[0].speaker, Speaker::User);
    let parameters = &request.parameters;
    assert_eq!((parameters.temperature, parameters.top_p), (1.0, 1.0));
    assert_eq!(
        (parameters.max_tokens, parameters.seed, parameters.logprobs),
        (None, None, None)
    );
    assert!(parameters.stop.is_empty() && !request.stream && !request.include_usage);
}

#[test]
fn every_parameter_is_read() {
    let request = parse(
        r#","stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false},
            "max_completion_tokens":7,"temperature":0,"top_p":0.5,"seed":-3,"stop":["a","b"],
            "logprobs":true,"top_logprobs":20,"user":"someone","n":1,"frequency_penalty":0.0"#,
    )
    .unwrap();
    let parameters = &request.parameters;
    assert!(request.stream && request.include_usage);
    assert_eq!((parameters.temperature, parameters.top_p), (0.0, 0.5));
    assert_eq!(
        (parameters.max_tokens, parameters.seed, parameters.logprobs),
        (Some(7), Some(-3), Some(20))
    );
    assert_eq!(parameters.stop.len(), 2);
    assert_eq!(
        parse(r#","stop":"x","logprobs":true"#)
            .unwrap()
            .parameters
            .logprobs,
        Some(0)
    );
    assert_eq!(
        parse(r#","max_tokens":9,"max_completion_tokens":9"#)
            .unwrap()
            .parameters
            .max_tokens,
        Some(9)
    );
}

/// As openai-python, LangChain, LiteLLM and clients that write out every
/// member they know send it.
#[test]
fn what_common_clients_add_without_effect_is_passed_over() {
    let request = parse(
        r#","user":"u","metadata":{"a":"b"},"n":1,"parallel_tool_calls":true,"tools":[],"tool_choice":"auto",
            "response_format":{"type":"text"},"frequency_penalty":0,"presence_penalty":0.0,"logit_bias":{},
            "stop":null,"seed":null,"max_tokens":null,"max_completion_tokens":null,"temperature":null,
            "top_p":null,"logprobs":null,"top_logprobs":null,"stream":null,"stream_options":null,
            "functions":null,"store":false,"service_tier":"auto","request_id":"r","priority":0,"cache_salt":"s",
            "skip_special_tokens":true,"chat_template_kwargs":{},"extra_body":{},"not_invented_yet":null"#,
    )
    .unwrap();
    assert_eq!(request, parse("").unwrap());
    let request = parse(r#","stream":true,"stream_options":{"include_usage":true,"newer":null}"#).unwrap();
    assert!(request.stream && request.include_usage);
}

#[test]
fn bad_values_are_named_and_nothing_is_echoed() {
    for (extra, code, param) in [
        (r#","temperature":2.1"#, "invalid_value", Some("temperature")),
        (r#","temperature":-0.1"#, "invalid_value", Some("temperature")),
        (r#","temperature":"CANARY""#, "invalid_value", Some("temperature")),
        (r#","temperature":1e999"#, "invalid_value", Some("temperature")),
        (r#","top_p":0"#, "invalid_value", Some("top_p")),
        (r#","top_p":1.01"#, "invalid_value", Some("top_p")),
        (r#","seed":1.5"#, "invalid_value", Some("seed")),
        (r#","seed":99999999999999999999"#, "invalid_value", Some("seed")),
        (r#","max_tokens":0"#, "invalid_value", Some("max_tokens")),
        (r#","max_tokens":101"#, "invalid_value", Some("max_tokens")),
        (r#","max_tokens":-1"#, "invalid_value", Some("max_tokens")),
        (
            r#","max_completion_tokens":101"#,
            "invalid_value",
            Some("max_completion_tokens"),
        ),
        (
            r#","max_tokens":1,"max_completion_tokens":2"#,
            "invalid_value",
            Some("max_tokens"),
        ),
        (
            r#","stop":["a","b","c","d","CANARY"]"#,
            "invalid_value",
            Some("stop"),
        ),
        (r#","stop":"""#, "invalid_value", Some("stop")),
        (r#","stop":[7]"#, "invalid_value", Some("stop")),
        (r#","stop":{"CANARY":1}"#, "invalid_value", Some("stop")),
        (r#","logprobs":"CANARY""#, "invalid_value", Some("logprobs")),
        (
            r#","logprobs":true,"top_logprobs":21"#,
            "invalid_value",
            Some("top_logprobs"),
        ),
        (r#","top_logprobs":2"#, "invalid_value", Some("top_logprobs")),
        (r#","stream":"CANARY""#, "invalid_value", Some("stream")),
        (r#","stream_options":{}"#, "invalid_value", Some("stream_options")),
        (
            r#","stream":true,"stream_options":{"CANARY":1}"#,
            "unknown_parameter",
            Some("stream_options"),
        ),
        (r#","n":2"#, "unsupported_parameter", Some("n")),
        (
            r#","tools":[{"type":"function"}]"#,
            "unsupported_parameter",
            Some("tools"),
        ),
        (
            r#","response_format":{"type":"json_object"}"#,
            "unsupported_parameter",
            Some("response_format"),
        ),
        (
            r#","guided_json":{"CANARY":1}"#,
            "unsupported_parameter",
            Some("guided_json"),
        ),
        (
            r#","chat_template_kwargs":{"enable_thinking":true}"#,
            "unsupported_parameter",
            Some("chat_template_kwargs"),
        ),
        (r#","CANARY":1"#, "unknown_parameter", None),
        (r#","seed":1,"seed":2"#, "invalid_object", None),
    ] {
        let error = parse(extra).unwrap_err();
        assert_eq!((error.code(), error.param()), (code, param), "{extra}");
        assert_eq!(error.status(), 400, "{extra}");
        assert!(
            !String::from_utf8(error.to_json()).unwrap().contains("CANARY"),
            "{extra}"
        );
    }
}

#[test]
fn the_model_and_the_messages_must_be_there() {
    for (body, code, status) in [
        (
            r#"{"messages":[{"role":"user","content":"x"}]}"#,
            "missing_required_parameter",
            400,
        ),
        (r#"{"model":"CANARY","messages":[]}"#, "model_not_found", 404),
        (r#"{"model":7}"#, "invalid_value", 400),
        (r#"{"model":"tiny"}"#, "missing_required_parameter", 400),
        ("CANARY", "invalid_json", 400),
        ("", "invalid_json", 400),
        (r#"["CANARY"]"#, "invalid_object", 400),
    ] {
        let error = ChatRequest::parse(body.as_bytes(), SERVED).unwrap_err();
        assert_eq!((error.code(), error.status().as_u16()), (code, status), "{body}");
        assert!(!error.to_string().contains("CANARY"), "{body}");
    }
}

#[test]
fn every_effective_parameter_changes_the_digest() {
    let digest = |extra: &str, tokens: u32| parse(extra).unwrap().parameters.digest(tokens);
    let mut digests = vec![
        digest("", 5),
        digest("", 6),
        digest(r#","temperature":0"#, 5),
        digest(r#","top_p":0.9"#, 5),
        digest(r#","seed":0"#, 5),
        digest(r#","seed":1"#, 5),
        digest(r#","stop":"a""#, 5),
        digest(r#","logprobs":true"#, 5),
        digest(r#","logprobs":true,"top_logprobs":1"#, 5),
    ];
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 9);
    assert_eq!(digest(r#","user":"x""#, 5), digest("", 5));
}

proptest! {
    #[test]
    fn no_body_panics(body: Vec<u8>, cut in 0_usize..100) {
        let _ = ChatRequest::parse(&body, SERVED);
        let whole = br#"{"model":"tiny","messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"stop":["b"]}"#;
        let _ = ChatRequest::parse(&whole[..cut.min(whole.len())], SERVED);
    }
}
