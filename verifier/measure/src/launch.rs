//! From firmware and kernel hashes to launch digests, in QEMU's order: the
//! firmware's pages, its metadata's sections as they are listed, then one VMSA
//! for each vCPU. What lies between sections isn't measured.

use core::iter::FusedIterator;

use bastide_attestation::{LaunchMeasurement, sha384};

use crate::kernel::{KernelError, KernelHashes};
use crate::ovmf::{Firmware, SectionKind};
use crate::page::{Chain, PAGE_BYTES, PAGE_SIZE, PageType, VMSA_GPA};
use crate::vcpu::{GuestFeatures, VcpuSignature};
use crate::vmsa;

/// Most vCPUs of a guest: what QEMU's x86 machines have at most.
pub const MAX_VCPUS: u32 = 4096;

/// Everything that is measured before the first vCPU: the same for all shapes.
#[derive(Debug, Clone)]
pub struct Launch {
    chain: Chain,
    ap_reset_vector: u32,
}

impl Firmware<'_> {
    /// Measures the firmware and, if a kernel is started directly, its hashes.
    ///
    /// # Errors
    /// [`KernelError`] if this firmware can't hold a kernel to its hashes.
    pub fn launch(&self, kernel: Option<&KernelHashes>) -> Result<Launch, KernelError> {
        // Before the firmware is hashed: whoever can't be answered shouldn't wait.
        let hashes = kernel.map(|kernel| self.kernel_page(kernel)).transpose()?;
        let mut chain = self.chain();
        for section in self.sections() {
            let gpa = u64::from(section.gpa);
            match (section.kind, &hashes) {
                (SectionKind::Secrets, _) => chain.add_unmeasured(PageType::Secrets, gpa),
                (SectionKind::Cpuid, _) => chain.add_unmeasured(PageType::Cpuid, gpa),
                (SectionKind::KernelHashes, Some(hashes)) => chain.add(PageType::Normal, gpa, hashes),
                (SectionKind::KernelHashes | SectionKind::Memory | SectionKind::SvsmCallingArea, _) => {
                    let pages = u64::from(section.size) / PAGE_SIZE;
                    (0..pages).for_each(|page| chain.add_unmeasured(PageType::Zero, gpa + page * PAGE_SIZE));
                }
            }
        }
        Ok(Launch {
            chain,
            ap_reset_vector: self.ap_reset_vector(),
        })
    }

    /// The launch digest after the firmware's own pages alone, by which it can
    /// be recognised; other tools call it the OVMF hash. No guest has it as its
    /// measurement.
    #[must_use]
    pub fn digest(&self) -> LaunchMeasurement {
        self.chain().measurement()
    }

    fn chain(&self) -> Chain {
        let mut chain = Chain::new();
        let (pages, _) = self.bytes().as_chunks::<PAGE_BYTES>();
        for (page, gpa) in pages.iter().zip((self.gpa()..).step_by(PAGE_BYTES)) {
            chain.add(PageType::Normal, gpa, &sha384(&[page]));
        }
        chain
    }

    fn kernel_page(&self, kernel: &KernelHashes) -> Result<[u8; 48], KernelError> {
        let section = self
            .sections()
            .iter()
            .find(|section| section.kind == SectionKind::KernelHashes)
            .ok_or(KernelError::NoSection)?;
        let table = self.hash_table().ok_or(KernelError::NoHashTable)?;
        kernel.page(section.gpa, table).map(|page| page.digest())
    }
}

impl Launch {
    /// The digests for 1, 2, 3… vCPUs of one kind, up to [`MAX_VCPUS`]; each
    /// costs one more hash of 112 bytes.
    #[must_use]
    pub fn digests(&self, signature: VcpuSignature, features: GuestFeatures) -> Digests {
        Digests {
            chain: self.chain,
            vcpus: 0,
            boot: vmsa::boot_processor(signature, features),
            application: vmsa::application_processor(self.ap_reset_vector, signature, features),
        }
    }

    /// The digest for one number of vCPUs; `None` for zero, and for more than [`MAX_VCPUS`].
    #[must_use]
    pub fn digest(
        &self,
        vcpus: u32,
        signature: VcpuSignature,
        features: GuestFeatures,
    ) -> Option<LaunchMeasurement> {
        self.digests(signature, features)
            .find(|(count, _)| *count == vcpus)
            .map(|(_, measurement)| measurement)
    }
}

/// Digests for one vCPU and more; see [`Launch::digests`].
#[derive(Debug, Clone)]
pub struct Digests {
    chain: Chain,
    vcpus: u32,
    boot: [u8; 48],
    application: [u8; 48],
}

impl Iterator for Digests {
    /// Number of vCPUs, and the digest with that many.
    type Item = (u32, LaunchMeasurement);

    fn next(&mut self) -> Option<Self::Item> {
        if self.vcpus == MAX_VCPUS {
            return None;
        }
        let state = if self.vcpus == 0 {
            &self.boot
        } else {
            &self.application
        };
        self.chain.add(PageType::Vmsa, VMSA_GPA, state);
        self.vcpus += 1;
        Some((self.vcpus, self.chain.measurement()))
    }
}

impl FusedIterator for Digests {}
