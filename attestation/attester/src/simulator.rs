//! A simulated SEV-SNP guest: reports, certificates and signatures in AMD's
//! real formats, under roots of its own. The private keys of these roots are
//! public in this repository, so that nothing signed by them says anything
//! about any machine; a policy accepts them only by naming them.
//!
//! It takes no short cuts that a verifier could see: there is no flag in the
//! report, and no branch anywhere asks whether evidence is simulated.

mod asn1;
mod azure;
mod certificate;
mod chip;
pub mod nvidia;
mod report;
mod revocation;
pub mod roots;
mod stalls;

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use bastide_attestation::snp::{GuestPolicy, TcbVersion};
use bastide_attestation::{
    Attestation, Attester, AttesterError, Endorsements, LaunchMeasurement, PlatformEvidence, ReportId,
    StatementBytes, UnixTime,
};

pub use azure::AzureSimulator;
pub use chip::{Generation, UnknownGeneration};
pub use stalls::Stalling;

use certificate::Validity;
use report::ReportTemplate;
use roots::Roots;

/// What the simulator reports as MEASUREMENT unless told otherwise: SHA-384 of
/// the text `bastide-simulated-launch-measurement-v1`. No machine can have it.
pub const SIMULATED_MEASUREMENT: LaunchMeasurement = LaunchMeasurement::new([
    0x2e, 0x15, 0xd0, 0xc9, 0xe1, 0xac, 0x6a, 0x61, 0xb5, 0x67, 0x2f, 0xc0, 0xb5, 0x4c, 0x72, 0xac, 0x98,
    0x14, 0x8c, 0x96, 0x71, 0xa4, 0x55, 0xd6, 0xbc, 0xd9, 0x21, 0xbc, 0xfa, 0x4e, 0x60, 0x5a, 0x05, 0x47,
    0x72, 0xe8, 0x46, 0xb5, 0x2a, 0x3e, 0x07, 0xcf, 0xe4, 0x4d, 0x4e, 0x4a, 0x7e, 0x5d,
]);

/// What hardware takes for a report.
const HARDWARE_LATENCY: Duration = Duration::from_millis(8);
/// SMT allowed, and the bit that must be one.
const POLICY: u64 = 0x3_0000;
const POLICY_DEBUG: u64 = 1 << 19;

/// What to simulate.
#[derive(Debug, Clone, Copy)]
pub struct SimulatorOptions {
    /// Which line of processors.
    pub generation: Generation,
    /// MEASUREMENT.
    pub measurement: LaunchMeasurement,
    /// How long each report takes.
    pub latency: Duration,
    /// Present time: the VCEK is valid from the day before.
    pub now: UnixTime,
    /// Which chip: the same number gives the same CHIP_ID.
    pub chip: u8,
    /// TCB version of current, reported, committed and launch, and of the
    /// VCEK; `None` for one that meets AMD's advice of February 2026.
    pub tcb: Option<TcbVersion>,
    /// Whether POLICY allows the host to debug the guest.
    pub debug: bool,
    /// VMPL, 0 to 3.
    pub vmpl: u32,
}

impl SimulatorOptions {
    /// A good node: everything as a careful operator of real hardware has it.
    #[must_use]
    pub const fn new(generation: Generation, now: UnixTime) -> Self {
        Self {
            generation,
            measurement: SIMULATED_MEASUREMENT,
            latency: HARDWARE_LATENCY,
            now,
            chip: 0,
            tcb: None,
            debug: false,
            vmpl: 0,
        }
    }
}

/// A simulated guest from boot to shutdown: one chip, one VCEK, one REPORT_ID.
pub struct Simulator {
    template: ReportTemplate,
    key: EcdsaKeyPair,
    endorsements: Endorsements,
    latency: Duration,
    /// The security processor answers one request at a time.
    channel: Mutex<()>,
}

impl core::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Simulator(..)")
    }
}

impl Simulator {
    /// Boots a simulated guest: draws a REPORT_ID and a VCEK, and certifies it.
    ///
    /// # Errors
    /// [`AttesterError::Unavailable`] if the options contradict each other
    /// (`fmc` is Turin's alone, VMPL is 0 to 3) or random numbers or a
    /// signature fail.
    pub fn new(options: SimulatorOptions) -> Result<Self, AttesterError> {
        let tcb = options.tcb.unwrap_or_else(|| options.generation.tcb());
        if tcb.fmc.is_some() != options.generation.tcb().fmc.is_some() {
            return Err(unavailable(
                "a TCB version has `fmc` on Turin and only there; leave it out or choose another generation",
            ));
        }
        if options.vmpl > 3 {
            return Err(unavailable("a VMPL is 0, 1, 2 or 3"));
        }
        Self::boot(&options, tcb).map_err(|Unspecified| unavailable("the simulator could not make its keys"))
    }

    fn boot(options: &SimulatorOptions, tcb: TcbVersion) -> Result<Self, Unspecified> {
        let generation = options.generation;
        let roots = Roots::load(generation)?;
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)?;
        let spki = key.public_key().as_der()?;
        let vek = certificate::vcek(
            &roots.ask,
            generation,
            &tcb,
            options.chip,
            Validity::of_leaf(options.now),
            spki.as_ref(),
        )?;
        let mut report_id = [0; ReportId::LEN];
        aws_lc_rs::rand::fill(&mut report_id)?;
        let policy = if options.debug {
            POLICY | POLICY_DEBUG
        } else {
            POLICY
        };
        Ok(Self {
            template: ReportTemplate {
                generation,
                policy: GuestPolicy::new(policy),
                vmpl: options.vmpl,
                tcb,
                measurement: options.measurement,
                id_key_digest: [0; 48],
                report_id: ReportId::new(report_id),
                chip_id: generation.chip_id(options.chip),
            },
            key,
            endorsements: Endorsements {
                vek,
                chain: vec![roots.ask_certificate.to_vec(), roots.ark_certificate.to_vec()],
                crl: Some(revocation::empty_list(&roots.ark, generation, options.now)?),
            },
            latency: options.latency,
            channel: Mutex::new(()),
        })
    }
}

impl Attester for Simulator {
    fn attest(&self, statement: &StatementBytes) -> Result<Attestation, AttesterError> {
        let _turn = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        thread::sleep(self.latency);
        let report = self
            .template
            .sign(&statement.report_data(), &self.key)
            .map_err(|Unspecified| AttesterError::Transient {
                reason: "the simulated security processor could not sign".to_owned(),
            })?;
        Ok(Attestation {
            platform: PlatformEvidence::Snp(Box::new(report)),
            endorsements: self.endorsements.clone(),
        })
    }

    fn name(&self) -> &'static str {
        "simulator"
    }
}

fn unavailable(reason: &str) -> AttesterError {
    AttesterError::Unavailable {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
