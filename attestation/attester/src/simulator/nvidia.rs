//! Simulated NVIDIA GPUs of the Hopper family, and the NVSwitches between them:
//! reports, certificates, reference manifests and answers about revocation in
//! NVIDIA's real formats, under roots of its own. The private keys of these
//! roots are public in this repository, so that nothing signed by them says
//! anything about any device; a policy accepts them only by naming them.
//!
//! As with the simulated processor, no verifier could see a short cut: what a
//! device measures is what its manifests want, and everything is signed. Only
//! names tell: the organisation in every certificate is `Bastide simulation`.

mod canonical;
mod certificate;
mod device;
mod measurement;
mod ocsp;
mod opaque;
mod report;
mod rim;
pub mod roots;
mod signer;

use core::fmt;

use aws_lc_rs::error::Unspecified;
use bastide_attestation::nvidia::{
    BLOCKS_OF_A_GPU, BLOCKS_OF_A_SWITCH, DeviceEvidence, DeviceKind, GpuEndorsements, GpuEvidence, Mode,
};
use bastide_attestation::{AttesterError, GpuNonce, UnixTime};

use super::unavailable;
use device::{Device, Pdi, Place, fwid};
use measurement::{Firmware, NVDEC0, PLACES};
use ocsp::Responder;
use rim::ManifestSigner;
use roots::Authority;

/// Most GPUs of one machine.
const MAX_GPUS: usize = 8;
/// NVSwitches of a machine with protected PCIe, beside its eight GPUs.
const SWITCHES: u8 = 4;
/// Measurements that a switch counts, of its 31.
const COUNTS_OF_A_SWITCH: usize = 27;
/// Most characters of a driver's version.
const MAX_VERSION: usize = 32;

/// Encoding of GPUs' opaque data. Switches have the legacy one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// Type, length, value: drivers before 620.
    #[default]
    Legacy,
    /// NVDAOD 2.0.0.
    Nvdaod,
}

/// What is wrong with the evidence, on purpose; by default nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GpuFaults {
    /// The first GPU measures something else at this index, counted from 0 as
    /// manifests do.
    pub wrong_measurement: Option<u8>,
    /// NVDEC0 is off in every GPU, and its measurement (35) another than the
    /// manifest's. Real GPUs are sold so: no reason to refuse.
    pub nvdec_disabled: bool,
    /// The certificate of the manifests' signer expired the day before.
    pub expired_rim_signer: bool,
    /// This certificate of the first GPU's chain, 1 to 3, is revoked. 1 is the
    /// GPU's own; the others are shared.
    pub revoked: Option<usize>,
    /// The first GPU reports once more, in the place of the last. Needs two.
    pub duplicate_device: bool,
}

/// Which GPUs to simulate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuOptions {
    /// How many GPUs: 1 to 8, with protected PCIe 8.
    pub count: usize,
    /// [`Mode::Spt`], or [`Mode::Ppcie`], which adds four NVSwitches.
    pub mode: Mode,
    /// Encoding of opaque data.
    pub encoding: Encoding,
    /// Version of the driver. From 580 on, reports state the mode twice.
    pub driver: String,
    /// Version of the VBIOS: five pairs of upper-case hexadecimal digits.
    pub vbios: String,
    /// Version of the switches' BIOS, likewise.
    pub switch_bios: String,
    /// Which machine: the same number gives the same devices, with new keys.
    pub machine: u8,
    /// Present time: the signer of manifests has been valid for 30 days.
    pub now: UnixTime,
    /// What is wrong.
    pub faults: GpuFaults,
}

impl GpuOptions {
    /// One GPU, alone in its machine, with nothing wrong.
    #[must_use]
    pub fn new(now: UnixTime) -> Self {
        Self {
            count: 1,
            mode: Mode::Spt,
            encoding: Encoding::Legacy,
            driver: "580.159.03".to_owned(),
            vbios: "96.00.9F.00.01".to_owned(),
            switch_bios: "96.10.6D.00.01".to_owned(),
            machine: 0,
            now,
            faults: GpuFaults::default(),
        }
    }

    /// Eight GPUs and four NVSwitches with protected PCIe.
    #[must_use]
    pub fn protected_pcie(now: UnixTime) -> Self {
        Self {
            count: MAX_GPUS,
            mode: Mode::Ppcie,
            ..Self::new(now)
        }
    }

    /// PROJECT, PROJECT_SKU and CHIP_SKU of real boards of the kind.
    const fn board(&self) -> (&'static str, &'static str, &'static str) {
        match self.mode {
            Mode::Ppcie => ("G520", "0280", "895"),
            _ => ("1010", "0200", "882"),
        }
    }

