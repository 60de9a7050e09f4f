//! Why an image isn't measured. Each has a stable code that names the rule.

use super::MAX_OVMF_BYTES;
use super::metadata::{MAX_SECTION_MEMORY_BYTES, MAX_SECTIONS};

/// What of an OVMF image is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OvmfError {
    /// Too long.
    #[error("the OVMF image has {got} bytes, expected at most {MAX_OVMF_BYTES}")]
    TooLarge {
        /// Bytes that came.
        got: usize,
    },
    /// Not whole pages.
    #[error("the OVMF image has {got} bytes, expected a multiple of 4096; is it cut off?")]
    NotPages {
        /// Bytes that came.
        got: usize,
    },
    /// No footer where one has to be.
    #[error(
        "no OVMF table ends 32 bytes before the end of the image: expected an image with code (OVMF.fd), not its \
         variables (OVMF_VARS.fd) or another firmware"
    )]
    NoTable,
    /// The table is said to be longer than the image, or shorter than its footer.
    #[error("the OVMF table's length is {got}: expected 18 or more, and within the image")]
    TableLength {
        /// What the footer says.
        got: u16,
    },
    /// An entry is said to be longer than what is left of the table, or shorter than its header.
    #[error("an entry of the OVMF table has length {got}: expected 18 to {room}")]
    EntryLength {
        /// What the entry says.
        got: u16,
        /// Bytes that are left.
        room: usize,
    },
    /// Bytes in front of the first entry.
    #[error("{got} bytes of the OVMF table belong to no entry")]
    TableRemainder {
        /// How many.
        got: usize,
    },
    /// A known entry's data has another size.
    #[error("the OVMF table's {name} entry has {got} bytes of data, expected {expected}")]
    EntrySize {
        /// The entry.
        name: &'static str,
        /// Bytes it has by its definition.
        expected: usize,
        /// Bytes that came.
        got: usize,
    },
    /// A known entry stands there twice.
    #[error("the OVMF table has two {name} entries, and tools differ in which they follow")]
    Duplicate {
        /// The entry.
        name: &'static str,
    },
    /// An SVSM in place of OVMF.
    #[error(
        "the image is a secure VM service module (SVSM_INFO in its table): not verified against a report of such a \
         guest; expected OVMF"
    )]
    Svsm,
    /// No SEV metadata.
    #[error(
        "the OVMF table has no SEV_METADATA entry, so this build can't start an SEV-SNP guest: expected edk2-stable202205 \
         or later, OvmfPkg/AmdSev/AmdSevX64.dsc or OvmfPkgX64.dsc"
    )]
    NoMetadata,
    /// No reset block.
    #[error("the OVMF table has no SEV_ES_RESET_BLOCK entry, so it can't be told where vCPUs start")]
    NoResetBlock,
    /// vCPUs would start nowhere.
    #[error("the OVMF table's SEV_ES_RESET_BLOCK says address 0, so it can't be told where vCPUs start")]
    ResetVector,
    /// The metadata is said to be outside the image.
    #[error("SEV metadata {got} bytes before the end of the OVMF image is not within it")]
    MetadataOffset {
        /// Distance from the end.
        got: u32,
    },
    /// Something else is there.
    #[error("SEV metadata of the OVMF image doesn't begin with `ASEV`")]
    MetadataSignature,
    /// Another version.
    #[error("SEV metadata of the OVMF image has version {got}, expected 1")]
    MetadataVersion {
        /// What it says.
        got: u32,
    },
    /// Its length isn't that of its sections, or it is cut off.
    #[error("SEV metadata of the OVMF image has length {got}, expected {expected}, and within the image")]
    MetadataLength {
        /// What it says.
        got: u32,
        /// What its number of sections makes.
        expected: usize,
    },
    /// None, or too many.
    #[error("SEV metadata of the OVMF image lists {got} sections, expected 1 to {MAX_SECTIONS}")]
    Sections {
        /// What it says.
        got: u32,
    },
    /// A type that isn't known, so neither is what would be measured.
    #[error("SEV metadata of the OVMF image has a section of type {got:#x}, expected 1, 2, 3, 4 or 0x10")]
    SectionType {
        /// What came.
        got: u32,
    },
    /// Not whole pages, or more than the one page that its kind has.
    #[error(
        "section {name} at {gpa:#x} has {size:#x} bytes: expected whole pages at a page, and just one for SNP_SECRETS, \
         CPUID and SNP_KERNEL_HASHES"
    )]
    SectionPages {
        /// Its kind.
        name: &'static str,
        /// Guest physical address.
        gpa: u32,
        /// Bytes.
        size: u32,
    },
    /// It ends behind where the image begins.
    #[error(
        "section {name} at {gpa:#x} has {size:#x} bytes: expected to end at or before {image:#x}, where the OVMF image begins"
    )]
    SectionRange {
        /// Its kind.
        name: &'static str,
        /// Guest physical address.
        gpa: u32,
        /// Bytes.
        size: u32,
        /// Where the image begins.
        image: u64,
    },
    /// A page would be added twice, which the security processor refuses.
    #[error("the sections at {first:#x} and {second:#x} overlap")]
    SectionOverlap {
        /// Guest physical address of one.
        first: u32,
        /// Guest physical address of the other.
        second: u32,
    },
    /// A page that a guest has one of.
    #[error("SEV metadata of the OVMF image lists two {name} sections, expected one at most")]
    SectionTwice {
        /// Their kind.
        name: &'static str,
    },
    /// More memory than is worth hashing.
    #[error("the sections of the OVMF image have {got} bytes, expected at most {MAX_SECTION_MEMORY_BYTES}")]
    SectionMemory {
        /// Bytes of all sections.
        got: u64,
    },
}

impl OvmfError {
    /// Stable dotted code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "measure.ovmf.too_large",
            Self::NotPages { .. } => "measure.ovmf.not_pages",
            Self::NoTable => "measure.ovmf.no_table",
            Self::TableLength { .. } => "measure.ovmf.table_length",
            Self::EntryLength { .. } => "measure.ovmf.entry_length",
            Self::TableRemainder { .. } => "measure.ovmf.table_remainder",
            Self::EntrySize { .. } => "measure.ovmf.entry_size",
            Self::Duplicate { .. } => "measure.ovmf.duplicate",
            Self::Svsm => "measure.ovmf.svsm",
            Self::NoMetadata => "measure.ovmf.no_metadata",
            Self::NoResetBlock => "measure.ovmf.no_reset_block",
            Self::ResetVector => "measure.ovmf.reset_vector",
            Self::MetadataOffset { .. } => "measure.ovmf.metadata_offset",
            Self::MetadataSignature => "measure.ovmf.metadata_signature",
            Self::MetadataVersion { .. } => "measure.ovmf.metadata_version",
            Self::MetadataLength { .. } => "measure.ovmf.metadata_length",
            Self::Sections { .. } => "measure.ovmf.sections",
            Self::SectionType { .. } => "measure.ovmf.section_type",
            Self::SectionPages { .. } => "measure.ovmf.section_pages",
            Self::SectionRange { .. } => "measure.ovmf.section_range",
            Self::SectionOverlap { .. } => "measure.ovmf.section_overlap",
            Self::SectionTwice { .. } => "measure.ovmf.section_twice",
            Self::SectionMemory { .. } => "measure.ovmf.section_memory",
        }
    }
}
