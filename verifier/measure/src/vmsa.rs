//! The state in which QEMU with KVM starts a vCPU, as the page that is measured
//! \[AMD64 APM volume 2, table B-4\]. Everything that isn't put is zero.

use crate::page::Page;
use crate::vcpu::{GuestFeatures, VcpuSignature};

/// Where the boot processor starts: the architecture's reset vector.
const BOOT_RESET_VECTOR: u32 = 0xffff_fff0;

/// SVME; KVM sets it for every SEV guest.
const EFER: u64 = 0x1000;
/// MCE; KVM sets it.
const CR4: u64 = 0x40;
/// ET.
const CR0: u64 = 0x10;
const DR7: u64 = 0x400;
const DR6: u64 = 0xffff_0ff0;
/// The bit that is always one.
const RFLAGS: u64 = 0x2;
/// PAT after reset.
const G_PAT: u64 = 0x0007_0406_0007_0406;
/// x87.
const XCR0: u64 = 0x1;
const MXCSR: u32 = 0x1f80;
const X87_FCW: u16 = 0x037f;

/// One segment register: selector, attributes, limit, base.
fn segment(selector: u16, attributes: u16, base: u32) -> [u8; 16] {
    let [s0, s1] = selector.to_le_bytes();
    let [a0, a1] = attributes.to_le_bytes();
    let [b0, b1, b2, b3] = base.to_le_bytes();
    // Every limit is 0xffff after reset.
    [s0, s1, a0, a1, 0xff, 0xff, 0, 0, b0, b1, b2, b3, 0, 0, 0, 0]
}

/// SHA-384 of the boot processor's page.
pub(crate) fn boot_processor(signature: VcpuSignature, features: GuestFeatures) -> [u8; 48] {
    page(BOOT_RESET_VECTOR, signature, features).digest()
}

/// SHA-384 of every other processor's page; they start where the firmware says.
pub(crate) fn application_processor(
    reset_vector: u32,
    signature: VcpuSignature,
    features: GuestFeatures,
) -> [u8; 48] {
    page(reset_vector, signature, features).digest()
}

fn page(reset_vector: u32, signature: VcpuSignature, features: GuestFeatures) -> Page {
    let data = segment(0, 0x93, 0);
    let mut page = Page::zero();
    page.put::<0x000, 16>(data); // ES
    page.put::<0x010, 16>(segment(0xf000, 0x9b, reset_vector & 0xffff_0000)); // CS
    page.put::<0x020, 16>(data); // SS
    page.put::<0x030, 16>(data); // DS
    page.put::<0x040, 16>(data); // FS
    page.put::<0x050, 16>(data); // GS
    page.put::<0x060, 16>(segment(0, 0, 0)); // GDTR
    page.put::<0x070, 16>(segment(0, 0x82, 0)); // LDTR
    page.put::<0x080, 16>(segment(0, 0, 0)); // IDTR
    page.put::<0x090, 16>(segment(0, 0x8b, 0)); // TR
    page.put::<0x0d0, 8>(EFER.to_le_bytes());
    page.put::<0x148, 8>(CR4.to_le_bytes());
    page.put::<0x158, 8>(CR0.to_le_bytes());
    page.put::<0x160, 8>(DR7.to_le_bytes());
    page.put::<0x168, 8>(DR6.to_le_bytes());
    page.put::<0x170, 8>(RFLAGS.to_le_bytes());
    page.put::<0x178, 8>(u64::from(reset_vector & 0xffff).to_le_bytes()); // RIP
    page.put::<0x268, 8>(G_PAT.to_le_bytes());
    page.put::<0x310, 8>(u64::from(signature.value()).to_le_bytes()); // RDX
    page.put::<0x3b0, 8>(features.value().to_le_bytes()); // SEV_FEATURES
    page.put::<0x3e8, 8>(XCR0.to_le_bytes());
    page.put::<0x408, 4>(MXCSR.to_le_bytes());
    page.put::<0x410, 2>(X87_FCW.to_le_bytes());
    page
}
