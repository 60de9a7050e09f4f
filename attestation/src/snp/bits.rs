//! The bit fields of a report: guest POLICY, PLATFORM_INFO and KEY_INFO.

/// Guest POLICY \[SNP ABI 56860, guest policy\]: what the guest's owner demanded at launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestPolicy(u64);

impl GuestPolicy {
    const KNOWN: u64 = 0x03ff_ffff;

    /// The bits that say something by themselves: number and name. Bits 15:0
    /// are a version, bit 17 is reserved.
    pub const BITS: [(u32, &'static str); 9] = [
        (16, "smt"),
        (18, "migrate_ma"),
        (19, "debug"),
        (20, "single_socket"),
        (21, "cxl"),
        (22, "mem_aes_256_xts"),
        (23, "rapl_dis"),
        (24, "ciphertext_hiding"),
        (25, "page_swap_disable"),
    ];

    /// Takes the 64 bits as they are.
    #[must_use]
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// The raw bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    const fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }

    /// Bit 17, which the ABI requires to be one.
    #[must_use]
    pub const fn reserved_one(self) -> bool {
        self.bit(17)
    }

    /// Bits that the ABI doesn't define, which must be zero.
    #[must_use]
    pub const fn undefined(self) -> u64 {
        self.0 & !Self::KNOWN
    }

    /// A migration agent may be associated.
    #[must_use]
    pub const fn migrate_ma(self) -> bool {
        self.bit(18)
    }

    /// The host may debug the guest: nothing in it is confidential.
    #[must_use]
    pub const fn debug(self) -> bool {
        self.bit(19)
    }

    /// CXL memory may hold the guest.
    #[must_use]
    pub const fn cxl_allow(self) -> bool {
        self.bit(21)
    }
}

/// PLATFORM_INFO \[SNP ABI 56860\]: what the host is set to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlatformInfo(u64);

impl PlatformInfo {
    const KNOWN: u64 = 0xff;

    /// The bits that are defined: number and name.
    pub const BITS: [(u32, &'static str); 8] = [
        (0, "smt"),
        (1, "tsme"),
        (2, "ecc"),
        (3, "rapl_dis"),
        (4, "ciphertext_hiding"),
        (5, "alias_check_complete"),
        (6, "iommu_write_safe"),
        (7, "tio"),
    ];

    /// Takes the 64 bits as they are.
    #[must_use]
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// The raw bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Bits that the ABI doesn't define.
    #[must_use]
    pub const fn undefined(self) -> u64 {
        self.0 & !Self::KNOWN
    }

    /// ALIAS_CHECK_COMPLETE: memory was checked for aliases since the last reset (BadRAM).
    #[must_use]
    pub const fn alias_check_complete(self) -> bool {
        self.0 >> 5 & 1 == 1
    }
}

/// Which kind of key signed a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKey {
    /// Versioned chip endorsement key.
    Vcek,
    /// Versioned loaded endorsement key of a cloud provider.
    Vlek,
}

/// KEY_INFO \[SNP ABI 56860, 0x048\].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyInfo(u32);

impl KeyInfo {
    /// Takes the 32 bits as they are.
    #[must_use]
    pub const fn new(bits: u32) -> Self {
        Self(bits)
    }

    /// The raw bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// AUTHOR_KEY_EN: the digest of an author key is in the report.
    #[must_use]
    pub const fn author_key(self) -> bool {
        self.0 & 1 == 1
    }

    /// MASK_CHIP_KEY: firmware wrote zeros instead of a signature.
    #[must_use]
    pub const fn mask_chip_key(self) -> bool {
        self.0 >> 1 & 1 == 1
    }

    /// SIGNING_KEY; `None` for no key, a chip-secret key or a reserved value.
    #[must_use]
    pub const fn signing_key(self) -> Option<SigningKey> {
        match self.0 >> 2 & 0b111 {
            0 => Some(SigningKey::Vcek),
            1 => Some(SigningKey::Vlek),
            _ => None,
        }
    }

    /// Bits 31:5, which must be zero.
    #[must_use]
    pub const fn undefined(self) -> u32 {
        self.0 >> 5
    }
}

#[cfg(test)]
mod tests {
    use super::{GuestPolicy, KeyInfo, PlatformInfo, SigningKey};

    #[test]
    fn observed_values_read_as_published() {
        let aws = GuestPolicy::new(0x0203_0000);
        assert!(aws.reserved_one() && !aws.debug() && aws.undefined() == 0);
        assert!(GuestPolicy::new(0xb_0000).debug());
        assert_eq!(GuestPolicy::new(1 << 26).undefined(), 1 << 26);
        assert!(PlatformInfo::new(0x65).alias_check_complete());
        assert_eq!(PlatformInfo::new(0x165).undefined(), 0x100);
        assert_eq!(KeyInfo::new(0b100).signing_key(), Some(SigningKey::Vlek));
        assert_eq!(KeyInfo::new(0b1_1100).signing_key(), None);
        assert!(KeyInfo::new(0b10).mask_chip_key());
    }
}
