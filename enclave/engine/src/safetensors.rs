//! A reader for the safetensors container.
//!
//! Owns the header: eight bytes of length, JSON, then tensor data. Built for
//! hostile files: every length is checked before it is used, names may not
//! repeat, and the tensors must tile the data exactly, without overlap or
//! hole, so that one file has one meaning. Refuses data types that the engine
//! does not compute with. It copies nothing and knows nothing of models.
//!
//! Format: <https://huggingface.co/docs/safetensors>, "Format".

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Longest header accepted, in bytes.
pub const MAX_HEADER_BYTES: u64 = 16 * 1024 * 1024;
/// Most tensors accepted in one file.
pub const MAX_TENSORS: usize = 65_536;
/// Most dimensions accepted in one tensor.
pub const MAX_DIMENSIONS: usize = 8;

/// Why a file was refused as safetensors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// Too short for the length field.
    #[error("the file has {got} bytes, expected at least 8 for the header length")]
    NoLength {
        /// Bytes in the file.
        got: usize,
    },
    /// The header is longer than the limit.
    #[error("the header claims {got} bytes, the limit is {limit}")]
    HeaderTooLong {
        /// Bytes claimed.
        got: u64,
        /// The limit.
        limit: u64,
    },
    /// The file ends inside the header.
    #[error("the file is cut short: the header needs {expected} bytes, {got} follow the length")]
    HeaderCutShort {
        /// Bytes claimed.
        expected: u64,
        /// Bytes present.
        got: usize,
    },
    /// The header is not the JSON object the format asks for.
    #[error("the header is not valid: {reason}")]
    Header {
        /// What the parser expected and met.
        reason: String,
    },
    /// A tensor's shape does not fit its bytes.
    #[error("tensor `{name}` spans {got} bytes, expected {expected} from its shape and type")]
    Size {
        /// The tensor.
        name: String,
        /// Bytes between its offsets.
        got: u64,
        /// Bytes its shape needs.
        expected: u64,
    },
    /// A tensor's offsets run backwards or its shape overflows.
    #[error("tensor `{name}` has impossible offsets or shape")]
    Impossible {
        /// The tensor.
        name: String,
    },
    /// The file ends inside a tensor.
    #[error("the file is cut short: tensor `{name}` ends at byte {end} of the data, {len} are present")]
    CutShort {
        /// The tensor.
        name: String,
        /// Its end offset.
        end: u64,
        /// Bytes of data in the file.
        len: u64,
    },
    /// Two tensors share bytes.
    #[error("tensors `{first}` and `{second}` overlap, expected disjoint ranges")]
    Overlap {
        /// The tensor that begins first.
        first: String,
        /// The one that begins inside it.
        second: String,
    },
    /// Bytes belong to no tensor.
    #[error("bytes {start}..{end} of the data belong to no tensor")]
    Hole {
        /// First unclaimed byte.
        start: u64,
        /// One past the last unclaimed byte.
        end: u64,
    },
}

impl SafetensorsError {
    /// A stable dotted code for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoLength { .. } | Self::HeaderCutShort { .. } | Self::CutShort { .. } => {
                "model.weights.cut_short"
            }
            Self::HeaderTooLong { .. } => "model.weights.header_too_long",
            Self::Header { .. } => "model.weights.header",
            Self::Size { .. } => "model.weights.size",
            Self::Impossible { .. } => "model.weights.impossible",
            Self::Overlap { .. } => "model.weights.overlap",
            Self::Hole { .. } => "model.weights.hole",
        }
    }
}

/// The element types accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Dtype {
    /// Upper half of an IEEE single.
    #[serde(rename = "BF16")]
    Bf16,
    /// IEEE half.
    #[serde(rename = "F16")]
    F16,
    /// IEEE single.
    #[serde(rename = "F32")]
    F32,
}

