//! Strict deterministic CBOR for maps that are signed, hashed or sent.
//!
//! Input is decoded, encoded again and compared: duplicate keys, indefinite
//! lengths, long integers, wrong order and trailing bytes can't pass, whatever
//! the CBOR library tolerates. Keys are taken out one by one; what is left over
//! is an unknown key, and refused.

mod builder;
mod numbered;
mod pairs;

use std::collections::BTreeMap;

use serde_cbor::Value;

pub use builder::MapBuilder;
pub use pairs::{decode_pairs, encode_pairs};

/// Why bytes aren't the strict CBOR that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// More bytes than the structure may have.
    #[error("at most {limit} bytes are allowed, got {got}")]
    TooLarge {
        /// The most that may come.
        limit: usize,
        /// What came.
        got: usize,
    },
    /// Not CBOR, or cut short.
    #[error("not well-formed CBOR")]
    Malformed,
    /// CBOR, but not its one deterministic encoding.
    #[error("not deterministic CBOR: re-encoding gives other bytes")]
    NotDeterministic,
    /// The outermost item is not a map.
    #[error("expected a CBOR map")]
    NotAMap,
    /// The outermost item is not an array of pairs of byte strings.
    #[error("expected a CBOR array of pairs of byte strings")]
    NotPairs,
    /// A key that must be there is not.
    #[error("key {key} is missing")]
    Missing {
        /// The key.
        key: Key,
    },
    /// A key that the structure doesn't define.
    #[error("key {key} is unknown")]
    Unknown {
        /// The key.
        key: Key,
    },
    /// A key's value has another type, length or range.
    #[error("key {key}: expected {expected}")]
    Value {
        /// The key.
        key: Key,
        /// What should have come.
        expected: &'static str,
    },
}

/// A map key: an integer or a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Integer key.
    Int(i64),
    /// Text key.
    Text(String),
    /// A key of another type.
    Other,
}

impl core::fmt::Display for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Int(key) => write!(f, "{key}"),
            // Hostile text: shown escaped and short.
            Self::Text(key) => write!(f, "`{}`", key.escape_debug().take(40).collect::<String>()),
            Self::Other => write!(f, "of another type"),
        }
    }
}

impl From<i64> for Key {
    fn from(key: i64) -> Self {
        Self::Int(key)
    }
}

impl From<&str> for Key {
    fn from(key: &str) -> Self {
        Self::Text(key.to_owned())
    }
}

impl Key {
    fn to_value(&self) -> Value {
        match self {
            Self::Int(key) => Value::Integer(i128::from(*key)),
            Self::Text(key) => Value::Text(key.clone()),
            Self::Other => Value::Null,
        }
    }

    fn of_value(value: &Value) -> Self {
        match value {
            Value::Integer(key) => i64::try_from(*key).map_or(Self::Other, Self::Int),
            Value::Text(key) => Self::Text(key.clone()),
            _ => Self::Other,
        }
    }
}

/// The entries of one decoded map, taken out key by key.
#[derive(Clone, PartialEq)]
pub struct Fields(BTreeMap<Value, Value>);

impl core::fmt::Debug for Fields {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Values may be secrets of whoever uses this codec: keys only.
        f.debug_set().entries(self.0.keys().map(Key::of_value)).finish()
    }
}

impl Fields {
    /// Decodes one map of at most `limit` bytes.
    ///
    /// # Errors
    /// [`CodecError`] names the first thing that is wrong.
    pub fn decode(bytes: &[u8], limit: usize) -> Result<Self, CodecError> {
        Self::of(strict(bytes, limit)?)
    }

    fn of(value: Value) -> Result<Self, CodecError> {
        match value {
            Value::Map(map) => Ok(Self(map)),
            _ => Err(CodecError::NotAMap),
        }
    }

    fn optional(&mut self, key: &Key) -> Option<Value> {
        self.0.remove(&key.to_value())
    }

    fn required(&mut self, key: &Key) -> Result<Value, CodecError> {
        self.optional(key)
            .ok_or_else(|| CodecError::Missing { key: key.clone() })
    }

    /// Takes a byte string of any length.
    ///
    /// # Errors
    /// If the key is missing or its value is no byte string.
    pub fn bytes(&mut self, key: impl Into<Key>) -> Result<Vec<u8>, CodecError> {
        let key = key.into();
        match self.required(&key)? {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(CodecError::Value {
                key,
                expected: "a byte string",
            }),
        }
    }

