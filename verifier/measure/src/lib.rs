//! SEV-SNP launch digests, computed from what a guest is launched with: bytes
//! in, digest out. So that whoever pins a measurement has computed it, and
//! hasn't copied it from a report.
//!
//! ```text
//! OVMF ──Firmware::parse──▶ Firmware ──launch(kernel hashes)──▶ Launch ──digests(vCPU, features)──▶ digest for 1, 2, 3… vCPUs
//! ```
//!
//! The firmware's pages are hashed once for every shape, and each vCPU adds one
//! link to the chain, so that 64 vCPU counts cost what the largest of them does.
//!
//! Invariants of this crate:
//! - no I/O, no clock, no random numbers: kernel and initrd come as SHA-256
//!   digests, and signing is a closure of the caller's;
//! - nothing here panics on any input, and every size that a file states is
//!   checked and bounded before it is used;
//! - what other tools tolerate in a firmware image (a table met twice, a size
//!   that is not what its content says, sections one over another) is refused
//!   here: a digest of an ambiguous image is not worth pinning;
//! - only launches by QEMU with KVM are computed; see [`Vmm`].
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::panic,
        clippy::unreachable,
        clippy::as_conversions
    )
)]

mod guid;
mod id_block;
mod kernel;
mod launch;
mod ovmf;
mod page;
mod vcpu;
mod vmm;
mod vmsa;

pub use id_block::{
    DEFAULT_GUEST_POLICY, ID_AUTH_BYTES, ID_BLOCK_BYTES, IdBlock, IdBlockError, IdPublicKey,
    PUBLIC_KEY_BYTES, Sign, Signer, id_authentication,
};
pub use kernel::{KernelError, KernelHashes, MAX_CMDLINE_BYTES};
pub use launch::{Digests, Launch, MAX_VCPUS};
pub use ovmf::{
    Firmware, HashTable, MAX_OVMF_BYTES, MAX_SECTION_MEMORY_BYTES, MAX_SECTIONS, OvmfError, Section,
    SectionKind,
};
pub use vcpu::{GuestFeatures, VcpuError, VcpuSignature, VcpuType};
pub use vmm::{Vmm, VmmError};
