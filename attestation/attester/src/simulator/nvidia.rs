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
mod options;
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

pub use options::{Encoding, GpuFaults, GpuOptions};

use super::unavailable;
use device::{Device, Pdi, Place, fwid};
use measurement::{Firmware, NVDEC0};
use ocsp::Responder;
use rim::ManifestSigner;
use roots::Authority;

/// NVSwitches of a machine with protected PCIe, beside its eight GPUs.
const SWITCHES: u8 = 4;
/// Measurements that a switch counts, of its 31.
const COUNTS_OF_A_SWITCH: usize = 27;

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
