//! An OVMF image: what of it says how an SEV-SNP guest is launched. Read
//! strictly, with every offset and size checked; see [`OvmfError`] for what is
//! refused.

mod error;
mod metadata;
mod table;

pub use error::OvmfError;
pub use metadata::{MAX_SECTION_MEMORY_BYTES, MAX_SECTIONS, Section, SectionKind};

use crate::page::PAGE_BYTES;
use table::Table;

/// Most bytes of an image: what QEMU maps below 4 GiB is 8 MiB by default, and 16 at most.
pub const MAX_OVMF_BYTES: usize = 16 * 1024 * 1024;

/// The image ends where 32-bit addresses do.
const END_GPA: u64 = 1 << 32;

/// Where the firmware reads the hashes of kernel, initrd and command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashTable {
    /// Guest physical address.
    pub base: u32,
    /// Room there, in bytes.
    pub size: u32,
}

/// An image that was read whole and found free of contradictions.
#[derive(Debug, Clone)]
pub struct Firmware<'a> {
    bytes: &'a [u8],
    gpa: u64,
    ap_reset_vector: u32,
    hash_table: Option<HashTable>,
    sections: Vec<Section>,
}

impl<'a> Firmware<'a> {
    /// Reads an image.
    ///
    /// # Errors
    /// [`OvmfError`] names what is not as OVMF builds it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, OvmfError> {
        let length = bytes.len();
        if length > MAX_OVMF_BYTES {
            return Err(OvmfError::TooLarge { got: length });
        }
        if length == 0 || !length.is_multiple_of(PAGE_BYTES) {
            return Err(OvmfError::NotPages { got: length });
        }
        let size = u64::try_from(length).map_err(|_| OvmfError::TooLarge { got: length })?;
        let gpa = END_GPA - size;
        let table = Table::read(bytes)?;
        let offset = table.sev_metadata.ok_or(OvmfError::NoMetadata)?;
        let sections = metadata::read(bytes, u32::from_le_bytes(*offset), gpa)?;
        let ap_reset_vector = table.reset_block.map(|address| u32::from_le_bytes(*address));
        Ok(Self {
            bytes,
            gpa,
            ap_reset_vector: match ap_reset_vector {
                None => return Err(OvmfError::NoResetBlock),
                Some(0) => return Err(OvmfError::ResetVector),
                Some(address) => address,
            },
            hash_table: table
                .hash_table
                .map(|[b0, b1, b2, b3, s0, s1, s2, s3]| HashTable {
                    base: u32::from_le_bytes([*b0, *b1, *b2, *b3]),
                    size: u32::from_le_bytes([*s0, *s1, *s2, *s3]),
                }),
            sections,
        })
    }

    /// The image.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Guest physical address of its first byte.
    #[must_use]
    pub const fn gpa(&self) -> u64 {
        self.gpa
    }

    /// Where every vCPU but the first starts.
    #[must_use]
    pub const fn ap_reset_vector(&self) -> u32 {
        self.ap_reset_vector
    }

    /// Where it reads kernel hashes, if its table says so.
    #[must_use]
    pub const fn hash_table(&self) -> Option<HashTable> {
        self.hash_table
    }

    /// What is added to the guest's memory besides the image, in that order.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }
}
