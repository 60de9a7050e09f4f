//! A chat completion request, parsed into what the model is asked. Owns the
//! ranges of every parameter and the digest of those that took effect.

use core::fmt;
use core::ops::RangeInclusive;

use bastide_attestation::codec::MapBuilder;
use bastide_attestation::sha256;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::error::ApiError;
use super::inert;
use super::members::Members;
use super::message::{self, Message};

/// Most stop texts of a request.
const MOST_STOPS: usize = 4;
/// Most bytes of one stop text.
const MOST_STOP_BYTES: usize = 1024;
/// Most alternatives whose probability can be asked for at each token.
const MOST_TOP_LOGPROBS: u8 = 20;
const SAMPLING_LABEL: &[u8] = b"bastide-sampling-v1\0";

/// What a request is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Served<'a> {
    /// Name of the one model.
    pub model: &'a str,
    /// Most tokens a request may ask for.
    pub tokens: u32,
}

/// A chat completion request. Its text is zeroed when dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The conversation.
    pub messages: Vec<Message>,
    /// How to answer.
    pub parameters: Parameters,
    /// Whether the answer comes in pieces.
    pub stream: bool,
    /// Whether a streamed answer ends with its usage.
    pub include_usage: bool,
}

/// How to answer.
#[derive(Clone, PartialEq)]
pub struct Parameters {
    /// Most tokens of the answer, if the client says so.
    pub max_tokens: Option<u32>,
    /// 0 (greedy) to 2.
    pub temperature: f32,
    /// Above 0, up to 1.
    pub top_p: f32,
    /// What the noise is derived from; drawn by the enclave if absent.
    pub seed: Option<i64>,
    /// Texts that end the answer; they are part of the prompt's secrets.
    pub stop: Vec<Zeroizing<String>>,
    /// Alternatives to report at each token, 0 for the token alone; `None` for no probabilities.
    pub logprobs: Option<u8>,
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parameters(..)")
    }
}

impl ChatRequest {
    /// Reads a request's exact body.
    ///
    /// # Errors
    /// [`ApiError`] names the first fault and nothing of the content.
    pub fn parse(body: &[u8], served: Served<'_>) -> Result<Self, ApiError> {
        let mut members = Members::of_body(body)?;
        let model: String = members
            .typed("model", "a text")?
            .ok_or_else(|| missing("model", "name the model, see /v1/models"))?;
        if model != served.model {
            return Err(ApiError::ModelNotFound {
                served: served.model.to_owned(),
            });
        }
        let messages = message::parse_all(members.required("messages", "an array of messages")?)?;
        let stream = members.typed("stream", "true or false")?.unwrap_or(false);
        let include_usage = stream_options(&mut members, stream)?;
        let parameters = Parameters {
            max_tokens: max_tokens(&mut members, served.tokens)?,
            temperature: number(&mut members, "temperature", 0.0..=2.0, "a number from 0 to 2")?,
            top_p: number(
                &mut members,
                "top_p",
                f32::MIN_POSITIVE..=1.0,
                "a number above 0 and at most 1",
            )?,
            seed: members.typed("seed", "a 64-bit integer")?,
            stop: members.take("stop").map_or_else(|| Ok(Vec::new()), stop)?,
            logprobs: logprobs(&mut members)?,
        };
        inert::take_all(&mut members)?;
        members.finish()?;
        Ok(Self {
            messages,
            parameters,
            stream,
            include_usage,
        })
    }
}

impl Parameters {
    /// SHA-256 over a label and the deterministic CBOR of the parameters that
    /// take effect: 1 most tokens, 2 and 3 temperature and top_p as IEEE 754
    /// binary32, 4 seed (two's complement, 8 bytes) or null, 5 number of stop
    /// texts (their content is covered by the request commitment, which is
    /// salted), 6 the number of reported alternatives plus one, 0 for none.
    #[must_use]
    pub fn digest(&self, effective_tokens: u32) -> [u8; 32] {
        let seed = self.seed.map(i64::to_be_bytes);
        let map = MapBuilder::new()
            .uint(1, u64::from(effective_tokens))
            .bytes(2, &self.temperature.to_be_bytes())
            .bytes(3, &self.top_p.to_be_bytes())
            .bytes_or_null(4, seed.as_ref().map(<[u8; 8]>::as_slice))
            .uint(5, u64::try_from(self.stop.len()).unwrap_or(u64::MAX))
            .uint(6, self.logprobs.map_or(0, |most| u64::from(most) + 1));
        sha256(&[SAMPLING_LABEL, &map.encode()])
    }
}

