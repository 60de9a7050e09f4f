//! Answers in OpenAI's shapes, whole and in chunks. Owns no text longer than
//! it takes to serialise it.

use serde::Serialize;
use zeroize::Zeroizing;

use bastide_attestation::FinishReason;

use crate::json;

/// What is the same in every chunk of an answer.
#[derive(Debug, Clone)]
pub(crate) struct AnswerHead {
    /// `chatcmpl-` and 24 random hex digits.
    pub(crate) id: String,
    /// Seconds since the Unix epoch.
    pub(crate) created: u64,
    /// The model's name.
    pub(crate) model: String,
    /// `fp_` and the first 16 hex digits of the model manifest's digest.
    pub(crate) system_fingerprint: String,
}

/// Token counts.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Usage {
    /// Tokens of the prompt.
    pub(crate) prompt_tokens: u64,
    /// Tokens of the answer.
    pub(crate) completion_tokens: u64,
    /// Both.
    pub(crate) total_tokens: u64,
}

impl Usage {
    pub(crate) const fn new(prompt_tokens: u64, completion_tokens: u64) -> Self {
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens.saturating_add(completion_tokens),
        }
    }
}

/// One token and how probable it was.
#[derive(Clone, Serialize)]
pub(crate) struct TokenWord {
    /// Its text; bytes that are no UTF-8 by themselves are replaced.
    pub(crate) token: Zeroizing<String>,
    /// Natural logarithm of its probability.
    pub(crate) logprob: f32,
    /// Its exact bytes.
    pub(crate) bytes: Zeroizing<Vec<u8>>,
}

/// A token of the answer with its alternatives.
#[derive(Clone, Serialize)]
pub(crate) struct TokenLogprob {
    /// The token that was chosen.
    #[serde(flatten)]
    pub(crate) chosen: TokenWord,
    /// The most probable ones, the first being the most probable.
    pub(crate) top_logprobs: Vec<TokenWord>,
}

#[derive(Serialize)]
struct Logprobs<'a> {
    content: &'a [TokenLogprob],
    refusal: (),
}

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    usage: Usage,
    system_fingerprint: &'a str,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u8,
    message: AnswerMessage<'a>,
    logprobs: Option<Logprobs<'a>>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct AnswerMessage<'a> {
    role: &'static str,
    content: &'a str,
    refusal: (),
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'a str,
    choices: &'a [ChunkChoice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

#[derive(Serialize)]
struct ChunkChoice<'a> {
    index: u8,
    delta: Delta<'a>,
    logprobs: Option<Logprobs<'a>>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

impl AnswerHead {
    /// The body of a whole answer.
    pub(crate) fn whole(
        &self,
        text: &str,
        logprobs: Option<&[TokenLogprob]>,
        finish: FinishReason,
        usage: Usage,
    ) -> Vec<u8> {
        json::encode(&Completion {
            id: &self.id,
            object: "chat.completion",
            created: self.created,
            model: &self.model,
            choices: [Choice {
                index: 0,
                message: AnswerMessage {
                    role: "assistant",
                    content: text,
                    refusal: (),
                },
                logprobs: logprobs.map(|content| Logprobs { content, refusal: () }),
                finish_reason: finish.as_str(),
            }],
            usage,
            system_fingerprint: &self.system_fingerprint,
        })
    }

    /// The first chunk: who speaks.
    pub(crate) fn opening(&self, with_usage: bool) -> Vec<u8> {
        let delta = Delta {
            role: Some("assistant"),
            content: Some(""),
        };
        self.chunk(delta, None, None, with_usage)
    }

    /// A chunk with a piece of the text.
    pub(crate) fn piece(&self, text: &str, logprobs: Option<&[TokenLogprob]>, with_usage: bool) -> Vec<u8> {
        let delta = Delta {
            role: None,
            content: Some(text),
        };
        self.chunk(delta, logprobs, None, with_usage)
    }

    /// The chunk that says why the answer ended.
    pub(crate) fn closing(&self, finish: FinishReason, with_usage: bool) -> Vec<u8> {
        self.chunk(Delta::default(), None, Some(finish), with_usage)
    }

    /// The chunk with the usage, which has no choices.
    pub(crate) fn usage(&self, usage: Usage) -> Vec<u8> {
        self.encode(&[], Some(Some(usage)))
    }

    /// `with_usage`: OpenAI puts `"usage":null` into every other chunk then.
    fn chunk(
        &self,
        delta: Delta<'_>,
        logprobs: Option<&[TokenLogprob]>,
        finish: Option<FinishReason>,
        with_usage: bool,
    ) -> Vec<u8> {
        let choice = ChunkChoice {
            index: 0,
            delta,
            logprobs: logprobs.map(|content| Logprobs { content, refusal: () }),
            finish_reason: finish.map(FinishReason::as_str),
        };
        self.encode(&[choice], with_usage.then_some(None))
    }

    fn encode(&self, choices: &[ChunkChoice<'_>], usage: Option<Option<Usage>>) -> Vec<u8> {
        json::encode(&Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            system_fingerprint: &self.system_fingerprint,
            choices,
            usage,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{AnswerHead, TokenLogprob, TokenWord, Usage};
    use bastide_attestation::FinishReason;
    use serde_json::{Value, json};
    use zeroize::Zeroizing;

    fn head() -> AnswerHead {
        AnswerHead {
            id: "chatcmpl-1".to_owned(),
            created: 7,
            model: "tiny".to_owned(),
            system_fingerprint: "fp_0".to_owned(),
        }
    }

    fn word(text: &str) -> TokenWord {
        TokenWord {
            token: Zeroizing::new(text.to_owned()),
            logprob: -0.5,
            bytes: Zeroizing::new(text.as_bytes().to_vec()),
        }
    }

    fn read(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn a_whole_answer_has_openais_shape() {
        let logprobs = [TokenLogprob {
            chosen: word("a"),
            top_logprobs: vec![word("a"), word("b")],
        }];
        let body = head().whole("a", Some(&logprobs), FinishReason::Stop, Usage::new(3, 1));
        let entry = |text: &str| json!({"token": text, "logprob": -0.5, "bytes": text.as_bytes()});
        assert_eq!(
            read(&body),
            json!({
                "id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "tiny",
                "choices": [{
                    "index": 0,
                    "message": {"role": "assistant", "content": "a", "refusal": null},
                    "logprobs": {"content": [{
                        "token": "a", "logprob": -0.5, "bytes": [97],
                        "top_logprobs": [entry("a"), entry("b")],
                    }], "refusal": null},
                    "finish_reason": "stop",
                }],
                "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
                "system_fingerprint": "fp_0",
            })
        );
    }

    #[test]
    fn chunks_have_openais_shape() {
        let opening = read(&head().opening(false));
        assert_eq!(opening["object"], "chat.completion.chunk");
        assert_eq!(
            opening["choices"][0],
            json!({"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": null, "finish_reason": null})
        );
        assert!(opening.get("usage").is_none());
        let piece = read(&head().piece("x", None, true));
        assert_eq!(piece["choices"][0]["delta"], json!({"content": "x"}));
        assert_eq!(piece.get("usage"), Some(&Value::Null));
        let closing = read(&head().closing(FinishReason::Length, false));
        assert_eq!(closing["choices"][0]["delta"], json!({}));
        assert_eq!(closing["choices"][0]["finish_reason"], "length");
        let usage = read(&head().usage(Usage::new(1, 2)));
        assert_eq!(usage["choices"], json!([]));
        assert_eq!(usage["usage"]["total_tokens"], 3);
    }
}
