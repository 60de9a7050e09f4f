//! Evidence of simulated and made-up GPUs as it is sent in a session, every
//! part open to change. Holds no expectation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bastide_attestation::nvidia::{DeviceEvidence, GpuEndorsements, GpuEvidence};
use bastide_attestation::{BootId, GpuPart, UnixTime, Verdict, binding};
use bastide_attester::simulator::nvidia::{GpuOptions, SimulatedGpus};
use bastide_verifier::{Policy, RecordedGpu, RecordedGpus, RecordedNras, Verifier};

use super::gpu_pki::Made;
use super::{BOOT_ID, Made as Processor, NOW};

/// Number of the test's challenge to GPUs.
pub(crate) const GPU_EPOCH: u64 = 0;
const SEED: [u8; 32] = [0x5e; 32];

/// What a machine sends of its GPUs.
#[derive(Clone)]
pub(crate) struct Gpus {
    pub(crate) devices: Vec<DeviceEvidence>,
    pub(crate) endorsements: GpuEndorsements,
    pub(crate) seed: [u8; 32],
}

impl Gpus {
    /// One simulated GPU, with nothing wrong.
    pub(crate) fn one() -> Self {
        Self::simulated(GpuOptions::new(NOW))
    }

    /// Eight simulated GPUs and four NVSwitches.
    pub(crate) fn eight() -> Self {
        Self::simulated(GpuOptions::protected_pcie(NOW))
    }

    /// These simulated GPUs, with answers about revocation of [`NOW`].
    pub(crate) fn simulated(options: GpuOptions) -> Self {
        Self::answered(options, NOW)
    }

    /// The same, with answers of another time.
    pub(crate) fn answered(options: GpuOptions, at: UnixTime) -> Self {
        let gpus = SimulatedGpus::new(options).expect("such GPUs can be simulated");
        let nonce = binding::gpu_nonce(&BootId::new(BOOT_ID), GPU_EPOCH, &SEED);
        Self {
            devices: gpus
                .evidence(&nonce)
                .expect("simulated GPUs sign")
                .devices()
                .to_vec(),
            endorsements: gpus.endorsements(at).expect("simulated responders sign"),
            seed: SEED,
        }
    }

    /// A made-up GPU that answers the test's challenge, without endorsements.
    pub(crate) fn made(mut made: Made) -> Self {
        made.nonce = *binding::gpu_nonce(&BootId::new(BOOT_ID), GPU_EPOCH, &SEED).as_bytes();
        Self {
            devices: vec![DeviceEvidence {
                report: made.report(),
                chain: pem(&made.ders()),
            }],
            endorsements: GpuEndorsements::default(),
            seed: SEED,
        }
    }

    /// As the envelope has it.
    pub(crate) fn part(&self) -> GpuPart {
        let evidence = GpuEvidence::new(self.devices.clone()).expect("the devices are not too many");
        GpuPart {
            evidence: evidence.encode(),
            seed: self.seed,
            endorsements: self.endorsements.clone(),
        }
    }

    /// The verdict on a recorded report with these GPUs beside it, and with what
    /// NVIDIA's remote service said, at [`NOW`].
    pub(crate) fn recorded_verdict(
        &self,
        processor: &Processor,
        nras: Option<RecordedNras<'_>>,
        policy: &Policy,
    ) -> Verdict {
        let devices: Vec<_> = self
            .devices
            .iter()
            .map(|device| RecordedGpu {
                report: &device.report,
                chain: &device.chain,
            })
            .collect();
        let recorded = RecordedGpus {
            devices: &devices,
            endorsements: &self.endorsements,
            nonce: None,
            nras,
        };
        let verifier = Verifier::new(policy.clone());
        verifier.appraise_recorded_machine(&processor.recorded(), Some(&recorded), NOW)
    }

    /// A device's certificates, leaf first, DER.
    pub(crate) fn chain(&self, device: usize) -> Vec<Vec<u8>> {
        let text = core::str::from_utf8(&self.devices[device].chain).expect("PEM is text");
        text.split("-----END CERTIFICATE-----\n")
            .filter_map(|block| block.strip_prefix("-----BEGIN CERTIFICATE-----\n"))
            .map(|body| STANDARD.decode(body.replace('\n', "")).expect("PEM is base64"))
            .collect()
    }

    /// The same device with other certificates.
    pub(crate) fn set_chain(&mut self, device: usize, certificates: &[Vec<u8>]) {
        self.devices[device].chain = pem(certificates);
    }
}

fn pem(certificates: &[Vec<u8>]) -> Vec<u8> {
    let block = |der: &Vec<u8>| {
        let text = STANDARD.encode(der);
        let lines: Vec<_> = text
            .as_bytes()
            .chunks(64)
            .map(|line| core::str::from_utf8(line).expect("base64 is ASCII"))
            .collect();
        format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            lines.join("\n")
        )
    };
    certificates.iter().map(block).collect::<String>().into_bytes()
}
