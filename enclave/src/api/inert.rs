//! OpenAI parameters that this enclave doesn't implement: those that never
//! change an answer are ignored, those that would are refused unless they ask
//! for what happens anyway.

use super::error::ApiError;
use super::members::Members;

/// Hints about who asks, caching, routing and book-keeping elsewhere.
const IGNORED: [&str; 11] = [
    "user",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "service_tier",
    "prediction",
    "parallel_tool_calls",
    "request_id",
    "priority",
    "cache_salt",
];

/// Name, the JSON values that change nothing, and what is accepted, in words.
const NEUTRAL: [(&str, &[&str], &str); 43] = [
    ("n", &["1"], "one answer a request: 1"),
    ("best_of", &["1"], "one answer a request: 1"),
    ("frequency_penalty", &["0", "0.0"], "no penalties: 0"),
    ("presence_penalty", &["0", "0.0"], "no penalties: 0"),
    ("repetition_penalty", &["1", "1.0"], "no penalties: 1"),
    ("length_penalty", &["1", "1.0"], "no penalties: 1"),
    ("logit_bias", &["{}"], "no biases: leave it out"),
    ("top_k", &["-1", "0"], "use `top_p`"),
    ("min_p", &["0", "0.0"], "use `top_p`"),
    ("min_tokens", &["0"], "leave it out"),
    ("ignore_eos", &["false"], "leave it out"),
    ("echo", &["false"], "leave it out"),
    ("suffix", &["\"\""], "leave it out"),
    ("tools", &["[]"], "no tools: leave it out"),
    ("tool_choice", &["\"none\"", "\"auto\""], "no tools: leave it out"),
    ("functions", &["[]"], "no tools: leave it out"),
    (
        "function_call",
        &["\"none\"", "\"auto\""],
        "no tools: leave it out",
    ),
    ("web_search_options", &[], "no network: leave it out"),
    ("store", &["false"], "nothing is stored: leave it out"),
    (
        "response_format",
        &["{\"type\":\"text\"}"],
        "text only: leave it out",
    ),
    ("modalities", &["[\"text\"]"], "text only: leave it out"),
    ("audio", &[], "text only: leave it out"),
    ("reasoning_effort", &["\"none\""], "no reasoning: leave it out"),
    ("verbosity", &["\"medium\""], "ask for it in a message"),
    ("moderation", &[], "nothing is moderated: leave it out"),
    ("stop_token_ids", &["[]"], "use `stop`"),
    ("prompt", &[], "use `messages`"),
    // Not OpenAI's: what other servers and their clients know.
    ("typical_p", &["1", "1.0"], "use `top_p`"),
    ("use_beam_search", &["false"], "leave it out"),
    ("skip_special_tokens", &["true"], "leave it out"),
    ("include_stop_str_in_output", &["false"], "leave it out"),
    ("add_generation_prompt", &["true"], "leave it out"),
    ("continue_final_message", &["false"], "leave it out"),
    ("chat_template", &[], "the model's own is attested: leave it out"),
    ("chat_template_kwargs", &["{}"], "leave it out"),
    ("documents", &["[]"], "write them into a message"),
    ("guided_json", &[], "text only: leave it out"),
    ("guided_regex", &[], "text only: leave it out"),
    ("guided_choice", &[], "text only: leave it out"),
    ("guided_grammar", &[], "text only: leave it out"),
    ("thinking", &[], "no reasoning: leave it out"),
    ("enable_thinking", &["false"], "no reasoning: leave it out"),
    ("extra_body", &["{}"], "its members belong into the body itself"),
];

/// Takes these parameters out of a request.
pub(super) fn take_all(members: &mut Members<'_>) -> Result<(), ApiError> {
    for name in IGNORED {
        members.take(name);
    }
    for (name, neutral, instead) in NEUTRAL {
        let Some(raw) = members.take(name) else {
            continue;
        };
        let is_neutral = serde_json::from_str::<serde_json::Value>(raw.get()).is_ok_and(|value| {
            neutral
                .iter()
                .any(|text| serde_json::from_str::<serde_json::Value>(text).is_ok_and(|same| same == value))
        });
        if !is_neutral {
            return Err(ApiError::Unsupported {
                param: members.path(name),
                instead,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{NEUTRAL, take_all};
    use crate::api::members::Members;

    #[test]
    fn neutral_values_pass_and_others_are_refused_by_name() {
        for (name, neutral, _) in NEUTRAL {
            for value in neutral.iter().chain(&["null"]) {
                let body = format!("{{\"{name}\": {value} }}");
                let mut members = Members::of_body(body.as_bytes()).unwrap();
                take_all(&mut members).unwrap();
                members.finish().unwrap();
            }
            let body = format!("{{\"{name}\":[\"CANARY\"]}}");
            let error = take_all(&mut Members::of_body(body.as_bytes()).unwrap()).unwrap_err();
            assert_eq!(
                (error.code(), error.param()),
                ("unsupported_parameter", Some(name))
            );
            assert!(!error.to_string().contains("CANARY"));
        }
    }
}