    fn require(&self) -> Result<(), AttesterError> {
        match self.mode {
            Mode::Spt if (1..=MAX_GPUS).contains(&self.count) => {}
            Mode::Ppcie if self.count == MAX_GPUS => {}
            Mode::Spt => return Err(unavailable("1 to 8 GPUs can be simulated")),
            Mode::Ppcie => return Err(unavailable("a machine with protected PCIe has 8 GPUs")),
            Mode::Mpt => {
                return Err(unavailable(
                    "GPUs of the Hopper family have no MPT mode to simulate",
                ));
            }
        }
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !(1..=MAX_VERSION).contains(&self.driver.len()) || !self.driver.bytes().all(word) {
            return Err(unavailable(
                "a driver's version has 1 to 32 letters, digits, `.`, `_` and `-`",
            ));
        }
        if !is_bios_version(&self.vbios) || !is_bios_version(&self.switch_bios) {
            return Err(unavailable("a BIOS version is one as `96.00.9F.00.01`"));
        }
        if self.faults.revoked.is_some_and(|index| !(1..=3).contains(&index)) {
            return Err(unavailable("certificates 1 to 3 of a GPU's chain can be revoked"));
        }
        if self.faults.wrong_measurement.is_some_and(|index| index >= PLACES) {
            return Err(unavailable("a GPU has measurements 0 to 63"));
        }
        if self.faults.duplicate_device && self.count < 2 {
            return Err(unavailable("a duplicate device needs two GPUs"));
        }
        Ok(())
    }
}

fn is_bios_version(version: &str) -> bool {
    let bytes = version.bytes().enumerate();
    version.len() == 14
        && bytes.into_iter().all(|(at, byte)| match at % 3 {
            2 => byte == b'.',
            _ => matches!(byte, b'0'..=b'9' | b'A'..=b'F'),
        })
}

/// The GPUs and NVSwitches of one simulated machine, from boot to shutdown.
pub struct SimulatedGpus {
    options: GpuOptions,
    gpus: Vec<Device>,
    switches: Vec<Device>,
    responders: Vec<Responder>,
    rims: Vec<Vec<u8>>,
}

impl fmt::Debug for SimulatedGpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedGpus")
            .field("gpus", &self.gpus.len())
            .field("switches", &self.switches.len())
            .finish_non_exhaustive()
    }
}

impl SimulatedGpus {
    /// Boots the devices: draws their keys and certifies them, and signs the
    /// manifests of what they run.
    ///
    /// # Errors
    /// [`AttesterError::Unavailable`] if the options say what cannot be, or
    /// random numbers or a signature fail.
    pub fn new(options: GpuOptions) -> Result<Self, AttesterError> {
        options.require()?;
        Self::boot(options).map_err(|Unspecified| unavailable("the simulator could not make its GPUs' keys"))
    }

