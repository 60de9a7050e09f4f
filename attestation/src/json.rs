//! JSON read strictly: a key twice in one object is an error at every depth
//! (common readers keep the last one, others the first), and so is nesting
//! beyond what the formats need. Keeps text, truth values, times and counts, and
//! structure. How many bytes are read is the caller's to limit.

use core::fmt;
use std::collections::BTreeMap;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Levels of arrays and objects. Azure's runtime data has three, NVIDIA's
/// tokens and key sets have at most four.
const MAX_DEPTH: usize = 8;

/// A value, without the kinds that nobody here needs to tell apart.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Json {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number that is not negative, written without fraction or exponent.
    Number(u64),
    /// A string, its escapes resolved.
    Text(String),
    /// An array.
    List(Vec<Self>),
    /// An object; no key comes twice.
    Object(BTreeMap<String, Self>),
    /// `null`.
    Null,
    /// Any other number.
    Other,
}

/// Why bytes are not one JSON document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not strict JSON: {reason}")]
#[non_exhaustive]
pub struct JsonError {
    /// What is wrong, and where.
    pub reason: String,
}

impl Json {
    /// Reads one document with nothing but white space around it.
    ///
    /// # Errors
    /// [`JsonError`]: no JSON, a key twice in one object, too deep, or more that follows.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        Depth(MAX_DEPTH)
            .deserialize(&mut reader)
            .and_then(|value| reader.end().map(|()| value))
            .map_err(|error| JsonError {
                reason: error.to_string(),
            })
    }

    /// The members of an object.
    #[must_use]
    pub const fn as_object(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The items of an array.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// A string.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A truth value.
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A whole number that is not negative.
    #[must_use]
    pub const fn as_number(&self) -> Option<u64> {
        match self {
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }
}

/// Levels that may still be entered.
#[derive(Clone, Copy)]
struct Depth(usize);

impl Depth {
    fn enter<E: serde::de::Error>(self) -> Result<Self, E> {
        self.0
            .checked_sub(1)
            .map(Self)
            .ok_or_else(|| E::custom(format_args!("nested more than {MAX_DEPTH} deep")))
    }
}

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let inner = self.enter()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let inner = self.enter()?;
        let mut object = BTreeMap::new();
        while let Some(key) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if object.insert(key, value).is_some() {
                return Err(A::Error::custom("the same key twice in one object"));
            }
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        Json::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_key_twice_is_refused_at_every_depth_however_it_is_spelt() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"x":{"a":1,"b":2,"a":3}}"#,
            r#"[[{"a":null,"a":null}]]"#,
        ] {
            assert!(fault(text).contains("twice"), "{text}");
        }
        assert!(Json::parse(br#"{"a":{"a":1},"b":[{"a":1},{"a":1}]}"#).is_ok());
    }

    #[test]
    fn whole_numbers_are_kept_and_others_are_told_from_null() {
        let parse = |text: &str| Json::parse(text.as_bytes()).unwrap();
        assert_eq!(parse("0").as_number(), Some(0));
        assert_eq!(parse("18446744073709551615").as_number(), Some(u64::MAX));
        for text in ["-1", "1.0", "1e3", "18446744073709551616"] {
            assert_eq!(parse(text), Json::Other, "{text}");
        }
        assert_eq!(parse(" null "), Json::Null);
        assert_eq!(parse("\"1\"").as_number(), None);
    }

    #[test]
    fn nesting_and_trailing_bytes_are_refused() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(nested(8).as_bytes()).is_ok());
        assert!(fault(&nested(9)).contains("deep"));
        assert!(Json::parse("[".repeat(8000).as_bytes()).is_err());
        for text in ["{} {}", "{}\0", "", "{\"a\":tru}", "{\"a\":1,}", "\u{feff}{}"] {
            fault(text);
        }
        assert!(Json::parse(b"{\"a\":\"\xff\"}").is_err());
    }
}
