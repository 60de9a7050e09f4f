//! The encoding side: one map, key by key, and its deterministic bytes.

use std::borrow::Cow;

use super::item::Item;
use super::{Key, KeyRef, write};

/// Builds one map and encodes it deterministically.
#[derive(Clone, Default)]
pub struct MapBuilder {
    /// Keys and values, encoded, one entry after the other.
    encoded: Vec<u8>,
    entries: Vec<Entry>,
    /// Where in `encoded` a byte string is left open.
    open: Option<usize>,
    /// A number that CBOR can't hold was to be added.
    impossible: bool,
}

/// Where in the encoded bytes an entry is.
#[derive(Clone, Copy)]
struct Entry {
    key: usize,
    value: usize,
    end: usize,
}

impl core::fmt::Debug for MapBuilder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let keys = self.entries.iter().map(|entry| {
            let key = self.part(entry.key, entry.value);
            Item::decode(key, key.len()).map_or(Key::Other, |key| Key::of(&key))
        });
        f.debug_set().entries(keys).finish()
    }
}

impl MapBuilder {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        // Room for most maps here.
        Self {
            encoded: Vec::with_capacity(512),
            entries: Vec::with_capacity(8),
            ..Self::default()
        }
    }

    fn part(&self, from: usize, to: usize) -> &[u8] {
        // Both ends were taken from this very vector, in this order.
        self.encoded.get(from..to).unwrap_or_default()
    }

    fn with<'k>(mut self, key: impl Into<KeyRef<'k>>, value: impl FnOnce(&mut Vec<u8>)) -> Self {
        let start = self.encoded.len();
        key.into().write(&mut self.encoded);
        let middle = self.encoded.len();
        value(&mut self.encoded);
        let entry = Entry {
            key: start,
            value: middle,
            end: self.encoded.len(),
        };
        self.entries.push(entry);
        self
    }

    /// Adds a byte string.
    #[must_use]
    pub fn bytes<'k>(self, key: impl Into<KeyRef<'k>>, bytes: &[u8]) -> Self {
        self.with(key, |out| write::bytes(out, bytes))
    }

    /// Adds a byte string, or `null`.
    #[must_use]
    pub fn bytes_or_null<'k>(self, key: impl Into<KeyRef<'k>>, bytes: Option<&[u8]>) -> Self {
        self.with(key, |out| match bytes {
            Some(bytes) => write::bytes(out, bytes),
            None => out.push(write::NULL),
        })
    }

    /// Adds an integer, from −2^64 to 2^64 − 1. A map with another one has no
    /// encoding: it encodes as nothing, which every decoder refuses.
    #[must_use]
    pub fn int<'k>(mut self, key: impl Into<KeyRef<'k>>, number: i128) -> Self {
        let (major, argument) = match u64::try_from(number) {
            Ok(number) => (write::UINT, Some(number)),
            Err(_) => (write::NEGATIVE, u64::try_from(!number).ok()),
        };
        self.impossible |= argument.is_none();
        self.with(key, |out| write::head(out, major, argument.unwrap_or_default()))
    }

    /// Adds an unsigned integer.
    #[must_use]
    pub fn uint<'k>(self, key: impl Into<KeyRef<'k>>, number: u64) -> Self {
        self.with(key, |out| write::head(out, write::UINT, number))
    }

    /// Adds a text.
    #[must_use]
    pub fn text<'k>(self, key: impl Into<KeyRef<'k>>, text: &str) -> Self {
        self.with(key, |out| write::text(out, text))
    }

    /// Adds an array of texts.
    #[must_use]
    pub fn texts<'k>(self, key: impl Into<KeyRef<'k>>, texts: &[&str]) -> Self {
        self.with(key, |out| {
            write::length(out, write::ARRAY, texts.len());
            texts.iter().for_each(|text| write::text(out, text));
        })
    }

    /// Adds an array of unsigned integers.
    #[must_use]
    pub fn uints<'k>(self, key: impl Into<KeyRef<'k>>, numbers: &[u64]) -> Self {
        self.with(key, |out| {
            write::length(out, write::ARRAY, numbers.len());
            for number in numbers {
                write::head(out, write::UINT, *number);
            }
        })
    }

    /// Adds an array of 32-byte strings.
    #[must_use]
    pub fn hashes<'k>(self, key: impl Into<KeyRef<'k>>, hashes: &[[u8; 32]]) -> Self {
        self.with(key, |out| {
            write::length(out, write::ARRAY, hashes.len());
            hashes.iter().for_each(|hash| write::bytes(out, hash));
        })
    }

    /// Adds an inner map.
    #[must_use]
    pub fn map<'k>(mut self, key: impl Into<KeyRef<'k>>, map: Self) -> Self {
        self.impossible |= map.impossible;
        self.with(key, |out| out.extend_from_slice(&map.encode()))
    }

    /// Adds a CMW record `[media type, bytes, indicator]`.
    #[must_use]
    pub fn record<'k>(
        self,
        key: impl Into<KeyRef<'k>>,
        media_type: &str,
        bytes: &[u8],
        indicator: u64,
    ) -> Self {
        self.with(key, |out| {
            write::length(out, write::ARRAY, 3);
            write::text(out, media_type);
            write::bytes(out, bytes);
            write::head(out, write::UINT, indicator);
        })
    }

    /// As [`Self::record`], with the bytes left open: for [`Self::encode_around`],
    /// and for one record of a map.
    pub(crate) fn open_record<'k>(
        self,
        key: impl Into<KeyRef<'k>>,
        media_type: &str,
        indicator: u64,
    ) -> Self {
        let mut open = 0;
        let mut with = self.with(key, |out| {
            write::length(out, write::ARRAY, 3);
            write::text(out, media_type);
            open = out.len();
            write::head(out, write::UINT, indicator);
        });
        with.open = Some(open);
        with
    }

    /// The deterministic encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (mut whole, after) = self.halves(None);
        whole.extend_from_slice(&after);
        whole
    }

    /// The deterministic encoding up to the byte string that was left open, and
    /// from there on. Between them belongs what [`byte_string`](super::byte_string) appends.
    pub(crate) fn encode_around(&self) -> (Vec<u8>, Vec<u8>) {
        self.halves(self.open)
    }

    /// The entries in the order of their keys, each key once.
    fn in_order(&self) -> Cow<'_, [Entry]> {
        let key = |entry: &Entry| self.part(entry.key, entry.value);
        if self.entries.is_sorted_by(|one, next| key(one) < key(next)) {
            return Cow::Borrowed(&self.entries);
        }
        let mut entries = self.entries.clone();
        // Of two entries of a key, the one that was added later counts: first here.
        entries.reverse();
        entries.sort_by(|one, other| key(one).cmp(key(other)));
        entries.dedup_by(|next, one| key(next) == key(one));
        Cow::Owned(entries)
    }

    fn halves(&self, open: Option<usize>) -> (Vec<u8>, Vec<u8>) {
        if self.impossible {
            return (Vec::new(), Vec::new());
        }
        let entries = self.in_order();
        let mut out = Vec::with_capacity(self.encoded.len().saturating_add(9));
        write::length(&mut out, write::MAP, entries.len());
        let mut before = None;
        for entry in entries.iter() {
            let open = open.filter(|open| (entry.value..entry.end).contains(open));
            let Some(open) = open else {
                out.extend_from_slice(self.part(entry.key, entry.end));
                continue;
            };
            out.extend_from_slice(self.part(entry.key, open));
            before = Some(core::mem::take(&mut out));
            out.extend_from_slice(self.part(open, entry.end));
        }
        match before {
            Some(before) => (before, out),
            None => (out, Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_cbor::Value;

    use super::*;

    #[derive(Debug, Clone)]
    enum Added {
        Bytes(Vec<u8>),
        Null,
        Int(i128),
        Text(String),
        Texts(Vec<String>),
        Uints(Vec<u64>),
        Hashes(Vec<[u8; 32]>),
        Record(String, Vec<u8>, u64),
    }

    fn added() -> impl Strategy<Value = Added> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Added::Bytes),
            Just(Added::Null),
            any::<i64>().prop_map(|number| Added::Int(number.into())),
            any::<u64>().prop_map(|number| Added::Int(-1 - i128::from(number))),
            ".{0,30}".prop_map(Added::Text),
            prop::collection::vec(".{0,5}", 0..30).prop_map(Added::Texts),
            prop::collection::vec(any::<u64>(), 0..30).prop_map(Added::Uints),
            prop::collection::vec(any::<[u8; 32]>(), 0..30).prop_map(Added::Hashes),
            (".{0,30}", prop::collection::vec(any::<u8>(), 0..300), 0_u64..300)
                .prop_map(|(kind, bytes, bits)| Added::Record(kind, bytes, bits)),
        ]
    }

    fn keys() -> impl Strategy<Value = Key> {
        prop_oneof![
            any::<i64>().prop_map(Key::Int),
            (-30_i64..30).prop_map(Key::Int),
            "[a-z_é-]{0,26}".prop_map(Key::Text),
        ]
    }

    fn add(map: MapBuilder, key: &Key, value: &Added) -> MapBuilder {
        let key = match key {
            Key::Int(key) => KeyRef::Int(*key),
            Key::Text(key) => KeyRef::Text(key),
            Key::Other => unreachable!("no such key is made"),
        };
        match value {
            Added::Bytes(bytes) => map.bytes(key, bytes),
            Added::Null => map.bytes_or_null(key, None),
            Added::Int(number) => map.int(key, *number),
            Added::Text(text) => map.text(key, text),
            Added::Texts(texts) => {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                map.texts(key, &texts)
            }
            Added::Uints(numbers) => map.uints(key, numbers),
            Added::Hashes(hashes) => map.hashes(key, hashes),
            Added::Record(kind, bytes, bits) => map.record(key, kind, bytes, *bits),
        }
    }

    /// As a general library orders and writes it.
    fn by_the_library(entries: &[(Key, Added)]) -> Value {
        let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
        let number = |number: u64| Value::Integer(number.into());
        let entries = entries.iter().map(|(key, value)| {
            let key = match key {
                Key::Int(key) => Value::Integer((*key).into()),
                Key::Text(key) => Value::Text(key.clone()),
                Key::Other => unreachable!("no such key is made"),
            };
            let value = match value {
                Added::Bytes(value) => bytes(value),
                Added::Null => Value::Null,
                Added::Int(number) => Value::Integer(*number),
                Added::Text(text) => Value::Text(text.clone()),
                Added::Texts(texts) => Value::Array(texts.iter().cloned().map(Value::Text).collect()),
                Added::Uints(numbers) => Value::Array(numbers.iter().map(|one| number(*one)).collect()),
                Added::Hashes(hashes) => Value::Array(hashes.iter().map(|hash| bytes(hash)).collect()),
                Added::Record(kind, value, bits) => {
                    Value::Array(vec![Value::Text(kind.clone()), bytes(value), number(*bits)])
                }
            };
            (key, value)
        });
        Value::Map(entries.collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn a_number_that_cbor_cannot_hold_leaves_no_encoding_at_any_depth() {
        let most = i128::from(u64::MAX);
        for fits in [most, -1 - most] {
            assert!(!MapBuilder::new().int(1, fits).encode().is_empty());
        }
        for beyond in [most + 1, -2 - most, i128::MAX, i128::MIN] {
            let map = MapBuilder::new().int(1, beyond);
            assert!(map.encode().is_empty());
            assert!(MapBuilder::new().map(1, map).encode().is_empty());
        }
    }

    #[test]
    fn a_builder_shows_keys_alone() {
        let map = MapBuilder::new().text("of", "secret").uint(-3, 77);
        assert_eq!(format!("{map:?}"), "{Text(\"of\"), Int(-3)}");
    }

    proptest! {
        #[test]
        fn maps_are_written_as_the_library_writes_them(
            entries in prop::collection::vec((keys(), added()), 0..40),
            inner in prop::collection::vec((keys(), added()), 0..5),
        ) {
            let all = |entries: &[(Key, Added)]| {
                entries.iter().fold(MapBuilder::new(), |map, (key, value)| add(map, key, value))
            };
            let expected = by_the_library(&entries);
            prop_assert_eq!(all(&entries).encode(), serde_cbor::to_vec(&expected).unwrap());
            let Value::Map(mut expected) = expected else { unreachable!("it is a map") };
            expected.insert(Value::Integer(5), by_the_library(&inner));
            let nested = all(&entries).map(5, all(&inner)).encode();
            prop_assert_eq!(nested, serde_cbor::to_vec(&Value::Map(expected)).unwrap());
        }

        #[test]
        fn an_open_record_closed_is_the_record(
            entries in prop::collection::vec((keys(), added()), 0..20), bytes: Vec<u8>
        ) {
            let entries = || entries.iter().filter(|(key, _)| *key != Key::Text("own".to_owned()));
            let map = || entries().fold(MapBuilder::new(), |map, (key, value)| add(map, key, value));
            let (mut whole, after) = map().open_record("own", "a/b", 4).encode_around();
            super::super::byte_string(&mut whole, &bytes);
            whole.extend_from_slice(&after);
            prop_assert_eq!(whole, map().record("own", "a/b", &bytes, 4).encode());
        }
    }
}
