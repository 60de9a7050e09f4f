//! Strict deterministic CBOR for maps that are signed, hashed or sent.
//!
//! Input is accepted in its one encoding alone: duplicate keys, indefinite
//! lengths, long integers, wrong order and trailing bytes are refused where they
//! stand. Keys are taken out one by one; what is left over is an unknown key, and
//! refused. The tests hold reader and writer against a general CBOR library.

mod builder;
mod item;
mod numbered;
mod pairs;
mod write;

use item::Item;

pub use builder::MapBuilder;
pub use pairs::{decode_pairs, encode_pairs};

/// Appends a byte string.
pub(crate) fn byte_string(out: &mut Vec<u8>, bytes: &[u8]) {
    write::bytes(out, bytes);
}

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

impl From<KeyRef<'_>> for Key {
    fn from(key: KeyRef<'_>) -> Self {
        match key {
            KeyRef::Int(key) => Self::Int(key),
            KeyRef::Text(key) => Self::Text(key.to_owned()),
        }
    }
}

impl Key {
    fn of(item: &Item<'_>) -> Self {
        match item {
            Item::Uint(key) => i64::try_from(*key).map_or(Self::Other, Self::Int),
            Item::Negative(key) => i64::try_from(*key).map_or(Self::Other, |key| Self::Int(!key)),
            Item::Text(key) => Self::Text((*key).to_owned()),
            _ => Self::Other,
        }
    }
}

/// A map key as it is asked for: an integer or a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRef<'k> {
    /// Integer key.
    Int(i64),
    /// Text key.
    Text(&'k str),
}

impl From<i64> for KeyRef<'_> {
    fn from(key: i64) -> Self {
        Self::Int(key)
    }
}

impl<'k> From<&'k str> for KeyRef<'k> {
    fn from(key: &'k str) -> Self {
        Self::Text(key)
    }
}

impl KeyRef<'_> {
    fn is(self, item: &Item<'_>) -> bool {
        match (self, item) {
            (Self::Int(key), Item::Uint(item)) => u64::try_from(key) == Ok(*item),
            (Self::Int(key), Item::Negative(item)) => key < 0 && u64::try_from(!key) == Ok(*item),
            (Self::Text(key), Item::Text(item)) => key == *item,
            _ => false,
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Int(key) => match u64::try_from(key) {
                Ok(key) => write::head(out, write::UINT, key),
                // −1 − n, and n fits whatever is negative.
                Err(_) => write::head(out, write::NEGATIVE, u64::try_from(!key).unwrap_or_default()),
            },
            Self::Text(key) => write::text(out, key),
        }
    }
}

/// The entries of one decoded map, taken out key by key. Borrows the bytes.
#[derive(Clone, PartialEq)]
pub struct Fields<'a>(Vec<(Item<'a>, Option<Item<'a>>)>);

impl core::fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Values may be secrets of whoever uses this codec: keys only.
        f.debug_set().entries(self.left().map(Key::of)).finish()
    }
}

impl<'a> Fields<'a> {
    /// Decodes one map of at most `limit` bytes.
    ///
    /// # Errors
    /// [`CodecError`] names the first thing that is wrong.
    pub fn decode(bytes: &'a [u8], limit: usize) -> Result<Self, CodecError> {
        match Item::decode(bytes, limit)? {
            Item::Map(map) => Ok(Self::of(map)),
            _ => Err(CodecError::NotAMap),
        }
    }

    fn of(map: Vec<(Item<'a>, Item<'a>)>) -> Self {
        Self(map.into_iter().map(|(key, value)| (key, Some(value))).collect())
    }

