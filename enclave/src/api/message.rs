//! The messages of a chat request. Owns the prompt's text until the model has
//! it, zeroed when dropped; never prints it.

use core::fmt;

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::error::ApiError;
use super::members::Members;

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// `system`, and OpenAI's newer name for it, `developer`.
    System,
    /// `user`.
    User,
    /// `assistant`.
    Assistant,
}

/// One message.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub speaker: Speaker,
    /// What is said.
    pub content: Zeroizing<String>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("speaker", &self.speaker)
            .finish_non_exhaustive()
    }
}

const CONTENT: &str = "a text, or an array of parts of type `text`";

/// Reads the `messages` parameter.
pub(super) fn parse_all(raw: &RawValue) -> Result<Vec<Message>, ApiError> {
    let items: Vec<&RawValue> = serde_json::from_str(raw.get())
        .ok()
        .filter(|items: &Vec<&RawValue>| !items.is_empty())
        .ok_or_else(|| ApiError::invalid("messages", "an array of at least one message"))?;
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| parse(item, format!("messages[{index}]")))
        .collect()
}

fn parse(raw: &RawValue, at: String) -> Result<Message, ApiError> {
    let mut members = Members::of_value(raw, at)?;
    let role: String = members
        .typed("role", "a text")?
        .ok_or_else(|| ApiError::Missing {
            param: members.path("role"),
            expected: "`system`, `user` or `assistant`",
        })?;
    let speaker = match role.as_str() {
        "system" | "developer" => Speaker::System,
        "user" => Speaker::User,
        "assistant" => Speaker::Assistant,
        _ => {
            return Err(ApiError::invalid(
                members.path("role"),
                "`system`, `user` or `assistant`",
            ));
        }
    };
    let path = members.path("content");
    let content = members.required("content", CONTENT)?;
    let content = text(content, &path)?;
    // Clients send back an assistant's message as they got it, with its empty members.
    for name in [
        "tool_calls",
        "annotations",
        "function_call",
        "audio",
        "refusal",
        "reasoning_content",
        "reasoning",
    ] {
        if members
            .take(name)
            .is_some_and(|raw| !matches!(raw.get(), "[]" | "\"\""))
        {
            return Err(ApiError::Unsupported {
                param: members.path(name),
                instead: "messages are text only",
            });
        }
    }
    if members.take("name").is_some() {
        return Err(ApiError::Unsupported {
            param: members.path("name"),
            instead: "the chat format has no names; write the name into the content",
        });
    }
    take_hints(&mut members);
    members.finish()?;
    Ok(Message { speaker, content })
}

fn text(raw: &RawValue, at: &str) -> Result<Zeroizing<String>, ApiError> {
    match raw.get().as_bytes().first() {
        Some(b'"') => unquote(raw, at),
        Some(b'[') => {
            let parts: Vec<&RawValue> =
                serde_json::from_str(raw.get()).map_err(|_| ApiError::invalid(at, CONTENT))?;
            if parts.is_empty() {
                return Err(ApiError::invalid(at, CONTENT));
            }
            // Never longer than its JSON: the string doesn't move while it grows.
            let mut whole = Zeroizing::new(String::with_capacity(raw.get().len()));
            for (index, part) in parts.into_iter().enumerate() {
                let mut members = Members::of_value(part, format!("{at}[{index}]"))?;
                let kind: Option<String> = members.typed("type", "`text`")?;
                if kind.as_deref() != Some("text") {
                    return Err(ApiError::invalid(members.path("type"), "`text`"));
                }
                let path = members.path("text");
                whole.push_str(&unquote(members.required("text", "a text")?, &path)?);
                take_hints(&mut members);
                members.finish()?;
            }
            Ok(whole)
        }
        _ => Err(ApiError::invalid(at, CONTENT)),
    }
}

/// What gateways write beside a content for others: where a prefix cache may
/// end, and what another provider answered with. Nothing here depends on it.
fn take_hints(members: &mut Members<'_>) {
    for name in ["cache_control", "provider_specific_fields"] {
        members.take(name);
    }
}

pub(super) fn unquote(raw: &RawValue, at: &str) -> Result<Zeroizing<String>, ApiError> {
    serde_json::from_str(raw.get())
        .map(Zeroizing::new)
        .map_err(|_| ApiError::invalid(at, "a text"))
}

#[cfg(test)]
mod tests {
    use super::{Message, Speaker, parse_all};
    use crate::api::ApiError;

    fn parsed(json: &str) -> Result<Vec<Message>, ApiError> {
        let raw: Box<serde_json::value::RawValue> = serde_json::from_str(json).unwrap();
        parse_all(&raw)
    }

    #[test]
    fn contents_are_texts_or_arrays_of_text_parts() {
        let messages = parsed(
            r#"[{"role":"developer","content":"a\n"},
                {"role":"user","content":[{"type":"text","text":"b"},{"type":"text","text":"c"}]},
                {"role":"assistant","content":"d","refusal":null,"tool_calls":[],"annotations":[],"id":null},
                {"role":"user","cache_control":{"type":"ephemeral"},"provider_specific_fields":{"refusal":null},
                 "content":[{"type":"text","text":"e","cache_control":{"type":"ephemeral"}}]}]"#,
        )
        .unwrap();
        let seen: Vec<_> = messages
            .iter()
            .map(|message| (message.speaker, message.content.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                (Speaker::System, "a\n"),
                (Speaker::User, "bc"),
                (Speaker::Assistant, "d"),
                (Speaker::User, "e")
            ]
        );
        assert!(!format!("{messages:?}").contains("bc"));
    }

    #[test]
    fn faults_name_the_place_and_never_the_content() {
        for (json, code, param) in [
            ("[]", "invalid_value", "messages"),
            ("\"CANARY\"", "invalid_value", "messages"),
            ("[\"CANARY\"]", "invalid_object", "messages[0]"),
            (
                r#"[{"content":"CANARY"}]"#,
                "missing_required_parameter",
                "messages[0].role",
            ),
            (
                r#"[{"role":"CANARY","content":"x"}]"#,
                "invalid_value",
                "messages[0].role",
            ),
            (
                r#"[{"role":"user"}]"#,
                "missing_required_parameter",
                "messages[0].content",
            ),
            (
                r#"[{"role":"user","content":7}]"#,
                "invalid_value",
                "messages[0].content",
            ),
            (
                r#"[{"role":"user","content":"\ud800"}]"#,
                "invalid_value",
                "messages[0].content",
            ),
            (
                r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"CANARY"}}]}]"#,
                "invalid_value",
                "messages[0].content[0].type",
            ),
            (
                r#"[{"role":"user","content":"x","name":"CANARY"}]"#,
                "unsupported_parameter",
                "messages[0].name",
            ),
            (
                r#"[{"role":"assistant","content":"x","tool_calls":[{"id":"CANARY"}]}]"#,
                "unsupported_parameter",
                "messages[0].tool_calls",
            ),
            (
                r#"[{"role":"assistant","content":"x","reasoning_content":"CANARY"}]"#,
                "unsupported_parameter",
                "messages[0].reasoning_content",
            ),
            (
                r#"[{"role":"user","content":"x","CANARY":1}]"#,
                "unknown_parameter",
                "messages[0]",
            ),
        ] {
            let error = parsed(json).unwrap_err();
            assert_eq!((error.code(), error.param()), (code, Some(param)), "{json}");
            assert!(
                !String::from_utf8(error.to_json()).unwrap().contains("CANARY"),
                "{json}"
            );
        }
    }
}
