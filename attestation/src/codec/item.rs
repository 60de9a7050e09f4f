//! The reading side: one item of CBOR, borrowed from its bytes, accepted in its
//! one deterministic encoding alone \[RFC 8949, 4.2.1\]: shortest heads, definite
//! lengths, map keys in ascending order and each once. What no structure here
//! has (tags, floats, simple values but `false`, `true` and `null`) is refused.

use super::CodecError;

/// How many items may be nested; the deepest structure here has five.
const MAX_NESTING: u8 = 16;

const UINT: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const SIMPLE: u8 = 7;
const FALSE: u64 = 20;
const TRUE: u64 = 21;
const NULL: u64 = 22;

/// One item.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item<'a> {
    Uint(u64),
    /// −1 − n.
    Negative(u64),
    Bytes(&'a [u8]),
    Text(&'a str),
    Array(Vec<Self>),
    /// In the order of their keys' encodings.
    Map(Vec<(Self, Self)>),
    Bool(bool),
    Null,
}

impl<'a> Item<'a> {
    /// One item of at most `limit` bytes and nothing after it.
    pub(super) fn decode(bytes: &'a [u8], limit: usize) -> Result<Self, CodecError> {
        if bytes.len() > limit {
            return Err(CodecError::TooLarge {
                limit,
                got: bytes.len(),
            });
        }
        let mut reader = Reader { rest: bytes };
        let item = reader.item(MAX_NESTING)?;
        if reader.rest.is_empty() {
            Ok(item)
        } else {
            Err(CodecError::Malformed)
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn item(&mut self, nesting: u8) -> Result<Item<'a>, CodecError> {
        let nesting = nesting.checked_sub(1).ok_or(CodecError::Malformed)?;
        let (major, argument) = self.head()?;
        Ok(match major {
            UINT => Item::Uint(argument),
            NEGATIVE => Item::Negative(argument),
            BYTES => Item::Bytes(self.take(argument)?),
            TEXT => {
                let text = core::str::from_utf8(self.take(argument)?);
                Item::Text(text.map_err(|_| CodecError::Malformed)?)
            }
            ARRAY => {
                let mut items = Vec::with_capacity(self.capacity(argument)?);
                for _ in 0..argument {
                    items.push(self.item(nesting)?);
                }
                Item::Array(items)
            }
            MAP => self.map(argument, nesting)?,
            SIMPLE => match argument {
                FALSE => Item::Bool(false),
                TRUE => Item::Bool(true),
                NULL => Item::Null,
                _ => return Err(CodecError::Malformed),
            },
            _ => return Err(CodecError::Malformed),
        })
    }

    fn map(&mut self, entries: u64, nesting: u8) -> Result<Item<'a>, CodecError> {
        let mut map = Vec::with_capacity(self.capacity(entries)?);
        let mut before: &[u8] = &[];
        for _ in 0..entries {
            let rest = self.rest;
            let key = self.item(nesting)?;
            let encoded = rest.len().checked_sub(self.rest.len());
            let encoded = encoded.and_then(|length| rest.get(..length)).unwrap_or_default();
            // No encoding is empty, so that the first is above what is before it.
            if encoded <= before {
                return Err(CodecError::NotDeterministic);
            }
            before = encoded;
            map.push((key, self.item(nesting)?));
        }
        Ok(Item::Map(map))
    }

    /// Room for so many items: none that the rest of the input can't hold, and
    /// little before they have come.
    fn capacity(&self, items: u64) -> Result<usize, CodecError> {
        match usize::try_from(items) {
            Ok(items) if items <= self.rest.len() => Ok(items.min(16)),
            _ => Err(CodecError::Malformed),
        }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], CodecError> {
        let taken = usize::try_from(length).ok();
        let (taken, rest) = taken
            .and_then(|length| self.rest.split_at_checked(length))
            .ok_or(CodecError::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<u64, CodecError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(CodecError::Malformed)?;
        self.rest = rest;
        Ok(taken
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Major type and argument of the next item.
    fn head(&mut self) -> Result<(u8, u64), CodecError> {
        let (initial, rest) = self.rest.split_first().ok_or(CodecError::Malformed)?;
        self.rest = rest;
        let major = initial >> 5;
        // The least number that needs so many bytes, and the number.
        let (least, argument) = match initial & 0x1f {
            short @ ..24 => (0, u64::from(short)),
            // A float, or a simple value that has no name here.
            24..=27 if major == SIMPLE => return Err(CodecError::Malformed),
            24 => (24, self.number::<1>()?),
            25 => (1 << 8, self.number::<2>()?),
            26 => (1 << 16, self.number::<4>()?),
            27 => (1 << 32, self.number::<8>()?),
            // An indefinite length.
            31 if matches!(major, BYTES | TEXT | ARRAY | MAP) => return Err(CodecError::NotDeterministic),
            _ => return Err(CodecError::Malformed),
        };
        if argument < least {
            return Err(CodecError::NotDeterministic);
        }
        Ok((major, argument))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_cbor::Value;

    use super::*;

    /// What the general library makes of the same bytes, and whether that is what
    /// it would write.
    fn by_the_library(bytes: &[u8]) -> Option<Value> {
        let value: Value = serde_cbor::from_slice(bytes).ok()?;
        (serde_cbor::to_vec(&value).unwrap() == bytes).then_some(value)
    }

    fn value(item: &Item<'_>) -> Value {
        match item {
            Item::Uint(number) => Value::Integer(i128::from(*number)),
            Item::Negative(number) => Value::Integer(-1 - i128::from(*number)),
            Item::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            Item::Text(text) => Value::Text((*text).to_owned()),
            Item::Array(items) => Value::Array(items.iter().map(value).collect()),
            Item::Map(entries) => Value::Map(
                entries
                    .iter()
                    .map(|(key, item)| (value(key), value(item)))
                    .collect(),
            ),
            Item::Bool(truth) => Value::Bool(*truth),
            Item::Null => Value::Null,
        }
    }

    fn has_float(value: &Value) -> bool {
        match value {
            Value::Float(_) => true,
            Value::Array(items) => items.iter().any(has_float),
            Value::Map(map) => map.iter().any(|(key, item)| has_float(key) || has_float(item)),
            _ => false,
        }
    }

    /// What is read is what the library reads, and what is refused it would have
    /// written otherwise, but for what no structure has.
    fn agrees(bytes: &[u8]) {
        let ours = Item::decode(bytes, bytes.len()).ok();
        let theirs = by_the_library(bytes).filter(|value| !has_float(value));
        assert_eq!(ours.as_ref().map(value), theirs, "{}", hex::encode(bytes));
    }

    #[test]
    fn what_no_structure_has_and_what_nests_too_deep_is_refused() {
        let refused: [&[u8]; 9] = [
            &[],
            &[0xc1, 0x00],
            &[0xf9, 0x3c, 0x00],
            &[0xfa, 0x3f, 0x80, 0x00, 0x01],
            &[0xf7],
            &[0xf8, 0x16],
            &[0xff],
            &[0x1c],
            &[0x62, 0xc3, 0x28],
        ];
        for bytes in refused {
            assert_eq!(Item::decode(bytes, 9), Err(CodecError::Malformed), "{bytes:02x?}");
        }
        let nested = |depth| {
            let mut bytes = vec![0x81; depth];
            bytes.push(0);
            Item::decode(&bytes, 64).is_ok()
        };
        assert!(nested(usize::from(MAX_NESTING) - 1));
        assert!(!nested(usize::from(MAX_NESTING)));
    }

    #[test]
    fn every_encoding_of_two_bytes_is_read_as_the_library_reads_it_strictly() {
        for first in 0..=u8::MAX {
            agrees(&[first]);
            for second in 0..=u8::MAX {
                agrees(&[first, second]);
            }
        }
    }

    #[test]
    fn each_length_of_a_number_has_a_least_one() {
        for number in [
            0,
            23,
            24,
            255,
            256,
            65_535,
            65_536,
            (1 << 32) - 1,
            1 << 32,
            u64::MAX,
        ] {
            let number = i128::from(number);
            for number in [number, -1 - number] {
                agrees(&serde_cbor::to_vec(&Value::Integer(number)).unwrap());
            }
        }
        for long in [
            &[0x18, 0x17][..],
            &[0x19, 0, 0xff],
            &[0x1a, 0, 0, 0xff, 0xff],
            &[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            &[0x38, 0x17],
            &[0x58, 0x00],
            &[0x98, 0x00],
            &[0xb8, 0x00],
        ] {
            assert_eq!(
                Item::decode(long, 9),
                Err(CodecError::NotDeterministic),
                "{long:02x?}"
            );
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<u64>().prop_map(|number| Value::Integer(i128::from(number))),
            any::<u64>().prop_map(|number| Value::Integer(-1 - i128::from(number))),
            (0_i128..30).prop_map(Value::Integer),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
            "[a-zé]{0,6}".prop_map(Value::Text),
            any::<bool>().prop_map(Value::Bool),
            Just(Value::Null),
        ];
        leaf.prop_recursive(3, 32, 6, |inner| {
            let entry = (inner.clone(), inner.clone());
            prop_oneof![
                prop::collection::vec(inner, 0..6).prop_map(Value::Array),
                prop::collection::vec(entry, 0..6)
                    .prop_map(|map| Value::Map(map.into_iter().collect::<BTreeMap<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_the_library_writes_is_read_and_every_change_is_judged_alike(
            value in values(), at: prop::sample::Index, flip in 1_u8.., cut: prop::sample::Index
        ) {
            let bytes = serde_cbor::to_vec(&value).unwrap();
            agrees(&bytes);
            prop_assert!(Item::decode(&bytes, bytes.len()).is_ok());
            agrees(&bytes[..cut.index(bytes.len())]);
            let mut changed = bytes;
            let at = at.index(changed.len());
            changed[at] ^= flip;
            agrees(&changed);
        }

        #[test]
        fn any_bytes_are_read_as_the_library_reads_them_strictly(bytes: Vec<u8>) {
            agrees(&bytes);
        }
    }
}