    /// Takes a byte string of any length, or `null`.
    ///
    /// # Errors
    /// If the key is missing, or the value is neither.
    pub fn bytes_or_null(&mut self, key: impl Into<Key>) -> Result<Option<Vec<u8>>, CodecError> {
        let key = key.into();
        match self.required(&key)? {
            Value::Bytes(bytes) => Ok(Some(bytes)),
            Value::Null => Ok(None),
            _ => Err(CodecError::Value {
                key,
                expected: "a byte string or null",
            }),
        }
    }

    /// Takes a byte string of exactly `N` bytes.
    ///
    /// # Errors
    /// If the key is missing, or the value is no byte string of that length.
    pub fn array<const N: usize>(&mut self, key: impl Into<Key>) -> Result<[u8; N], CodecError> {
        let key = key.into();
        let value = self.required(&key)?;
        exact(value, key)
    }

    /// Takes a byte string of exactly `N` bytes, or `null`.
    ///
    /// # Errors
    /// If the key is missing, or the value is neither.
    pub fn array_or_null<const N: usize>(
        &mut self,
        key: impl Into<Key>,
    ) -> Result<Option<[u8; N]>, CodecError> {
        let key = key.into();
        match self.required(&key)? {
            Value::Null => Ok(None),
            value => exact(value, key).map(Some),
        }
    }

    /// Takes an unsigned integer.
    ///
    /// # Errors
    /// If the key is missing, or the value is no integer from 0 to 2^64 − 1.
    pub fn uint(&mut self, key: impl Into<Key>) -> Result<u64, CodecError> {
        let key = key.into();
        uint(&self.required(&key)?).ok_or(CodecError::Value {
            key,
            expected: "an unsigned integer",
        })
    }

    /// Takes a text.
    ///
    /// # Errors
    /// If the key is missing or its value is no text.
    pub fn text(&mut self, key: impl Into<Key>) -> Result<String, CodecError> {
        let key = key.into();
        match self.required(&key)? {
            Value::Text(text) => Ok(text),
            _ => Err(CodecError::Value {
                key,
                expected: "a text",
            }),
        }
    }

    /// Whether a key that may be left out is there and wasn't taken yet.
    #[must_use]
    pub fn has(&self, key: impl Into<Key>) -> bool {
        self.0.contains_key(&key.into().to_value())
    }

    /// Takes an array of texts, at most `most` of them.
    ///
    /// # Errors
    /// If the key is missing or its value is anything else.
    pub fn texts(&mut self, key: impl Into<Key>, most: usize) -> Result<Vec<String>, CodecError> {
        let key = key.into();
        let fault = CodecError::Value {
            key: key.clone(),
            expected: "a short array of texts",
        };
        match self.required(&key)? {
            Value::Array(items) if items.len() <= most => items
                .into_iter()
                .map(|item| match item {
                    Value::Text(text) => Ok(text),
                    _ => Err(fault.clone()),
                })
                .collect(),
            _ => Err(fault),
        }
    }

    /// Takes an array of unsigned integers of exactly `N` entries.
    ///
    /// # Errors
    /// If the key is missing or its value is anything else.
    pub fn uints<const N: usize>(&mut self, key: impl Into<Key>) -> Result<[u64; N], CodecError> {
        let key = key.into();
        let fault = CodecError::Value {
            key: key.clone(),
            expected: "an array of unsigned integers",
        };
        let Value::Array(items) = self.required(&key)? else {
            return Err(fault);
        };
        let numbers: Option<Vec<u64>> = items.iter().map(uint).collect();
        numbers.and_then(|numbers| numbers.try_into().ok()).ok_or(fault)
    }

    /// Takes an array of byte strings of 32 bytes each, at most `most` of them.
    ///
    /// # Errors
    /// If the key is missing or its value is anything else.
    pub fn hashes(&mut self, key: impl Into<Key>, most: usize) -> Result<Vec<[u8; 32]>, CodecError> {
        let key = key.into();
        let fault = CodecError::Value {
            key: key.clone(),
            expected: "a short array of 32-byte strings",
        };
        match self.required(&key)? {
            Value::Array(items) if items.len() <= most => items
                .into_iter()
                .map(|item| match item {
                    Value::Bytes(bytes) => bytes.try_into().map_err(|_| fault.clone()),
                    _ => Err(fault.clone()),
                })
                .collect(),
            _ => Err(fault),
        }
    }

    /// Takes an inner map.
    ///
    /// # Errors
    /// If the key is missing or its value is no map.
    pub fn map(&mut self, key: impl Into<Key>) -> Result<Self, CodecError> {
        let key = key.into();
        match self.required(&key)? {
            Value::Map(map) => Ok(Self(map)),
            _ => Err(CodecError::Value {
                key,
                expected: "a map",
            }),
        }
    }

