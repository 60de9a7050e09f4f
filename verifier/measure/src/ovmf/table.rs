//! The table of GUIDs that ends 32 bytes before the image does \[edk2,
//! OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm\]. Every entry is data, then the
//! entry's whole length, then its GUID; so it is walked backwards.

use super::error::OvmfError;
use crate::guid::{Guid, guid};

const FOOTER: Guid = guid(
    0x96b5_82de,
    0x1fb2,
    0x45f7,
    [0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d],
);
const SEV_METADATA: Guid = guid(
    0xdc88_6566,
    0x984a,
    0x4798,
    [0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67, 0xcc],
);
const SEV_HASH_TABLE: Guid = guid(
    0x7255_371f,
    0x3a3b,
    0x4b04,
    [0x92, 0x7b, 0x1d, 0xa6, 0xef, 0xa8, 0xd4, 0x54],
);
const SEV_ES_RESET_BLOCK: Guid = guid(
    0x00f7_71de,
    0x1a7e,
    0x4fcb,
    [0x89, 0x0e, 0x68, 0xc7, 0x7e, 0x2f, 0xb4, 0x4e],
);
const SVSM_INFO: Guid = guid(
    0xa789_a612,
    0x0597,
    0x4c4b,
    [0xa4, 0x9f, 0xcb, 0xb1, 0xfe, 0x9d, 0x1d, 0xdd],
);

/// Bytes between the table and the image's end.
const AFTER_TABLE: usize = 32;
/// Length and GUID.
const ENTRY_HEADER: usize = 18;

/// The data of those entries that matter here. What others say is passed over,
/// as QEMU does.
#[derive(Debug, Default)]
pub(super) struct Table<'a> {
    pub(super) sev_metadata: Option<&'a [u8; 4]>,
    pub(super) hash_table: Option<&'a [u8; 8]>,
    pub(super) reset_block: Option<&'a [u8; 4]>,
}

impl<'a> Table<'a> {
    pub(super) fn read(image: &'a [u8]) -> Result<Self, OvmfError> {
        let footer = image
            .len()
            .checked_sub(AFTER_TABLE)
            .and_then(|end| image.get(..end))
            .and_then(<[u8]>::split_last_chunk::<ENTRY_HEADER>);
        let Some((before, footer)) = footer else {
            return Err(OvmfError::NoTable);
        };
        let (length, guid) = header(footer);
        if guid != FOOTER {
            return Err(OvmfError::NoTable);
        }
        let wrong = OvmfError::TableLength { got: length };
        let Some(mut rest) = last(before, length).map(|(_, entries)| entries) else {
            return Err(wrong);
        };
        let mut table = Self::default();
        while let Some((before, entry)) = rest.split_last_chunk::<ENTRY_HEADER>() {
            let (length, guid) = header(entry);
            let Some((others, data)) = last(before, length) else {
                return Err(OvmfError::EntryLength {
                    got: length,
                    room: rest.len(),
                });
            };
            table.take(guid, data)?;
            rest = others;
        }
        if rest.is_empty() {
            Ok(table)
        } else {
            Err(OvmfError::TableRemainder { got: rest.len() })
        }
    }

    fn take(&mut self, guid: Guid, data: &'a [u8]) -> Result<(), OvmfError> {
        match guid {
            SEV_METADATA => once(&mut self.sev_metadata, "SEV_METADATA", data),
            SEV_HASH_TABLE => once(&mut self.hash_table, "SEV_HASH_TABLE", data),
            SEV_ES_RESET_BLOCK => once(&mut self.reset_block, "SEV_ES_RESET_BLOCK", data),
            SVSM_INFO => Err(OvmfError::Svsm),
            // Includes the footer's own GUID: as an entry it means nothing.
            _ => Ok(()),
        }
    }
}

/// Tools differ in which of two equal entries they follow.
fn once<'a, const N: usize>(
    place: &mut Option<&'a [u8; N]>,
    name: &'static str,
    data: &'a [u8],
) -> Result<(), OvmfError> {
    if place.is_some() {
        return Err(OvmfError::Duplicate { name });
    }
    let exact = data.try_into().map_err(|_| OvmfError::EntrySize {
        name,
        expected: N,
        got: data.len(),
    })?;
    *place = Some(exact);
    Ok(())
}

fn header(bytes: &[u8; ENTRY_HEADER]) -> (u16, Guid) {
    let [l0, l1, guid @ ..] = *bytes;
    (u16::from_le_bytes([l0, l1]), guid)
}

/// Splits off the last bytes: those of an entry whose whole length is `length`
/// and whose header is gone already.
fn last(bytes: &[u8], length: u16) -> Option<(&[u8], &[u8])> {
    let data = usize::from(length).checked_sub(ENTRY_HEADER)?;
    bytes.split_at_checked(bytes.len().checked_sub(data)?)
}
