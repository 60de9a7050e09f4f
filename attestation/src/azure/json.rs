//! JSON read strictly: a key twice in one object is an error at every depth
//! (common readers keep the last one, others the first), and so is nesting
//! beyond what the format needs. Keeps text, truth values and structure.

use core::fmt;
use std::collections::BTreeMap;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Levels of arrays and objects. Azure's runtime data has three.
const MAX_DEPTH: usize = 8;

/// A value, without the kinds that nobody here needs to tell apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json {
    Bool(bool),
    Text(String),
    List(Vec<Self>),
    Object(BTreeMap<String, Self>),
    /// A number or `null`.
    Other,
}

impl Json {
    /// Reads one document with nothing but white space around it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let value = Depth(MAX_DEPTH).deserialize(&mut reader)?;
        reader.end()?;
        Ok(value)
    }

    pub(super) const fn as_object(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    pub(super) fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
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

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Other)
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
