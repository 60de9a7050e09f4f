//! Text to token ids and back.
//!
//! Owns a byte-level BPE tokenizer read from `tokenizer.json`. Text is always
//! encoded as text: the encoder does not know the special tokens, so no text
//! can spell one. Refuses tokenizers of another kind, whose bytes per token
//! would be a guess. Nothing it encodes is kept in a cache.

use std::collections::HashMap;

use serde_json::Value;
use tokenizers::models::ModelWrapper;

use crate::error::LoadError;

/// Text could not be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The text holds something the vocabulary cannot express.
    #[error("the text cannot be expressed in the model's vocabulary")]
    Inexpressible,
}

/// A byte-level tokenizer.
pub struct Tokenizer {
    encoder: tokenizers::Tokenizer,
    /// Bytes per id; empty where the vocabulary has no entry.
    pieces: Vec<Box<[u8]>>,
    /// Special tokens, longest content first.
    special: Vec<(String, u32)>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("entries", &self.pieces.len())
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Parses the bytes of a `tokenizer.json` for a model of `vocab` entries.
    pub(crate) fn parse(bytes: &[u8], vocab: usize) -> Result<Self, LoadError> {
        let mut json: Value = serde_json::from_slice(bytes)
            .map_err(|error| refuse(format!("invalid JSON at line {}", error.line())))?;
        if !is_byte_level(&json["decoder"]) {
            return Err(refuse("its decoder is not `ByteLevel`, the only kind supported"));
        }
        let special = special_tokens(&json["added_tokens"], vocab)?;
        let object = json
            .as_object_mut()
            .ok_or_else(|| refuse("it is not an object"))?;
        object.insert("added_tokens".to_owned(), Value::Array(Vec::new()));
        for field in ["post_processor", "truncation", "padding"] {
            object.insert(field.to_owned(), Value::Null);
        }
        let stripped = serde_json::to_vec(&json).map_err(|error| refuse(error.to_string()))?;
        let mut encoder = tokenizers::Tokenizer::from_bytes(&stripped).map_err(|e| refuse(e.to_string()))?;
        let ModelWrapper::BPE(mut bpe) = encoder.get_model().clone() else {
            return Err(refuse("its model is not `BPE`, the only kind supported"));
        };
        // The cache would keep the words of every prompt.
        bpe.resize_cache(0);
        encoder.with_model(bpe);
        let pieces = pieces(&encoder, &special, vocab)?;
        Ok(Self {
            encoder,
            pieces,
            special,
        })
    }

    /// Encodes text as text. Whatever it spells, no special token comes out.
    ///
    /// # Errors
    /// [`TokenizerError::Inexpressible`] if the vocabulary lacks something in the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self
            .encoder
            .encode_fast(text, false)
            .map_err(|_| TokenizerError::Inexpressible)?;
        let ids = encoding.get_ids();
        // Without added tokens the encoder cannot produce these; a vocabulary with
        // merges that spell one could.
        if ids.iter().any(|id| self.is_special(*id)) {
            return Err(TokenizerError::Inexpressible);
        }
        Ok(ids.to_vec())
    }

    /// The bytes a token stands for; a special token's are its name. `None` outside the vocabulary.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.pieces.get(usize::try_from(id).ok()?).map(Box::as_ref)
    }

    /// Whether a token is a special one, which is not part of any text.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.iter().any(|(_, special)| *special == id)
    }

    /// The id of a special token.
    pub fn special_id(&self, name: &str) -> Option<u32> {
        self.special
            .iter()
            .find(|(content, _)| content == name)
            .map(|(_, id)| *id)
    }

    /// The special token that `text` begins with, if any, and its length in bytes.
    pub(crate) fn special_prefix(&self, text: &str) -> Option<(u32, usize)> {
        self.special
            .iter()
            .find(|(content, _)| text.starts_with(content.as_str()))
            .map(|(s, id)| (*id, s.len()))
    }

    /// The text of some tokens, without special ones. Bytes that are not UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids
            .iter()
            .filter(|id| !self.is_special(**id))
            .flat_map(|id| self.token_bytes(*id).unwrap_or_default())
            .copied()
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Ids there are bytes for, that is one more than the largest.
    pub fn vocab_size(&self) -> usize {
        self.pieces.len()
    }
}

fn is_byte_level(decoder: &Value) -> bool {
    decoder["type"] == "ByteLevel"
        || decoder["decoders"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["type"] == "ByteLevel"))
}

/// The added tokens, longest first, so that the longest one matches.
fn special_tokens(added: &Value, vocab: usize) -> Result<Vec<(String, u32)>, LoadError> {
    let mut special = Vec::new();
    for token in added.as_array().map(Vec::as_slice).unwrap_or_default() {
        let content = token["content"].as_str().filter(|content| !content.is_empty());
        let id = token["id"].as_u64().and_then(|id| u32::try_from(id).ok());
        let Some((content, id)) = content.zip(id) else {
            return Err(refuse("an added token lacks its content or id"));
        };
        if usize::try_from(id).map_or(true, |id| id >= vocab) {
            return Err(refuse(format!(
                "token `{content}` has id {id}, expected below vocab_size {vocab}"
            )));
        }
        if ["lstrip", "rstrip", "single_word"]
            .iter()
            .any(|flag| token[*flag] == true)
        {
            return Err(refuse(format!(
                "token `{content}` strips or splits words, which is not supported"
            )));
        }
        special.push((content.to_owned(), id));
    }
    special.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then(a.1.cmp(&b.1)));
    Ok(special)
}

fn pieces(
    encoder: &tokenizers::Tokenizer,
    special: &[(String, u32)],
    vocab: usize,
) -> Result<Vec<Box<[u8]>>, LoadError> {
    let alphabet = byte_alphabet();
    let mut pieces = vec![Box::<[u8]>::default(); vocab];
    for (token, id) in encoder.get_vocab(false) {
        let place = usize::try_from(id)
            .ok()
            .and_then(|id| pieces.get_mut(id))
            .ok_or_else(|| {
                refuse(format!(
                    "it has a token with id {id}, expected below vocab_size {vocab}"
                ))
            })?;
        if special.iter().any(|(_, special)| *special == id) {
            continue;
        }
        let bytes: Option<Vec<u8>> = token.chars().map(|c| alphabet.get(&c).copied()).collect();
        *place = bytes
            .ok_or_else(|| refuse(format!("token {id} is not byte-level")))?
            .into();
    }
    for (content, id) in special {
        if let Some(place) = usize::try_from(*id).ok().and_then(|id| pieces.get_mut(id)) {
            *place = content.as_bytes().into();
        }
    }
    Ok(pieces)
}

/// The printable character that stands for each byte, as GPT-2 chose them.
fn byte_alphabet() -> HashMap<char, u8> {
    let mut substitutes = 256u32..;
    (0..=255u8)
        .map(|byte| {
            let own = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
            let code = if own {
                Some(u32::from(byte))
            } else {
                substitutes.next()
            };
            (
                code.and_then(char::from_u32)
                    .expect("few enough to stay below the surrogates"),
                byte,
            )
        })
        .collect()
}

fn refuse(reason: impl Into<String>) -> LoadError {
    LoadError::Tokenizer {
        reason: reason.into(),
    }
}
