//! The encoding side: one map, key by key, and its deterministic bytes.

use std::collections::BTreeMap;

use serde_cbor::Value;

use super::Key;

/// Builds one map and encodes it deterministically.
#[derive(Clone, Default)]
pub struct MapBuilder(BTreeMap<Value, Value>);

impl core::fmt::Debug for MapBuilder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries(self.0.keys().map(Key::of_value)).finish()
    }
}

impl MapBuilder {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, key: impl Into<Key>, value: Value) -> Self {
        self.0.insert(key.into().to_value(), value);
        self
    }

    /// Adds a byte string.
    #[must_use]
    pub fn bytes(self, key: impl Into<Key>, bytes: &[u8]) -> Self {
        self.with(key, Value::Bytes(bytes.to_vec()))
    }

    /// Adds a byte string, or `null`.
    #[must_use]
    pub fn bytes_or_null(self, key: impl Into<Key>, bytes: Option<&[u8]>) -> Self {
        self.with(
            key,
            bytes.map_or(Value::Null, |bytes| Value::Bytes(bytes.to_vec())),
        )
    }

    /// Adds an integer.
    #[must_use]
    pub fn int(self, key: impl Into<Key>, number: i128) -> Self {
        self.with(key, Value::Integer(number))
    }

    /// Adds an unsigned integer.
    #[must_use]
    pub fn uint(self, key: impl Into<Key>, number: u64) -> Self {
        self.int(key, i128::from(number))
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, key: impl Into<Key>, text: &str) -> Self {
        self.with(key, Value::Text(text.to_owned()))
    }

    /// Adds an array of texts.
    #[must_use]
    pub fn texts(self, key: impl Into<Key>, texts: &[&str]) -> Self {
        let items = texts.iter().map(|text| Value::Text((*text).to_owned())).collect();
        self.with(key, Value::Array(items))
    }

    /// Adds an array of unsigned integers.
    #[must_use]
    pub fn uints(self, key: impl Into<Key>, numbers: &[u64]) -> Self {
        let items = numbers
            .iter()
            .map(|number| Value::Integer(i128::from(*number)))
            .collect();
        self.with(key, Value::Array(items))
    }

    /// Adds an array of 32-byte strings.
    #[must_use]
    pub fn hashes(self, key: impl Into<Key>, hashes: &[[u8; 32]]) -> Self {
        let items = hashes.iter().map(|hash| Value::Bytes(hash.to_vec())).collect();
        self.with(key, Value::Array(items))
    }

    /// Adds an inner map.
    #[must_use]
    pub fn map(self, key: impl Into<Key>, map: Self) -> Self {
        self.with(key, Value::Map(map.0))
    }

    /// Adds a CMW record `[media type, bytes, indicator]`.
    #[must_use]
    pub fn record(self, key: impl Into<Key>, media_type: &str, bytes: &[u8], indicator: u64) -> Self {
        let items = vec![
            Value::Text(media_type.to_owned()),
            Value::Bytes(bytes.to_vec()),
            Value::Integer(i128::from(indicator)),
        ];
        self.with(key, Value::Array(items))
    }

    /// The deterministic encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Encoding a `Value` into memory has no failing case; an empty string
        // would be refused by every decoder here.
        serde_cbor::to_vec(&Value::Map(self.0.clone())).unwrap_or_default()
    }
}