impl Dtype {
    /// Bytes per element.
    pub fn size(self) -> u64 {
        match self {
            Self::Bf16 | Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

/// One tensor of a checked header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Element type, little-endian, row-major.
    pub dtype: Dtype,
    /// Dimensions, outermost first.
    pub shape: Vec<u64>,
    /// Where its bytes are, counted from the start of the file.
    pub bytes: Range<usize>,
}

/// A checked header: every range lies inside the file, and they tile its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetensorsHeader {
    /// Tensors by name.
    pub tensors: BTreeMap<String, TensorEntry>,
}

/// Parses and checks the header of `file`, the whole bytes of a safetensors file.
///
/// # Errors
/// Every way in which the file is not exactly one safetensors file has its own [`SafetensorsError`].
pub fn parse_safetensors_header(file: &[u8]) -> Result<SafetensorsHeader, SafetensorsError> {
    let (length, rest) = file
        .split_first_chunk::<8>()
        .ok_or(SafetensorsError::NoLength { got: file.len() })?;
    let claimed = u64::from_le_bytes(*length);
    if claimed > MAX_HEADER_BYTES {
        return Err(SafetensorsError::HeaderTooLong {
            got: claimed,
            limit: MAX_HEADER_BYTES,
        });
    }
    let (header, data) = usize::try_from(claimed)
        .ok()
        .and_then(|length| rest.split_at_checked(length))
        .ok_or(SafetensorsError::HeaderCutShort {
            expected: claimed,
            got: rest.len(),
        })?;
    if header.first() != Some(&b'{') {
        return Err(SafetensorsError::Header {
            reason: "it does not begin with `{`".to_owned(),
        });
    }
    let raw: RawHeader = serde_json::from_slice(header).map_err(|error| SafetensorsError::Header {
        reason: error.to_string(),
    })?;
    let data_start = file.len() - data.len();
    let mut tensors = BTreeMap::new();
    for (name, entry) in raw.0 {
        let entry = entry.check(&name, data_start, data.len())?;
        tensors.insert(name, entry);
    }
    check_tiling(&tensors, data_start, file.len())?;
    Ok(SafetensorsHeader { tensors })
}

fn check_tiling(
    tensors: &BTreeMap<String, TensorEntry>,
    data_start: usize,
    file_end: usize,
) -> Result<(), SafetensorsError> {
    let mut order: Vec<(&String, &TensorEntry)> = tensors.iter().collect();
    order.sort_by_key(|(_, entry)| (entry.bytes.start, entry.bytes.end));
    let mut reached = data_start;
    let mut previous: Option<&String> = None;
    for (name, entry) in order {
        if entry.bytes.start < reached {
            return Err(SafetensorsError::Overlap {
                first: previous.cloned().unwrap_or_default(),
                second: name.clone(),
            });
        }
        if entry.bytes.start > reached {
            return Err(hole(reached, entry.bytes.start, data_start));
        }
        reached = entry.bytes.end;
        previous = Some(name);
    }
    if reached == file_end {
        Ok(())
    } else {
        Err(hole(reached, file_end, data_start))
    }
}

fn hole(start: usize, end: usize, data_start: usize) -> SafetensorsError {
    let relative = |at: usize| u64::try_from(at - data_start).unwrap_or(u64::MAX);
    SafetensorsError::Hole {
        start: relative(start),
        end: relative(end),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    dtype: Dtype,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl RawEntry {
    fn check(self, name: &str, data_start: usize, data_len: usize) -> Result<TensorEntry, SafetensorsError> {
        let impossible = || SafetensorsError::Impossible {
            name: name.to_owned(),
        };
        let [begin, end] = self.data_offsets;
        let got = end.checked_sub(begin).ok_or_else(impossible)?;
        if self.shape.len() > MAX_DIMENSIONS {
            return Err(impossible());
        }
        let expected = self
            .shape
            .iter()
            .try_fold(self.dtype.size(), |product, dimension| {
                product.checked_mul(*dimension)
            })
            .ok_or_else(impossible)?;
        if got != expected {
            return Err(SafetensorsError::Size {
                name: name.to_owned(),
                got,
                expected,
            });
        }
        let len = u64::try_from(data_len).unwrap_or(u64::MAX);
        if end > len {
            return Err(SafetensorsError::CutShort {
                name: name.to_owned(),
                end,
                len,
            });
        }
        let absolute = |at: u64| usize::try_from(at).ok()?.checked_add(data_start);
        let bytes = absolute(begin).zip(absolute(end)).ok_or_else(impossible)?;
        Ok(TensorEntry {
            dtype: self.dtype,
            shape: self.shape,
            bytes: bytes.0..bytes.1,
        })
    }
}

/// The header's object, in which no name may occur twice.
struct RawHeader(BTreeMap<String, RawEntry>);

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;
        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut tensors = BTreeMap::new();
                let mut metadata = false;
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        if std::mem::replace(&mut metadata, true) {
                            return Err(A::Error::custom("duplicate name `__metadata__`"));
                        }
                        map.next_value::<Metadata>()?;
                        continue;
                    }
                    if tensors.len() >= MAX_TENSORS {
                        return Err(A::Error::custom(format_args!("more than {MAX_TENSORS} tensors")));
                    }
                    if tensors.contains_key(&name) {
                        return Err(A::Error::custom(format_args!("duplicate name `{name}`")));
                    }
                    let entry = map.next_value::<RawEntry>()?;
                    tensors.insert(name, entry);
                }
                Ok(RawHeader(tensors))
            }
        }
        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// `__metadata__`: strings to strings without repeats; its content is not used.
struct Metadata;

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MetadataVisitor;
        impl<'de> Visitor<'de> for MetadataVisitor {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut seen = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if seen.insert(key, value).is_some() {
                        return Err(A::Error::custom("duplicate name in `__metadata__`"));
                    }
                }
                Ok(Metadata)
            }
        }
        deserializer.deserialize_map(MetadataVisitor)
    }
}

#[cfg(test)]
mod tests;