fn missing(param: &str, expected: &'static str) -> ApiError {
    ApiError::Missing {
        param: param.to_owned(),
        expected,
    }
}

fn number(
    members: &mut Members<'_>,
    name: &str,
    range: RangeInclusive<f32>,
    expected: &str,
) -> Result<f32, ApiError> {
    let value: f32 = members.typed(name, expected)?.unwrap_or(1.0);
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(ApiError::invalid(name, expected))
    }
}

fn max_tokens(members: &mut Members<'_>, most: u32) -> Result<Option<u32>, ApiError> {
    let expected = format!("an integer from 1 to {most}");
    let mut read = |name: &str| -> Result<Option<u32>, ApiError> {
        let value: Option<u32> = members.typed(name, &expected)?;
        match value {
            Some(value) if !(1..=most).contains(&value) => Err(ApiError::invalid(name, expected.as_str())),
            value => Ok(value),
        }
    };
    let old = read("max_tokens")?;
    let new = read("max_completion_tokens")?;
    if old.is_some() && new.is_some() && old != new {
        return Err(ApiError::invalid(
            "max_tokens",
            "the same as `max_completion_tokens`, or left out",
        ));
    }
    Ok(new.or(old))
}

fn stop(raw: &RawValue) -> Result<Vec<Zeroizing<String>>, ApiError> {
    let expected = "a text, or an array of at most 4 texts, each of 1 to 1024 bytes";
    let texts = match raw.get().as_bytes().first() {
        Some(b'"') => vec![message::unquote(raw, "stop")?],
        _ => serde_json::from_str::<Vec<&RawValue>>(raw.get())
            .map_err(|_| ApiError::invalid("stop", expected))?
            .into_iter()
            .map(|text| message::unquote(text, "stop"))
            .collect::<Result<_, _>>()?,
    };
    if texts.len() > MOST_STOPS
        || texts
            .iter()
            .any(|text| !(1..=MOST_STOP_BYTES).contains(&text.len()))
    {
        return Err(ApiError::invalid("stop", expected));
    }
    Ok(texts)
}

fn logprobs(members: &mut Members<'_>) -> Result<Option<u8>, ApiError> {
    let expected = format!("an integer from 0 to {MOST_TOP_LOGPROBS}, with `logprobs` true");
    let wanted = members.typed("logprobs", "true or false")?.unwrap_or(false);
    let top: Option<u8> = members.typed("top_logprobs", &expected)?;
    match (wanted, top) {
        (false, None | Some(0)) => Ok(None),
        (true, top) if top.unwrap_or(0) <= MOST_TOP_LOGPROBS => Ok(Some(top.unwrap_or(0))),
        _ => Err(ApiError::invalid("top_logprobs", expected)),
    }
}

fn stream_options(members: &mut Members<'_>, stream: bool) -> Result<bool, ApiError> {
    let Some(raw) = members.take("stream_options") else {
        return Ok(false);
    };
    if !stream {
        return Err(ApiError::invalid(
            "stream_options",
            "left out unless `stream` is true",
        ));
    }
    let mut options = Members::of_value(raw, "stream_options".to_owned())?;
    let include_usage = options.typed("include_usage", "true or false")?.unwrap_or(false);
    if options.typed("include_obfuscation", "true or false")? == Some(true) {
        return Err(ApiError::Unsupported {
            param: options.path("include_obfuscation"),
            instead: "pieces are not padded: leave it out",
        });
    }
    options.finish()?;
    Ok(include_usage)
}

#[cfg(test)]
mod tests;