    fn boot(options: GpuOptions) -> Result<Self, Unspecified> {
        let devices = |kind, indices: core::ops::Range<u8>| {
            let machine = options.machine;
            let place = |index| Place { kind, machine, index };
            indices
                .map(|index| Device::new(place(index)))
                .collect::<Result<Vec<_>, _>>()
        };
        let count = u8::try_from(options.count).map_err(|_| Unspecified)?;
        let gpus = devices(DeviceKind::Gpu, 0..count)?;
        let has_switches = options.mode == Mode::Ppcie;
        let switches = devices(DeviceKind::NvSwitch, 0..if has_switches { SWITCHES } else { 0 })?;

        let signer = ManifestSigner::new(options.now, options.faults.expired_rim_signer)?;
        let mut rims = vec![
            signer.sign(Firmware::Driver, &options.driver)?,
            signer.sign(Firmware::Vbios, &options.vbios)?,
        ];
        if has_switches {
            rims.push(signer.sign(Firmware::SwitchBios, &options.switch_bios)?);
        }
        let responders = Authority::ALL
            .into_iter()
            .filter(|authority| has_switches || *authority != Authority::ProvisionerSwitch)
            .map(Responder::new)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            options,
            gpus,
            switches,
            responders,
            rims,
        })
    }

    /// One report of every device over this nonce, with its chain: the GPUs in
    /// their order, then the switches.
    ///
    /// # Errors
    /// [`AttesterError::Transient`] if random numbers or a signature fail.
    pub fn evidence(&self, nonce: &GpuNonce) -> Result<GpuEvidence, AttesterError> {
        let transient = |reason: &str| AttesterError::Transient {
            reason: reason.to_owned(),
        };
        let devices = self
            .reports(nonce)
            .map_err(|Unspecified| transient("a simulated GPU could not sign"))?;
        GpuEvidence::new(devices).map_err(|error| transient(&error.to_string()))
    }

    fn reports(&self, nonce: &GpuNonce) -> Result<Vec<DeviceEvidence>, Unspecified> {
        let pdis = |devices: &[Device]| -> Vec<Pdi> { devices.iter().map(|one| one.place.pdi()).collect() };
        let (gpu_pdis, switch_pdis) = (pdis(&self.gpus), pdis(&self.switches));
        let mut evidence = Vec::new();
        for gpu in self.reporting_gpus() {
            let measurements = self.gpu_measurements(gpu.place);
            let counts: Vec<u32> = measurements.iter().map(was_taken).collect();
            let opaque = opaque::gpu(&self.options, &fwid(DeviceKind::Gpu), &counts, &switch_pdis);
            evidence.push(device_evidence(gpu, nonce, &measurements, &opaque)?);
        }
        for switch in &self.switches {
            let bios = &self.options.switch_bios;
            let measurements: Vec<_> = (0..BLOCKS_OF_A_SWITCH)
                .map(|index| Firmware::SwitchBios.digest(bios, index))
                .collect();
            let counts: Vec<u32> = measurements
                .iter()
                .take(COUNTS_OF_A_SWITCH)
                .map(was_taken)
                .collect();
            let Place { index, .. } = switch.place;
            let opaque = opaque::switch(bios, switch.place.pdi(), &counts, &gpu_pdis, index);
            evidence.push(device_evidence(switch, nonce, &measurements, &opaque)?);
        }
        Ok(evidence)
    }

    /// Every GPU in its order; with a duplicate, the first in the last one's place.
    fn reporting_gpus(&self) -> impl Iterator<Item = &Device> {
        let duplicates = usize::from(self.options.faults.duplicate_device);
        let own = self.gpus.len().saturating_sub(duplicates);
        self.gpus
            .iter()
            .take(own)
            .chain(self.gpus.iter().take(duplicates))
    }

    fn gpu_measurements(&self, place: Place) -> Vec<[u8; 48]> {
        let GpuOptions {
            driver,
            vbios,
            faults,
            ..
        } = &self.options;
        let wrong = faults.wrong_measurement.filter(|_| place.index == 0);
        (0..BLOCKS_OF_A_GPU)
            .map(|index| {
                let mut digest = match Firmware::Driver.covers(index) {
                    true => Firmware::Driver.digest(driver, index),
                    false => Firmware::Vbios.digest(vbios, index),
                };
                let other = wrong == Some(index) || faults.nvdec_disabled && index == NVDEC0;
                if other {
                    digest.iter_mut().for_each(|byte| *byte ^= 0xff);
                }
                digest
            })
            .collect()
    }

    /// What to staple to the evidence: the manifests, and an answer about every
    /// certificate that can be revoked, a minute old and good for a day.
    ///
    /// # Errors
    /// [`AttesterError::Transient`] if a signature fails.
    pub fn endorsements(&self, now: UnixTime) -> Result<GpuEndorsements, AttesterError> {
        let ocsp = self
            .answers(now)
            .map_err(|Unspecified| AttesterError::Transient {
                reason: "a simulated OCSP responder could not sign".to_owned(),
            })?;
        Ok(GpuEndorsements {
            rims: self.rims.clone(),
            ocsp,
            crls: Vec::new(),
        })
    }

    fn answers(&self, now: UnixTime) -> Result<Vec<Vec<u8>>, Unspecified> {
        let revoked = self.options.faults.revoked;
        let mut answers = Vec::new();
        for responder in &self.responders {
            let issuer = responder.authority();
            let devices = match issuer {
                Authority::ProvisionerGpu => self.gpus.as_slice(),
                Authority::ProvisionerSwitch => &self.switches,
                _ => &[],
            };
            for device in devices {
                let of_first_gpu = device.place.kind == DeviceKind::Gpu && device.place.index == 0;
                let revoked = of_first_gpu && revoked == Some(1);
                answers.push(responder.answer(&device.boot_rom_serial, revoked, now)?);
            }
            if issuer == Authority::RimL3 {
                answers.push(responder.answer(ManifestSigner::SERIAL, false, now)?);
            }
            // Roots are pinned; all others that are in use have responders.
            let subjects = self.responders.iter().map(Responder::authority);
            for subject in subjects.filter(|subject| subject.issuer() == issuer && *subject != issuer) {
                let revoked = match subject {
                    Authority::ProvisionerGpu => revoked == Some(2),
                    Authority::Identity => revoked == Some(3),
                    _ => false,
                };
                answers.push(responder.answer(&subject.serial(), revoked, now)?);
            }
        }
        Ok(answers)
    }
}

/// How often a measurement was taken.
fn was_taken(digest: &[u8; 48]) -> u32 {
    u32::from(*digest != [0; 48])
}

fn device_evidence(
    device: &Device,
    nonce: &GpuNonce,
    measurements: &[[u8; 48]],
    opaque: &[u8],
) -> Result<DeviceEvidence, Unspecified> {
    Ok(DeviceEvidence {
        report: report::signed(nonce, measurements, opaque, &device.leaf)?,
        chain: device.chain.clone(),
    })
}

#[cfg(test)]
mod tests;
