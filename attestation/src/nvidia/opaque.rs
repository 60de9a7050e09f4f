//! Opaque data as a device writes them: which fields are there, each once, by
//! number. Two encodings: the legacy one (type, length, value) and "NVDAOD", a
//! header and entries that also carry a value type. Knows no field's meaning,
//! which is `facts`'s; numbers are little-endian.

use std::collections::BTreeMap;

use super::family::DeviceKind;
use crate::reader::Reader;

const MAGIC: &[u8; 6] = b"NVDAOD";
/// Newest major version of the NVDAOD header that is understood.
const MAX_MAJOR: u8 = 2;

/// Why opaque data can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpaqueError {
    /// The data end inside an entry or the header.
    #[error("the opaque data end inside {part}")]
    Truncated {
        /// The part.
        part: &'static str,
    },
    /// A format that is newer than this reader, or an NVSwitch with the new format.
    #[error("opaque data version {major} of a {kind} is not supported")]
    VersionUnsupported {
        /// Its number.
        major: u16,
        /// What the data are of.
        kind: DeviceKind,
    },
    /// Another profile of NVDAOD than 0.
    #[error("opaque data profile {got} is not 0")]
    Profile {
        /// The profile.
        got: u16,
    },
    /// A field that this kind of device doesn't have.
    #[error("opaque field {id} is unknown for a {kind}")]
    UnknownType {
        /// Its number.
        id: u16,
        /// What the data are of.
        kind: DeviceKind,
    },
    /// A field comes twice.
    #[error("opaque field {id} comes twice")]
    Duplicate {
        /// Its number.
        id: u16,
    },
    /// A field that must be there isn't.
    #[error("opaque field {id} is missing")]
    Missing {
        /// Its number.
        id: u16,
    },
    /// A field has another size or content.
    #[error("opaque field {id}: expected {expected}")]
    Field {
        /// Its number.
        id: u16,
        /// What should have come.
        expected: &'static str,
    },
    /// The video decoder's state is neither enabled nor disabled.
    #[error("NVDEC0 status is 0x{got:02x}, expected 0xaa (enabled) or 0x55 (disabled)")]
    NvdecUnknown {
        /// The state.
        got: u8,
    },
    /// PROTECTED_PCIE_STATUS and FEATURE_FLAG say different things.
    #[error("protected PCIe is {}, but the feature flag is {feature}", if *protected_pcie { "on" } else { "off" })]
    ContradictoryMode {
        /// Whether field 21 says that protected PCIe is on.
        protected_pcie: bool,
        /// Field 36.
        feature: u16,
    },
}

/// Which encoding the opaque data are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpaqueVersion {
    /// Type, length, value. Field 34 has the version: 0 (or none) or 1.
    Legacy(u16),
    /// "NVDAOD", versioned by its header. Field 34 says nothing about it.
    Nvdaod {
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
        /// Patch.
        patch: u8,
    },
}

/// A field that is understood by number alone, kept as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherField {
    /// Its number.
    pub id: u16,
    /// NVDAOD's value type.
    pub value_type: u16,
    /// Its bytes.
    pub value: Vec<u8>,
}

/// One entry: value type, where the encoding has one, and value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) value_type: Option<u16>,
    pub(super) value: &'a [u8],
}

/// Every field by number.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    pub(super) kind: DeviceKind,
    /// The header's version; `None` for the legacy encoding.
    pub(super) header: Option<OpaqueVersion>,
    fields: BTreeMap<u16, Entry<'a>>,
}

impl<'a> Entries<'a> {
    /// Reads all entries. The first six bytes tell the encoding.
    pub(super) fn read(kind: DeviceKind, bytes: &'a [u8]) -> Result<Self, OpaqueError> {
        let mut reader = Reader::new(bytes);
        let header = if bytes.starts_with(MAGIC) {
            Some(read_header(&mut reader, kind)?)
        } else {
            None
        };
        let mut fields = BTreeMap::new();
        while !reader.rest().is_empty() {
            let (id, entry) = read_entry(&mut reader, header.is_some())
                .ok_or(OpaqueError::Truncated { part: "an entry" })?;
            // Neither is ever a field: 0 would be padding, 255 is INVALID.
            if matches!(id, 0 | 255) {
                return Err(OpaqueError::UnknownType { id, kind });
            }
            if fields.insert(id, entry).is_some() {
                return Err(OpaqueError::Duplicate { id });
            }
        }
        Ok(Self { kind, header, fields })
    }

    /// Takes a field that may be absent.
    pub(super) fn optional(&mut self, id: u16) -> Option<Entry<'a>> {
        self.fields.remove(&id)
    }

    /// Takes a field that must be there.
    pub(super) fn required(&mut self, id: u16) -> Result<&'a [u8], OpaqueError> {
        self.optional(id)
            .map(|entry| entry.value)
            .ok_or(OpaqueError::Missing { id })
    }

    /// Each field that is an NVDAOD entry of this value type.
    pub(super) fn of_type(&self, value_type: u16) -> impl Iterator<Item = (u16, &'a [u8])> {
        self.fields
            .iter()
            .filter(move |(_, entry)| entry.value_type == Some(value_type))
            .map(|(id, entry)| (*id, entry.value))
    }

    /// Ends the reading. What was not taken is kept by number where the
    /// encoding is NVDAOD, which may grow, and refused otherwise.
    pub(super) fn finish(self) -> Result<Vec<OtherField>, OpaqueError> {
        let kind = self.kind;
        self.fields
            .into_iter()
            .map(|(id, entry)| {
                let value_type = entry.value_type.ok_or(OpaqueError::UnknownType { id, kind })?;
                Ok(OtherField {
                    id,
                    value_type,
                    value: entry.value.to_vec(),
                })
            })
            .collect()
    }
}

/// Magic, profile (u16), major, minor, patch, padding.
fn read_header(reader: &mut Reader<'_>, kind: DeviceKind) -> Result<OpaqueVersion, OpaqueError> {
    let part = "the header";
    let header = reader.array::<12>().ok_or(OpaqueError::Truncated { part })?;
    let [.., profile0, profile1, major, minor, patch, _] = *header;
    match u16::from_le_bytes([profile0, profile1]) {
        0 => {}
        got => return Err(OpaqueError::Profile { got }),
    }
    // No NVSwitch is known to write NVDAOD.
    if !(1..=MAX_MAJOR).contains(&major) || kind == DeviceKind::NvSwitch {
        let major = u16::from(major);
        return Err(OpaqueError::VersionUnsupported { major, kind });
    }
    Ok(OpaqueVersion::Nvdaod { major, minor, patch })
}

fn read_entry<'a>(reader: &mut Reader<'a>, typed: bool) -> Option<(u16, Entry<'a>)> {
    let id = reader.u16_le()?;
    let value_type = if typed { Some(reader.u16_le()?) } else { None };
    let length = reader.u16_le()?;
    let value = reader.take(usize::from(length))?;
    Some((id, Entry { value_type, value }))
}
