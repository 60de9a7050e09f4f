//! SEV metadata: which pages are added to the guest besides the image \[edk2,
//! OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm\].

use super::error::OvmfError;
use crate::page::PAGE_SIZE;

/// Most sections of an image; edk2's have seven.
pub const MAX_SECTIONS: usize = 64;
/// Most bytes of all sections together; edk2's have 128 KiB.
pub const MAX_SECTION_MEMORY_BYTES: u64 = 64 * 1024 * 1024;

const SIGNATURE: [u8; 4] = *b"ASEV";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;
const SECTION_BYTES: usize = 12;

/// What a section is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionKind {
    /// SNP_SEC_MEM, 1: memory that the firmware uses before it can accept any itself.
    Memory,
    /// SNP_SECRETS, 2.
    Secrets,
    /// CPUID, 3.
    Cpuid,
    /// SVSM_CAA, 4: where a secure VM service module would be called through; zero under QEMU.
    SvsmCallingArea,
    /// SNP_KERNEL_HASHES, 0x10.
    KernelHashes,
}

impl SectionKind {
    const fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Memory),
            2 => Some(Self::Secrets),
            3 => Some(Self::Cpuid),
            4 => Some(Self::SvsmCallingArea),
            0x10 => Some(Self::KernelHashes),
            _ => None,
        }
    }

    /// edk2's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "SNP_SEC_MEM",
            Self::Secrets => "SNP_SECRETS",
            Self::Cpuid => "CPUID",
            Self::SvsmCallingArea => "SVSM_CAA",
            Self::KernelHashes => "SNP_KERNEL_HASHES",
        }
    }

    /// Whether it is one page, of which a guest has one.
    const fn is_single(self) -> bool {
        matches!(self, Self::Secrets | Self::Cpuid | Self::KernelHashes)
    }
}

/// Pages that are added to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Guest physical address, at a page.
    pub gpa: u32,
    /// Bytes, whole pages.
    pub size: u32,
    /// What for.
    pub kind: SectionKind,
}

impl Section {
    fn end(&self) -> u64 {
        u64::from(self.gpa) + u64::from(self.size)
    }
}

/// Reads the sections of an image that is mapped at `image_gpa`; `offset` is the
/// distance of the metadata from the image's end.
pub(super) fn read(image: &[u8], offset: u32, image_gpa: u64) -> Result<Vec<Section>, OvmfError> {
    let outside = OvmfError::MetadataOffset { got: offset };
    let start = usize::try_from(offset)
        .ok()
        .and_then(|offset| image.len().checked_sub(offset));
    let Some(metadata) = start.and_then(|start| image.get(start..)) else {
        return Err(outside);
    };
    let Some((header, _)) = metadata.split_first_chunk::<HEADER_BYTES>() else {
        return Err(outside);
    };
    let [s0, s1, s2, s3, l0, l1, l2, l3, v0, v1, v2, v3, n0, n1, n2, n3] = *header;
    if [s0, s1, s2, s3] != SIGNATURE {
        return Err(OvmfError::MetadataSignature);
    }
    let version = u32::from_le_bytes([v0, v1, v2, v3]);
    if version != VERSION {
        return Err(OvmfError::MetadataVersion { got: version });
    }
    let count = u32::from_le_bytes([n0, n1, n2, n3]);
    let number = usize::try_from(count).unwrap_or(usize::MAX);
    if number == 0 || number > MAX_SECTIONS {
        return Err(OvmfError::Sections { got: count });
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    // Not too large for `usize`: the number was bounded above.
    let expected = HEADER_BYTES + number * SECTION_BYTES;
    let wrong = OvmfError::MetadataLength {
        got: length,
        expected,
    };
    if usize::try_from(length) != Ok(expected) {
        return Err(wrong);
    }
    let Some(listed) = metadata.get(HEADER_BYTES..expected) else {
        return Err(wrong);
    };
    let (listed, _) = listed.as_chunks::<SECTION_BYTES>();
    let sections = listed.iter().map(|bytes| section(*bytes, image_gpa));
    let sections = sections.collect::<Result<Vec<_>, _>>()?;
    whole(&sections)?;
    Ok(sections)
}

fn section(bytes: [u8; SECTION_BYTES], image_gpa: u64) -> Result<Section, OvmfError> {
    let [g0, g1, g2, g3, s0, s1, s2, s3, t0, t1, t2, t3] = bytes;
    let number = u32::from_le_bytes([t0, t1, t2, t3]);
    let kind = SectionKind::of(number).ok_or(OvmfError::SectionType { got: number })?;
    let section = Section {
        gpa: u32::from_le_bytes([g0, g1, g2, g3]),
        size: u32::from_le_bytes([s0, s1, s2, s3]),
        kind,
    };
    let (gpa, size) = (u64::from(section.gpa), u64::from(section.size));
    let fits = if kind.is_single() {
        size == PAGE_SIZE
    } else {
        size > 0 && size.is_multiple_of(PAGE_SIZE)
    };
    if !fits || !gpa.is_multiple_of(PAGE_SIZE) {
        return Err(OvmfError::SectionPages {
            name: kind.name(),
            gpa: section.gpa,
            size: section.size,
        });
    }
    if section.end() > image_gpa {
        return Err(OvmfError::SectionRange {
            name: kind.name(),
            gpa: section.gpa,
            size: section.size,
            image: image_gpa,
        });
    }
    Ok(section)
}

/// What must hold between sections.
fn whole(sections: &[Section]) -> Result<(), OvmfError> {
    let size: u64 = sections.iter().map(|section| u64::from(section.size)).sum();
    if size > MAX_SECTION_MEMORY_BYTES {
        return Err(OvmfError::SectionMemory { got: size });
    }
    for (at, section) in sections.iter().enumerate() {
        for other in sections.iter().skip(at + 1) {
            if section.kind.is_single() && section.kind == other.kind {
                return Err(OvmfError::SectionTwice {
                    name: section.kind.name(),
                });
            }
            if u64::from(section.gpa) < other.end() && u64::from(other.gpa) < section.end() {
                return Err(OvmfError::SectionOverlap {
                    first: section.gpa,
                    second: other.gpa,
                });
            }
        }
    }
    Ok(())
}
