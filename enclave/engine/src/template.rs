//! Chat messages to token ids.
//!
//! Owns the model's chat template (Jinja, as Hugging Face writes it). The
//! template never sees a message's content: it sees a placeholder, and the
//! content is put in its place afterwards, encoded as text. So no content can
//! spell a role mark or end a turn, and none passes through the template
//! engine's memory. Refuses templates that drop, repeat or take apart content.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, context};
use zeroize::{Zeroize, Zeroizing};

use crate::error::LoadError;
use crate::model::Model;
use crate::spec::DecoderSpec;
use crate::tokenizer::{Tokenizer, TokenizerError};

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The operator of the service.
    System,
    /// The person.
    User,
    /// The model, earlier.
    Assistant,
}

impl Role {
    /// The name used in templates and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a conversation. Its content is overwritten when it is dropped.
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub struct ChatMessage {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Drop for ChatMessage {
    fn drop(&mut self) {
        self.content.zeroize();
    }
}

/// Why messages were not turned into tokens. Carries no content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// There were no messages.
    #[error("there are no messages, expected at least one")]
    Empty,
    /// The template itself refused the conversation.
    #[error("the model's chat template refuses this conversation: {reason}")]
    Refused {
        /// The template's own words.
        reason: String,
    },
    /// The template failed.
    #[error("the model's chat template failed: {reason}")]
    Failed {
        /// What the template engine says.
        reason: String,
    },
    /// The template left a message out, such as a system message with nothing after it.
    #[error("message {index} does not appear in the rendered conversation, expected it exactly once")]
    MessageLost {
        /// The message, from 0.
        index: usize,
    },
    /// The template repeated, cut or altered a message.
    #[error("the model's chat template alters message content, expected it to be passed through")]
    ContentAltered,
    /// A message cannot be encoded.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl TemplateError {
    /// A stable dotted code for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "template.empty",
            Self::Refused { .. } => "template.refused",
            Self::Failed { .. } => "template.failed",
            Self::MessageLost { .. } => "template.message_lost",
            Self::ContentAltered => "template.content_altered",
            Self::Tokenizer(_) => "template.inexpressible",
        }
    }
}

const NAME: &str = "chat";
/// Around the number of a message; private-use characters that a template may not contain.
const OPEN: char = '\u{e000}';
const CLOSE: char = '\u{e001}';

/// A compiled chat template.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Compiles the bytes of a `chat_template.jinja`.
    pub(crate) fn parse(bytes: &[u8], tokenizer: &Tokenizer, spec: &DecoderSpec) -> Result<Self, LoadError> {
        let refuse = |reason: String| LoadError::ChatTemplate { reason };
        let source = std::str::from_utf8(bytes).map_err(|_| refuse("it is not UTF-8".to_owned()))?;
        if source.contains([OPEN, CLOSE]) {
            return Err(refuse(
                "it contains U+E000 or U+E001, which mark message content".to_owned(),
            ));
        }
        let mut environment = Environment::new();
        environment.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .lstrip_blocks(true)
                .build()
                .map_err(|error| refuse(error.to_string()))?,
        );
        environment.add_function(
            "raise_exception",
            |reason: String| -> Result<String, minijinja::Error> {
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, reason).with_source(Raised))
            },
        );
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| refuse(error.to_string()))?;
        let name = |id: Option<&u32>| {
            let bytes = id.and_then(|id| tokenizer.token_bytes(*id)).unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        };
        Ok(Self {
            environment,
            bos: name(spec.bos.as_ref()),
            eos: name(spec.eos.first()),
        })
    }

    /// Renders the roles, with a placeholder for each content.
    fn render(&self, messages: &[ChatMessage]) -> Result<String, TemplateError> {
        let messages: Vec<_> = messages
            .iter()
            .enumerate()
            .map(|(index, message)| {
                context! { role => message.role.name(), content => format!("{OPEN}{index}{CLOSE}") }
            })
            .collect();
        let template = self
            .environment
            .get_template(NAME)
            .expect("added when it was compiled");
        template
            .render(context! {
                messages,
                add_generation_prompt => true,
                bos_token => self.bos.as_str(),
                eos_token => self.eos.as_str(),
            })
            .map_err(|error| {
                let reason = error.detail().unwrap_or("unknown cause").to_owned();
                let raised = std::error::Error::source(&error).is_some_and(|source| source.is::<Raised>());
                if raised {
                    TemplateError::Refused { reason }
                } else {
                    TemplateError::Failed { reason }
                }
            })
    }
}

/// Marks an error that the template raised on purpose.
#[derive(Debug, thiserror::Error)]
#[error("raised by the template")]
struct Raised;

impl Model {
    /// Turns a conversation into the tokens of a prompt for the assistant's next message.
    ///
    /// Special tokens come from the template only; content is always text.
    ///
    /// # Errors
    /// A [`TemplateError`], without any content in it.
    pub fn render_chat(&self, messages: &[ChatMessage]) -> Result<Vec<u32>, TemplateError> {
        if messages.is_empty() {
            return Err(TemplateError::Empty);
        }
        let rendered = self.template().render(messages)?;
        let tokenizer = self.tokenizer();
        let room = rendered.len()
            + messages
                .iter()
                .map(|message| message.content.len())
                .sum::<usize>();
        // Room for everything at once, so that no copy of the text is left behind by growth.
        let mut text = Zeroizing::new(String::with_capacity(room));
        let mut ids = Zeroizing::new(Vec::with_capacity(room));
        let mut seen = vec![false; messages.len()];
        let mut rest = rendered.as_str();
        while let Some(next) = rest.chars().next() {
            if let Some(tail) = rest.strip_prefix(OPEN) {
                let (number, tail) = tail.split_once(CLOSE).ok_or(TemplateError::ContentAltered)?;
                let index: usize = number.parse().map_err(|_| TemplateError::ContentAltered)?;
                let message = messages.get(index).ok_or(TemplateError::ContentAltered)?;
                if std::mem::replace(&mut seen[index], true) {
                    return Err(TemplateError::ContentAltered);
                }
                text.push_str(&message.content);
                rest = tail;
            } else if let Some((id, length)) = tokenizer.special_prefix(rest) {
                flush(tokenizer, &mut text, &mut ids)?;
                ids.push(id);
                rest = &rest[length..];
            } else if next == CLOSE {
                return Err(TemplateError::ContentAltered);
            } else {
                text.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
        flush(tokenizer, &mut text, &mut ids)?;
        match seen.iter().position(|seen| !seen) {
            Some(index) => Err(TemplateError::MessageLost { index }),
            None => Ok(std::mem::take(&mut *ids)),
        }
    }
}

fn flush(
    tokenizer: &Tokenizer,
    text: &mut Zeroizing<String>,
    ids: &mut Vec<u32>,
) -> Result<(), TokenizerError> {
    if !text.is_empty() {
        ids.extend(Zeroizing::new(tokenizer.encode(text)?).iter());
        text.zeroize();
    }
    Ok(())
}