    /// Keys that weren't taken yet.
    fn left(&self) -> impl Iterator<Item = &Item<'a>> {
        let left = self.0.iter().filter(|(_, value)| value.is_some());
        left.map(|(key, _)| key)
    }

    fn optional(&mut self, key: KeyRef<'_>) -> Option<Item<'a>> {
        let entry = self.0.iter_mut().find(|(name, _)| key.is(name));
        entry.and_then(|(_, value)| value.take())
    }

    fn required(&mut self, key: KeyRef<'_>) -> Result<Item<'a>, CodecError> {
        self.optional(key)
            .ok_or_else(|| CodecError::Missing { key: key.into() })
    }

    /// Takes a byte string of any length.
    ///
    /// # Errors
    /// If the key is missing or its value is no byte string.
    pub fn bytes<'k>(&mut self, key: impl Into<KeyRef<'k>>) -> Result<Vec<u8>, CodecError> {
        let key = key.into();
        match self.required(key)? {
            Item::Bytes(bytes) => Ok(bytes.to_vec()),
            _ => Err(wrong(key, "a byte string")),
        }
    }

    /// Takes a byte string of any length, or `null`.
    ///
    /// # Errors
    /// If the key is missing, or the value is neither.
    pub fn bytes_or_null<'k>(&mut self, key: impl Into<KeyRef<'k>>) -> Result<Option<Vec<u8>>, CodecError> {
        let key = key.into();
        match self.required(key)? {
            Item::Bytes(bytes) => Ok(Some(bytes.to_vec())),
            Item::Null => Ok(None),
            _ => Err(wrong(key, "a byte string or null")),
        }
    }

    /// Takes a byte string of exactly `N` bytes.
    ///
    /// # Errors
    /// If the key is missing, or the value is no byte string of that length.
    pub fn array<'k, const N: usize>(&mut self, key: impl Into<KeyRef<'k>>) -> Result<[u8; N], CodecError> {
        let key = key.into();
        exact(&self.required(key)?, key)
    }

    /// Takes a byte string of exactly `N` bytes, or `null`.
    ///
    /// # Errors
    /// If the key is missing, or the value is neither.
    pub fn array_or_null<'k, const N: usize>(
        &mut self,
        key: impl Into<KeyRef<'k>>,
    ) -> Result<Option<[u8; N]>, CodecError> {
        let key = key.into();
        match self.required(key)? {
            Item::Null => Ok(None),
            value => exact(&value, key).map(Some),
        }
    }

    /// Takes an unsigned integer.
    ///
    /// # Errors
    /// If the key is missing, or the value is no integer from 0 to 2^64 − 1.
    pub fn uint<'k>(&mut self, key: impl Into<KeyRef<'k>>) -> Result<u64, CodecError> {
        let key = key.into();
        match self.required(key)? {
            Item::Uint(number) => Ok(number),
            _ => Err(wrong(key, "an unsigned integer")),
        }
    }

    /// Takes a text.
    ///
    /// # Errors
    /// If the key is missing or its value is no text.
    pub fn text<'k>(&mut self, key: impl Into<KeyRef<'k>>) -> Result<String, CodecError> {
        self.text_ref(key).map(str::to_owned)
    }

    /// As [`Self::text`], borrowed from the bytes.
    pub(crate) fn text_ref<'k>(&mut self, key: impl Into<KeyRef<'k>>) -> Result<&'a str, CodecError> {
        let key = key.into();
        match self.required(key)? {
            Item::Text(text) => Ok(text),
            _ => Err(wrong(key, "a text")),
        }
    }

    /// Whether a key that may be left out is there and wasn't taken yet.
    #[must_use]
    pub fn has<'k>(&self, key: impl Into<KeyRef<'k>>) -> bool {
        let key = key.into();
        self.left().any(|name| key.is(name))
    }

    /// Takes an array of texts, at most `most` of them.
    ///
    /// # Errors
    /// If the key is missing or its value is anything else.
    pub fn texts<'k>(&mut self, key: impl Into<KeyRef<'k>>, most: usize) -> Result<Vec<String>, CodecError> {
        let key = key.into();
        self.items(key, most, "a short array of texts", |item| match item {
            Item::Text(text) => Some((*text).to_owned()),
            _ => None,
        })
    }

    /// Takes an array of unsigned integers of exactly `N` entries.
    ///
    /// # Errors
    /// If the key is missing or its value is anything else.
    pub fn uints<'k, const N: usize>(&mut self, key: impl Into<KeyRef<'k>>) -> Result<[u64; N], CodecError> {
        let (key, expected) = (key.into(), "an array of unsigned integers");
        let numbers = self.items(key, N, expected, |item| match item {
            Item::Uint(number) => Some(*number),
            _ => None,
        })?;
        numbers.try_into().map_err(|_| wrong(key, expected))
    }

    /// Takes an array of byte strings of 32 bytes each, at most `most` of them.
    ///
    /// # Errors
    /// If the key is missing or its value is anything else.
    pub fn hashes<'k>(
        &mut self,
        key: impl Into<KeyRef<'k>>,
        most: usize,
    ) -> Result<Vec<[u8; 32]>, CodecError> {
        let key = key.into();
        self.items(key, most, "a short array of 32-byte strings", |item| match item {
            Item::Bytes(bytes) => (*bytes).try_into().ok(),
            _ => None,
        })
    }

    /// At most `most` items, each of which `read` can read.
    fn items<T>(
        &mut self,
        key: KeyRef<'_>,
        most: usize,
        expected: &'static str,
        read: impl Fn(&Item<'a>) -> Option<T>,
    ) -> Result<Vec<T>, CodecError> {
        let items = match self.required(key)? {
            Item::Array(items) if items.len() <= most => items.iter().map(read).collect(),
            _ => None,
        };
        items.ok_or_else(|| wrong(key, expected))
    }

    /// Takes an inner map.
    ///
    /// # Errors
    /// If the key is missing or its value is no map.
    pub fn map<'k>(&mut self, key: impl Into<KeyRef<'k>>) -> Result<Self, CodecError> {
        let key = key.into();
        match self.required(key)? {
            Item::Map(map) => Ok(Self::of(map)),
            _ => Err(wrong(key, "a map")),
        }
    }

    /// Takes a conceptual message wrapper record, `[media type, bytes, indicator]`, if present
    /// (draft-ietf-rats-msg-wrap, CMW record).
    ///
    /// # Errors
    /// If the value is another shape, or has another media type or indicator.
    pub fn record_if_present<'k>(
        &mut self,
        key: impl Into<KeyRef<'k>>,
        media_type: &str,
        indicator: u64,
    ) -> Result<Option<&'a [u8]>, CodecError> {
        let key = key.into();
        let Some(value) = self.optional(key) else {
            return Ok(None);
        };
        if let Item::Array(items) = value
            && let [Item::Text(kind), Item::Bytes(bytes), Item::Uint(bits)] = items.as_slice()
            && *kind == media_type
            && *bits == indicator
        {
            return Ok(Some(bytes));
        }
        Err(wrong(key, "a CMW record of the label's media type and indicator"))
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`CodecError::Unknown`] if a key was not taken.
    pub fn finish(self) -> Result<(), CodecError> {
        self.left()
            .next()
            .map_or(Ok(()), |key| Err(CodecError::Unknown { key: Key::of(key) }))
    }
}

fn wrong(key: KeyRef<'_>, expected: &'static str) -> CodecError {
    let key = key.into();
    CodecError::Value { key, expected }
}

fn exact<const N: usize>(value: &Item<'_>, key: KeyRef<'_>) -> Result<[u8; N], CodecError> {
    match value {
        Item::Bytes(bytes) => (*bytes).try_into().ok(),
        _ => None,
    }
    .ok_or_else(|| wrong(key, length_name(N)))
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
