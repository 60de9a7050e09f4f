//! The authorities of the simulation of NVIDIA's devices: keys that are public
//! on purpose (`keys/README.md`) and the certificates made from them.
//!
//! ```text
//! DeviceRoot ── Identity ─┬─ ProvisionerGpu ─── boot ROM of a GPU ──── leaf
//!                         └─ ProvisionerSwitch ─ boot ROM of a switch ─ leaf
//! RimRoot ── RimCa ── RimL3 ── signer of reference manifests
//! ```

use aws_lc_rs::error::Unspecified;
use bastide_attestation::{AttesterError, SpkiDigest};

use super::certificate::{FOR_EVER, Purpose, issue, named};
use super::signer::Signer;
use crate::simulator::certificate::Validity;

/// One authority, shared by all simulated machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// Stands for the root of NVIDIA's devices, whose name it has.
    DeviceRoot,
    /// Authority of GPUs of the family GH100 and of their switches.
    Identity,
    /// Issues to GPUs' boot ROMs.
    ProvisionerGpu,
    /// Issues to NVSwitches' boot ROMs.
    ProvisionerSwitch,
    /// Stands for the root of reference manifests.
    RimRoot,
    /// Authority of reference manifests.
    RimCa,
    /// Issues to the signers of reference manifests.
    RimL3,
}

/// SHA-256 of the SubjectPublicKeyInfo of each authority, in the order of
/// [`Authority::ALL`]. What trusts one of these trusts everybody.
pub const SPKI_DIGESTS: [SpkiDigest; 7] = [
    SpkiDigest::new([
        0x87, 0x71, 0x3a, 0x07, 0x27, 0x51, 0x4f, 0xa0, 0xb4, 0xd1, 0x60, 0x1c, 0xef, 0xde, 0x28, 0x4a, 0x08,
        0x89, 0x59, 0xb0, 0x87, 0x56, 0x23, 0x9a, 0xc2, 0x76, 0x85, 0x00, 0x86, 0x29, 0x6f, 0xb3,
    ]),
    SpkiDigest::new([
        0x8c, 0xb8, 0x11, 0xed, 0xde, 0xdc, 0x2a, 0x99, 0xac, 0xd7, 0x35, 0x29, 0x52, 0xcd, 0x10, 0x4b, 0x34,
        0x4a, 0x28, 0x77, 0x57, 0xeb, 0x51, 0x1d, 0x00, 0xce, 0x79, 0xce, 0x45, 0x59, 0xfe, 0xcc,
    ]),
    SpkiDigest::new([
        0x97, 0x40, 0xe0, 0x79, 0xea, 0xf5, 0xf1, 0xd9, 0x8d, 0xa6, 0xac, 0xd5, 0x7a, 0x06, 0x94, 0x1d, 0xd1,
        0x98, 0xeb, 0xdb, 0x03, 0x3e, 0x01, 0xf3, 0xd1, 0xee, 0x71, 0x35, 0x74, 0x0f, 0x0c, 0xab,
    ]),
    SpkiDigest::new([
        0xe7, 0x60, 0x1c, 0x67, 0x70, 0x95, 0xa2, 0xe3, 0x92, 0xdd, 0xbe, 0xb0, 0xdd, 0xd1, 0x14, 0xeb, 0x4e,
        0x68, 0x33, 0xdc, 0xad, 0xe3, 0xa7, 0xf4, 0x75, 0xd3, 0x7d, 0xce, 0x2b, 0xdc, 0x02, 0x2a,
    ]),
    SpkiDigest::new([
        0x27, 0x9b, 0x4a, 0x64, 0x70, 0xa7, 0x87, 0x06, 0x6d, 0x05, 0x80, 0x71, 0x08, 0x98, 0x75, 0xb1, 0x66,
        0x18, 0xb0, 0xe7, 0xda, 0xa0, 0xa1, 0xd0, 0x25, 0xc5, 0x56, 0x14, 0xb1, 0x15, 0x70, 0x0b,
    ]),
    SpkiDigest::new([
        0xcd, 0xcd, 0x88, 0x06, 0x73, 0xab, 0x6d, 0x49, 0x64, 0xd5, 0xba, 0x93, 0x65, 0x6b, 0x6c, 0xa1, 0xf8,
        0x29, 0x5a, 0x5c, 0x5b, 0x36, 0xd0, 0x6a, 0x0c, 0x54, 0x97, 0x2b, 0x44, 0x5b, 0x3f, 0x87,
    ]),
    SpkiDigest::new([
        0xe8, 0x7f, 0xf9, 0x9e, 0x88, 0x4e, 0xe6, 0xd1, 0xe0, 0x07, 0xf7, 0xc3, 0x9a, 0xbd, 0xb6, 0x71, 0x9f,
        0xcf, 0xa6, 0xfa, 0x8e, 0x0e, 0x57, 0xd4, 0x73, 0x39, 0x83, 0x86, 0xec, 0xb8, 0x05, 0x1f,
    ]),
];

