//! What is asked of a pipeline, and whether it is answered as by one node: the
//! same text, token by token, with the same log probabilities to the last digit.

use std::collections::BTreeMap;

use bastide_tests::http;
use serde_json::{Value, json};

const PROMPTS: [&str; 8] = [
    "Tell me a story about a fox.",
    "What is Bastide?",
    "Tell me a story about a dog and a cat.",
    "Tell me a story about a girl who found a key in the garden.",
    "Tell me a story about a boat on the sea, and about the wind.",
    "What is the capital of Norway?",
    "Once upon a time there was a little town with walls around it, and in the town there lived a baker, \
     a smith, and a woman who kept bees. One morning, the baker found that all of the bread was gone. Go on.",
    "Hello!",
];
const LENGTHS: [u32; 4] = [12, 48, 80, 120];

/// A request, without saying whether it is to be streamed.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    body: Value,
    /// What one node said.
    pub(crate) expected: Option<Said>,
}

/// An answer, however it came.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Said {
    text: String,
    finish: String,
    /// Each token with its log probability and those of the runners-up.
    pub(crate) tokens: Vec<Value>,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The error's code, or what became of the connection.
    pub(crate) code: String,
    /// What it said beside that.
    pub(crate) message: String,
}

/// Every prompt, greedy and seeded, long and short.
pub(crate) fn questions() -> Vec<Question> {
    let mut questions = Vec::new();
    for (prompt, number) in PROMPTS.iter().zip(0_u32..) {
        for seed in [None, Some(7 + number)] {
            let length = LENGTHS[questions.len() % LENGTHS.len()];
            let mut body = json!({
                "model": "bastide-5m", "temperature": 0, "max_tokens": length,
                "logprobs": true, "top_logprobs": 2,
                "messages": [{"role": "user", "content": prompt}],
            });
            if let Some(seed) = seed {
                body["temperature"] = json!(0.9);
                body["top_p"] = json!(0.95);
                body["seed"] = json!(seed);
            }
            questions.push(Question { body, expected: None });
        }
    }
    questions
}

impl Question {
    /// Asks the API at `authority`.
    ///
    /// # Errors
    /// [`Refused`] if there is no whole answer.
    pub(crate) fn ask(&self, authority: &str, stream: bool) -> Result<Said, Refused> {
        let mut body = self.body.clone();
        body["stream"] = stream.into();
        let answer = http::request(
            authority,
            "POST",
            "/v1/chat/completions",
            &body.to_string(),
            |_| (),
        );
        let answer = answer.map_err(|message| Refused {
            code: "connection".to_owned(),
            message,
        })?;
        if answer.status != 200 {
            let error: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            return Err(refused(&error, answer.status));
        }
        let mut said = Said::default();
        if !stream {
            let whole: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            said.take(&whole["choices"][0], "message");
            return said.whole();
        }
        for data in answer.body.lines().filter_map(|line| line.strip_prefix("data: ")) {
            let chunk: Value = serde_json::from_str(data).unwrap_or_default();
            if chunk.get("error").is_some() {
                return Err(refused(&chunk, answer.status));
            }
            said.take(&chunk["choices"][0], "delta");
        }
        said.whole()
    }
}

impl Said {
    fn take(&mut self, choice: &Value, part: &str) {
        self.text
            .push_str(choice[part]["content"].as_str().unwrap_or_default());
        self.finish
            .push_str(choice["finish_reason"].as_str().unwrap_or_default());
        let tokens = choice["logprobs"]["content"].as_array();
        self.tokens.extend(tokens.into_iter().flatten().cloned());
    }

    /// An answer that has an end; a stream that was cut has none.
    fn whole(self) -> Result<Self, Refused> {
        if self.finish.is_empty() || self.tokens.is_empty() {
            return Err(Refused {
                code: "cut".to_owned(),
                message: format!("no end after {} tokens", self.tokens.len()),
            });
        }
        Ok(self)
    }
}

fn refused(error: &Value, status: u16) -> Refused {
    let member = |name: &str| error["error"][name].as_str().unwrap_or_default().to_owned();
    Refused {
        code: format!("{status} {}", member("code")),
        message: member("message"),
    }
}

/// How often there was no answer, by why.
pub(crate) type Refusals = BTreeMap<String, u64>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_says_what_the_whole_answer_says_and_one_without_an_end_is_none() {
        let token = |text: &str| json!({"token": text, "logprob": -0.5});
        let mut whole = Said::default();
        whole.take(
            &json!({"message": {"content": "a fox"}, "finish_reason": "stop",
                    "logprobs": {"content": [token("a"), token(" fox")]}}),
            "message",
        );
        let mut streamed = Said::default();
        for piece in ["a", " fox"] {
            streamed.take(
                &json!({"delta": {"content": piece}, "finish_reason": null, "logprobs": {"content": [token(piece)]}}),
                "delta",
            );
        }
        assert_eq!(
            streamed.clone().whole().map_err(|refused| refused.code),
            Err("cut".to_owned())
        );
        streamed.take(&json!({"delta": {}, "finish_reason": "stop"}), "delta");
        assert_eq!(whole, streamed);
        whole.tokens[1]["logprob"] = json!(-0.500_000_1);
        assert_ne!(whole, streamed);
    }
}
