//! Kernel, initrd and command line, as QEMU puts their hashes into a page that
//! is measured, where OVMF compares them with what it is about to start.

use bastide_attestation::sha256;

use crate::guid::{Guid, guid};
use crate::ovmf::HashTable;
use crate::page::{PAGE_SIZE, Page};

/// Most bytes of a command line. Linux reads 2048.
pub const MAX_CMDLINE_BYTES: usize = 64 * 1024;

const HEADER: Guid = guid(
    0x9438_d606,
    0x4f22,
    0x4cc9,
    [0xb4, 0x79, 0xa7, 0x93, 0xd4, 0x11, 0xfd, 0x21],
);
const KERNEL: Guid = guid(
    0x4de7_9437,
    0xabd2,
    0x427f,
    [0xb8, 0x35, 0xd5, 0xb1, 0x72, 0xd2, 0x04, 0x5b],
);
const INITRD: Guid = guid(
    0x44ba_f731,
    0x3a2f,
    0x4bd7,
    [0x9a, 0xf1, 0x41, 0xe2, 0x91, 0x69, 0x78, 0x1d],
);
const CMDLINE: Guid = guid(
    0x97d0_2dd8,
    0xbd20,
    0x4c94,
    [0xaa, 0x78, 0xe7, 0x71, 0x4d, 0x36, 0xab, 0x2a],
);

/// GUID, length and SHA-256.
const ENTRY_BYTES: u16 = 16 + 2 + 32;
/// GUID and length, then three entries.
const TABLE_BYTES: u16 = 16 + 2 + 3 * ENTRY_BYTES;
/// QEMU rounds the table up to sixteen bytes.
const PADDED_BYTES: u16 = TABLE_BYTES.next_multiple_of(16);

/// Why a kernel can't be measured with a firmware.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The firmware has no page for the hashes.
    #[error(
        "a kernel was given, but the OVMF image has no SNP_KERNEL_HASHES section, so it would start any kernel: \
         expected OVMF built from OvmfPkg/AmdSev/AmdSevX64.dsc, not OvmfPkgX64.dsc"
    )]
    NoSection,
    /// The firmware reads its hashes elsewhere than they are put.
    #[error(
        "a kernel was given, but the OVMF image's hash table at {base:#x}, {size} bytes, is not {PADDED_BYTES} bytes or more \
         within its SNP_KERNEL_HASHES section at {section:#x}"
    )]
    HashTable {
        /// Where the table of hashes begins.
        base: u32,
        /// Its room, in bytes.
        size: u32,
        /// Where the section begins.
        section: u32,
    },
    /// The firmware doesn't say where it reads hashes.
    #[error("a kernel was given, but the OVMF image's table has no SEV_HASH_TABLE entry")]
    NoHashTable,
    /// The command line ends early.
    #[error("the kernel command line has a NUL at byte {at}; it ends the line that the kernel sees")]
    CmdlineNul {
        /// Where, from 0.
        at: usize,
    },
    /// The command line is too long.
    #[error("the kernel command line has {got} bytes, expected at most {MAX_CMDLINE_BYTES}")]
    CmdlineLength {
        /// Bytes that came.
        got: usize,
    },
}

impl KernelError {
    /// Stable dotted code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoSection => "measure.kernel.no_section",
            Self::HashTable { .. } | Self::NoHashTable => "measure.kernel.hash_table",
            Self::CmdlineNul { .. } | Self::CmdlineLength { .. } => "measure.kernel.cmdline",
        }
    }
}

/// SHA-256 of kernel, initrd and command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelHashes {
    kernel: [u8; 32],
    initrd: [u8; 32],
    cmdline: [u8; 32],
}

impl KernelHashes {
    /// Takes the SHA-256 of the files' bytes. Without an initrd QEMU hashes an
    /// empty one; the command line is hashed with a NUL behind it, and exactly
    /// as it is given, spaces at its ends included.
    ///
    /// # Errors
    /// [`KernelError`] if the command line has a NUL in it, or is too long.
    pub fn new(kernel: [u8; 32], initrd: Option<[u8; 32]>, cmdline: &[u8]) -> Result<Self, KernelError> {
        if cmdline.len() > MAX_CMDLINE_BYTES {
            return Err(KernelError::CmdlineLength { got: cmdline.len() });
        }
        if let Some(at) = cmdline.iter().position(|byte| *byte == 0) {
            return Err(KernelError::CmdlineNul { at });
        }
        Ok(Self {
            kernel,
            initrd: initrd.unwrap_or_else(|| sha256(&[])),
            cmdline: sha256(&[cmdline, &[0]]),
        })
    }

    /// SHA-256 of the kernel.
    #[must_use]
    pub const fn kernel(&self) -> &[u8; 32] {
        &self.kernel
    }

    /// SHA-256 of the initrd, or of nothing.
    #[must_use]
    pub const fn initrd(&self) -> &[u8; 32] {
        &self.initrd
    }

    /// SHA-256 of the command line and a NUL.
    #[must_use]
    pub const fn cmdline(&self) -> &[u8; 32] {
        &self.cmdline
    }

    /// The page at `section` as QEMU fills it.
    pub(crate) fn page(&self, section: u32, table: HashTable) -> Result<Page, KernelError> {
        let wrong = KernelError::HashTable {
            base: table.base,
            size: table.size,
            section,
        };
        let offset = u64::from(table.base).checked_sub(u64::from(section));
        let offset = offset.filter(|offset| {
            table.size >= u32::from(PADDED_BYTES) && offset + u64::from(PADDED_BYTES) <= PAGE_SIZE
        });
        let Some(offset) = offset.and_then(|offset| usize::try_from(offset).ok()) else {
            return Err(wrong);
        };
        let mut page = Page::zero();
        if page.try_put(offset, &self.table()) {
            Ok(page)
        } else {
            Err(wrong)
        }
    }

    fn table(&self) -> Vec<u8> {
        let mut table = Vec::with_capacity(PADDED_BYTES.into());
        table.extend_from_slice(&HEADER);
        table.extend_from_slice(&TABLE_BYTES.to_le_bytes());
        // In QEMU's order, which OVMF doesn't need but the digest does.
        for (guid, hash) in [
            (CMDLINE, self.cmdline),
            (INITRD, self.initrd),
            (KERNEL, self.kernel),
        ] {
            table.extend_from_slice(&guid);
            table.extend_from_slice(&ENTRY_BYTES.to_le_bytes());
            table.extend_from_slice(&hash);
        }
        table.resize(PADDED_BYTES.into(), 0);
        table
    }
}

#[cfg(test)]
mod tests {
    use super::{KernelHashes, MAX_CMDLINE_BYTES};

    #[test]
    fn a_command_line_with_a_nul_or_without_end_is_refused() {
        let with = |cmdline: &[u8]| KernelHashes::new([1; 32], None, cmdline);
        assert!(with(&[b'a'; MAX_CMDLINE_BYTES]).is_ok());
        for cmdline in [b"quiet\0init=/bin/sh".as_slice(), &[b'a'; MAX_CMDLINE_BYTES + 1]] {
            assert_eq!(with(cmdline).unwrap_err().code(), "measure.kernel.cmdline");
        }
    }

    #[test]
    fn spaces_at_the_ends_of_a_command_line_count() {
        let with = |cmdline: &[u8]| KernelHashes::new([1; 32], None, cmdline).unwrap();
        assert_ne!(with(b"quiet"), with(b"quiet "));
        assert_ne!(with(b"quiet"), with(b" quiet"));
    }
}