/// What is committed of an authority.
struct Committed {
    file_stem: &'static str,
    common_name: &'static str,
    serial: u32,
    key: &'static [u8],
    certificate: &'static [u8],
}

macro_rules! committed {
    ($file_stem:literal, $common_name:literal, $serial:literal) => {
        Committed {
            file_stem: $file_stem,
            common_name: $common_name,
            serial: $serial,
            key: include_bytes!(concat!("../keys/", $file_stem, ".pk8.der")),
            certificate: include_bytes!(concat!("../keys/", $file_stem, ".der")),
        }
    };
}

impl Authority {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::DeviceRoot,
        Self::Identity,
        Self::ProvisionerGpu,
        Self::ProvisionerSwitch,
        Self::RimRoot,
        Self::RimCa,
        Self::RimL3,
    ];

    /// Names are those that NVIDIA's patterns demand.
    const fn committed(self) -> Committed {
        match self {
            Self::DeviceRoot => committed!("nvidia-device-root", "NVIDIA Device Identity CA", 0x4_0000),
            Self::Identity => committed!("nvidia-identity", "NVIDIA GH100 Identity", 0x4_0001),
            Self::ProvisionerGpu => committed!(
                "nvidia-provisioner-gh100",
                "NVIDIA GH100 Provisioner ICA 1",
                0x4_0002
            ),
            Self::ProvisionerSwitch => committed!(
                "nvidia-provisioner-ls10",
                "NVIDIA LS_10 Provisioner ICA 1",
                0x4_0003
            ),
            Self::RimRoot => committed!("nvidia-rim-root", "Bastide simulation of a RIM root CA", 0x5_0000),
            Self::RimCa => committed!("nvidia-rim-ca", "NVIDIA Reference Value Simulation CA", 0x5_0001),
            Self::RimL3 => committed!(
                "nvidia-rim-l3",
                "NVIDIA Reference Value L3 Simulation 001",
                0x5_0002
            ),
        }
    }

    /// Who issued it; a root itself.
    pub(super) const fn issuer(self) -> Self {
        match self {
            Self::DeviceRoot | Self::Identity => Self::DeviceRoot,
            Self::ProvisionerGpu | Self::ProvisionerSwitch => Self::Identity,
            Self::RimRoot | Self::RimCa => Self::RimRoot,
            Self::RimL3 => Self::RimCa,
        }
    }

    /// The name of its files in `keys`, without `.der`.
    #[must_use]
    pub const fn file_stem(self) -> &'static str {
        self.committed().file_stem
    }

    /// Its certificate as committed, which every simulator hands out.
    #[must_use]
    pub const fn certificate(self) -> &'static [u8] {
        self.committed().certificate
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    #[must_use]
    pub const fn spki_digest(self) -> SpkiDigest {
        let [device_root, identity, gpu, switch, rim_root, rim_ca, rim_l3] = SPKI_DIGESTS;
        match self {
            Self::DeviceRoot => device_root,
            Self::Identity => identity,
            Self::ProvisionerGpu => gpu,
            Self::ProvisionerSwitch => switch,
            Self::RimRoot => rim_root,
            Self::RimCa => rim_ca,
            Self::RimL3 => rim_l3,
        }
    }

    /// Serial number of its certificate.
    pub(super) const fn serial(self) -> [u8; 4] {
        self.committed().serial.to_be_bytes()
    }

    /// With its key, which everybody knows.
    pub(super) fn signer(self) -> Result<Signer, Unspecified> {
        let committed = self.committed();
        Signer::load(named(committed.common_name), committed.key)
    }

    fn certify(self) -> Result<Vec<u8>, Unspecified> {
        let validity = match self {
            Self::DeviceRoot | Self::Identity | Self::ProvisionerGpu | Self::ProvisionerSwitch => FOR_EVER,
            Self::RimRoot | Self::RimCa | Self::RimL3 => Validity::AUTHORITY,
        };
        let path_length = (self == Self::RimL3).then_some(0);
        issue(
            &self.issuer().signer()?,
            &self.signer()?,
            &self.serial(),
            validity,
            &Purpose::Authority { path_length },
        )
    }
}

/// Builds an authority's certificate anew from the committed keys. All but the
/// signature, which is randomised, equals the committed file.
///
/// # Errors
/// [`AttesterError::Unavailable`] if a key can't be read or a signature fails.
pub fn mint(authority: Authority) -> Result<Vec<u8>, AttesterError> {
    authority
        .certify()
        .map_err(|Unspecified| AttesterError::Unavailable {
            reason: "the simulation roots' keys can't be used".to_owned(),
        })
}