    /// Takes a conceptual message wrapper record, `[media type, bytes, indicator]`, if present
    /// (draft-ietf-rats-msg-wrap, CMW record).
    ///
    /// # Errors
    /// If the value is another shape, or has another media type or indicator.
    pub fn record_if_present(
        &mut self,
        key: impl Into<Key>,
        media_type: &str,
        indicator: u64,
    ) -> Result<Option<Vec<u8>>, CodecError> {
        let key = key.into();
        let Some(value) = self.optional(&key) else {
            return Ok(None);
        };
        let fault = CodecError::Value {
            key,
            expected: "a CMW record of the label's media type and indicator",
        };
        let Value::Array(items) = value else {
            return Err(fault);
        };
        let mut items = items.into_iter();
        match (items.next(), items.next(), items.next(), items.next()) {
            (Some(Value::Text(kind)), Some(Value::Bytes(bytes)), Some(Value::Integer(bits)), None)
                if kind == media_type && bits == i128::from(indicator) =>
            {
                Ok(Some(bytes))
            }
            _ => Err(fault),
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`CodecError::Unknown`] if a key was not taken.
    pub fn finish(self) -> Result<(), CodecError> {
        self.0.keys().next().map_or(Ok(()), |key| {
            Err(CodecError::Unknown {
                key: Key::of_value(key),
            })
        })
    }
}

/// One item of at most `limit` bytes in its deterministic encoding, and nothing after it.
fn strict(bytes: &[u8], limit: usize) -> Result<Value, CodecError> {
    if bytes.len() > limit {
        return Err(CodecError::TooLarge {
            limit,
            got: bytes.len(),
        });
    }
    let value: Value = serde_cbor::from_slice(bytes).map_err(|_| CodecError::Malformed)?;
    let again = serde_cbor::to_vec(&value).map_err(|_| CodecError::Malformed)?;
    if again != bytes {
        return Err(CodecError::NotDeterministic);
    }
    Ok(value)
}

fn exact<const N: usize>(value: Value, key: Key) -> Result<[u8; N], CodecError> {
    match value {
        Value::Bytes(bytes) => bytes.try_into().ok(),
        _ => None,
    }
    .ok_or(CodecError::Value {
        key,
        expected: length_name(N),
    })
}

const fn length_name(length: usize) -> &'static str {
    match length {
        16 => "a 16-byte string",
        32 => "a 32-byte string",
        48 => "a 48-byte string",
        64 => "a 64-byte string",
        _ => "a byte string of the field's length",
    }
}

fn uint(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{CodecError, Fields, Key, MapBuilder};

    #[test]
    fn what_the_library_tolerates_is_refused() {
        let cases: [(&str, &[u8], CodecError); 8] = [
            ("duplicate key", &[0xa2, 1, 1, 1, 1], CodecError::NotDeterministic),
            ("wrong order", &[0xa2, 2, 1, 1, 1], CodecError::NotDeterministic),
            (
                "indefinite map",
                &[0xbf, 1, 1, 0xff],
                CodecError::NotDeterministic,
            ),
            ("long integer", &[0xa1, 1, 0x18, 1], CodecError::NotDeterministic),
            ("trailing byte", &[0xa1, 1, 1, 0], CodecError::Malformed),
            ("cut short", &[0xa1, 1], CodecError::Malformed),
            (
                "absurd length",
                &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                CodecError::Malformed,
            ),
            ("not a map", &[0x81, 1], CodecError::NotAMap),
        ];
        for (name, bytes, fault) in cases {
            assert_eq!(Fields::decode(bytes, 64).unwrap_err(), fault, "{name}");
        }
        assert_eq!(
            Fields::decode(&[0; 65], 64).unwrap_err(),
            CodecError::TooLarge { limit: 64, got: 65 }
        );
    }

    #[test]
    fn deep_nesting_neither_overflows_nor_passes() {
        let mut bytes = vec![0x81; 4096];
        bytes.push(0);
        assert_eq!(Fields::decode(&bytes, 8192).unwrap_err(), CodecError::Malformed);
    }

    #[test]
    fn an_untaken_key_is_unknown() {
        let bytes = MapBuilder::new().uint(1, 7).bytes(2, &[1, 2]).encode();
        let mut fields = Fields::decode(&bytes, 64).unwrap();
        assert_eq!(fields.uint(1), Ok(7));
        assert_eq!(
            fields.clone().finish(),
            Err(CodecError::Unknown { key: Key::Int(2) })
        );
        assert_eq!(fields.bytes(2), Ok(vec![1, 2]));
        assert_eq!(fields.finish(), Ok(()));
    }

    proptest::proptest! {
        #[test]
        fn decoding_never_panics(bytes: Vec<u8>) {
            let _ = Fields::decode(&bytes, 4096);
        }
    }
}
