//! One simulated device: its identity, its two keys, and the five certificates
//! from its leaf to the root.

use aws_lc_rs::error::Unspecified;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bastide_attestation::nvidia::DeviceKind;
use bastide_attestation::{sha384, sha512};

use super::certificate::{FOR_EVER, Purpose, issue, named_in_device};
use super::roots::Authority;
use super::signer::Signer;

const DEVICE_LABEL: &[u8] = b"bastide-simulated-nvidia-device-v1\0";
const FWID_LABEL: &[u8] = b"bastide-simulated-nvidia-fwid-v1\0";

/// Identity of a device on NVLink, as it writes it itself.
pub(super) type Pdi = [u8; 8];

/// Which device of which machine: the same gives the same identity.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) kind: DeviceKind,
    pub(super) machine: u8,
    pub(super) index: u8,
}

impl Place {
    /// Bytes that look like any, and are this device's alone.
    fn bytes<const N: usize>(self, what: u8) -> [u8; N] {
        let kind = u8::from(self.kind == DeviceKind::NvSwitch);
        let digest = sha512(&[DEVICE_LABEL, &[kind, self.machine, self.index, what]]);
        digest.first_chunk().copied().unwrap_or([0; N])
    }

    pub(super) fn pdi(self) -> Pdi {
        self.bytes(0)
    }

    /// A byte that tells the kind, and the PDI, as in all real chains.
    fn boot_rom_serial(self) -> Vec<u8> {
        let kind = match self.kind {
            DeviceKind::Gpu => 0x41,
            DeviceKind::NvSwitch => 0x50,
        };
        [&[kind], self.pdi().as_slice()].concat()
    }

    /// Of 20 bytes, of which the first is neither zero nor a sign.
    fn leaf_serial(self) -> [u8; 20] {
        let mut serial: [u8; 20] = self.bytes(1);
        let [first, ..] = &mut serial;
        *first = *first & 0x3f | 0x40;
        serial
    }
}

/// Digest of the firmware that made the attestation key; all devices of a kind
/// run the same.
pub(super) fn fwid(kind: DeviceKind) -> [u8; 48] {
    sha384(&[FWID_LABEL, kind.to_string().as_bytes()])
}

/// A device with its keys.
pub(super) struct Device {
    pub(super) place: Place,
    /// Signs its reports.
    pub(super) leaf: Signer,
    /// Serial number of its boot ROM's certificate.
    pub(super) boot_rom_serial: Vec<u8>,
    /// Five certificates in PEM, leaf first.
    pub(super) chain: Vec<u8>,
}

impl Device {
    /// A device with new keys.
    pub(super) fn new(place: Place) -> Result<Self, Unspecified> {
        let (provisioner, stem, product) = match place.kind {
            DeviceKind::Gpu => (Authority::ProvisionerGpu, "GH100 A01 GSP", "GH100"),
            DeviceKind::NvSwitch => (Authority::ProvisionerSwitch, "LS_10 A01 FSP", "LS_10"),
        };
        let (boot_rom_serial, leaf_serial) = (place.boot_rom_serial(), place.leaf_serial());
        let boot_rom = Signer::generate(named_in_device(&format!("{stem} BROM"), &boot_rom_serial))?;
        let leaf = Signer::generate(named_in_device(&format!("{stem} FMC LF"), &leaf_serial))?;
        let serial_number = u64::from_be_bytes(place.bytes(2));
        let attestation = Purpose::Attestation {
            device: &boot_rom.spki,
            fwid: &fwid(place.kind),
            device_info: &format!("NVIDIA:{product}:{serial_number:016X}"),
        };
        let certificates = [
            &issue(&boot_rom, &leaf, &leaf_serial, FOR_EVER, &attestation)?,
            &issue(
                &provisioner.signer()?,
                &boot_rom,
                &boot_rom_serial,
                FOR_EVER,
                &Purpose::BootRom,
            )?,
            provisioner.certificate(),
            Authority::Identity.certificate(),
            Authority::DeviceRoot.certificate(),
        ];
        Ok(Self {
            place,
            leaf,
            boot_rom_serial,
            chain: certificates.map(pem).concat().into_bytes(),
        })
    }
}

/// One certificate in PEM \[RFC 7468\].
fn pem(der: &[u8]) -> String {
    let lines = base64_lines(der);
    format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n")
}

/// Base64 in lines of 64 digits, each with its line feed \[RFC 7468 §2\]; in
/// NVIDIA's manifests certificates are written so, too.
pub(super) fn base64_lines(der: &[u8]) -> String {
    let mut text = String::new();
    for (at, digit) in BASE64_STANDARD.encode(der).chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            text.push('\n');
        }
        text.push(digit);
    }
    text.push('\n');
    text
}
