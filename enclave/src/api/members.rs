//! One JSON object as a list of named, still unparsed members, taken out one
//! by one; what is left over is unknown. Owns the strictness of the API's
//! input and the rule that faults name positions and known parameters, never
//! what the client wrote.

use core::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::ApiError;

/// Most members of an object.
const MOST: usize = 64;

/// The members of one object.
pub(crate) struct Members<'a> {
    /// Where the object is, for faults: empty for the body.
    at: String,
    /// Position from 1, name, raw value.
    left: Vec<(usize, String, &'a RawValue)>,
}

struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<String, &'de RawValue>()? {
                    if pairs.len() == MOST {
                        return Err(serde::de::Error::custom("too many members"));
                    }
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl<'a> Members<'a> {
    /// Reads a whole body.
    pub(crate) fn of_body(body: &'a [u8]) -> Result<Self, ApiError> {
        let pairs = serde_json::from_slice(body).map_err(|error| Self::fault(&error, String::new()))?;
        Self::new(pairs, String::new())
    }

    /// Reads a value that must be an object; `at` is its place in the body.
    pub(crate) fn of_value(raw: &'a RawValue, at: String) -> Result<Self, ApiError> {
        let pairs = serde_json::from_str(raw.get()).map_err(|error| Self::fault(&error, at.clone()))?;
        Self::new(pairs, at)
    }

    fn fault(error: &serde_json::Error, param: String) -> ApiError {
        if error.is_data() {
            ApiError::Object { param, most: MOST }
        } else {
            ApiError::Json {
                line: error.line(),
                column: error.column(),
            }
        }
    }

    fn new(pairs: Pairs<'a>, at: String) -> Result<Self, ApiError> {
        let mut names: Vec<&str> = pairs.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|two| two[0] == two[1]) {
            return Err(ApiError::Object {
                param: at,
                most: MOST,
            });
        }
        let left = (1..)
            .zip(pairs.0)
            .map(|(position, (name, raw))| (position, name, raw));
        Ok(Self {
            at,
            left: left.collect(),
        })
    }

    /// The full name of one of this object's members.
    pub(crate) fn path(&self, name: &str) -> String {
        if self.at.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.at)
        }
    }

    /// Takes a member out. `null` counts as absent, as it does for OpenAI.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let index = self.left.iter().position(|(_, key, _)| key == name)?;
        let (_, _, raw) = self.left.swap_remove(index);
        Some(raw).filter(|raw| raw.get() != "null")
    }

    /// Takes a member of a JSON type that `T` reads.
    pub(crate) fn typed<T: DeserializeOwned>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, ApiError> {
        self.take(name)
            .map(|raw| {
                // serde's own text could quote the value.
                serde_json::from_str(raw.get()).map_err(|_| ApiError::invalid(self.path(name), expected))
            })
            .transpose()
    }

    /// Takes a member that must be there.
    pub(crate) fn required(&mut self, name: &str, expected: &'static str) -> Result<&'a RawValue, ApiError> {
        self.take(name).ok_or_else(|| ApiError::Missing {
            param: self.path(name),
            expected,
        })
    }

    /// Ends the reading: nothing may be left that asks for something. OpenAI
    /// refuses unknown members, too: one of them may well change the answer.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        let unknown = self.left.iter().filter(|(.., raw)| raw.get() != "null");
        match unknown.map(|(position, ..)| *position).min() {
            None => Ok(()),
            Some(position) => Err(ApiError::Unknown {
                param: self.at,
                position,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Members;
    use crate::api::ApiError;

    fn code(body: &[u8]) -> &'static str {
        Members::of_body(body).map_or_else(|error| error.code(), |_| "fine")
    }

    #[test]
    fn only_an_object_with_each_member_once_is_read() {
        assert_eq!(code(b"{}"), "fine");
        assert_eq!(code(b"{\"a\":1,\"b\":[{}]}"), "fine");
        assert_eq!(code(b"{\"a\":1,\"a\":2}"), "invalid_object");
        assert_eq!(code(b"[]"), "invalid_object");
        assert_eq!(code(b""), "invalid_json");
        assert_eq!(code(b"{\"a\":1} x"), "invalid_json");
        assert_eq!(code(b"{\"a\":\"\xff\"}"), "invalid_json");
        let many: Vec<String> = (0..65).map(|number| format!("\"m{number}\":0")).collect();
        assert_eq!(
            code(format!("{{{}}}", many.join(",")).as_bytes()),
            "invalid_object"
        );
    }

    #[test]
    fn what_is_left_over_is_named_by_position() {
        let mut members = Members::of_body(b"{\"a\":1,\"secret\":2,\"c\":null}").unwrap();
        assert!(members.take("a").is_some());
        assert!(members.take("c").is_none());
        assert_eq!(
            members.finish(),
            Err(ApiError::Unknown {
                param: String::new(),
                position: 2
            })
        );
    }

    #[test]
    fn an_unknown_member_that_is_null_asks_for_nothing() {
        let members = Members::of_body(b"{\"secret\":null,\"b\": null }").unwrap();
        assert_eq!(members.finish(), Ok(()));
    }
}
