//! Where evidence comes from, as the operator chose it. A build without the
//! `simulator` feature has no simulator to open.

use std::sync::Arc;

use bastide_attestation::Attester;
use bastide_attester::device::{self, DeviceOptions, EndorsementFiles, EndorsementSource, Source};
use bastide_endorsements::Store;

use crate::args::{AttesterChoice, ServeArgs};
use crate::endorsing::{Courier, Endorser};
use crate::error::StartError;
use crate::gpus::{self, Gpus};

/// An attester, and who brings it endorsements.
pub struct Opened {
    /// The attester.
    pub attester: Arc<dyn Attester>,
    /// GPUs, if the machine has some that must be attested.
    pub gpus: Option<Gpus>,
    /// Endorsements besides files and the host's table.
    pub endorser: Option<Arc<Endorser>>,
    /// Fetches for the endorser, as long as it runs.
    pub courier: Option<Courier>,
}

impl core::fmt::Debug for Opened {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Opened")
            .field("attester", &self.attester.name())
            .field("gpus", &self.gpus)
            .field("endorser", &self.endorser)
            .finish_non_exhaustive()
    }
}

/// Opens the chosen attester, and the GPUs.
///
/// # Errors
/// [`StartError`] if there is no such device, no NVML, or no simulator in this build.
pub fn open(args: &ServeArgs) -> Result<Opened, StartError> {
    let source = match args.attester {
        AttesterChoice::Auto => Source::Auto,
        AttesterChoice::SevGuest => Source::SevGuest,
        AttesterChoice::ConfigfsTsm => Source::ConfigfsTsm,
        AttesterChoice::Simulator => {
            return Ok(Opened {
                attester: simulator(args)?,
                gpus: gpus::open(args)?,
                endorser: None,
                courier: None,
            });
        }
    };
    if args.simulated_generation.is_some()
        || args.simulated_platform.is_some()
        || args.simulated_stalls.is_some()
    {
        return Err(StartError::Usage {
            what: "--simulated-generation, --simulated-platform and --simulated-stalls say what to simulate: they need --attester simulator",
        });
    }
    let endorsements = args.vek.as_ref().map(|vek| EndorsementFiles {
        vek: vek.clone(),
        chain: args.chain.clone(),
        crl: args.crl.clone(),
    });
    let (endorser, courier) = endorser(args)?;
    let options = DeviceOptions {
        endorsements,
        source: endorser
            .as_ref()
            .map(|endorser| -> Arc<dyn EndorsementSource> { Arc::<Endorser>::clone(endorser) }),
        ..DeviceOptions::default()
    };
    let attester = device::open(source, &options).map_err(StartError::Attester)?;
    Ok(Opened {
        attester: Arc::from(attester),
        gpus: gpus::open(args)?,
        endorser,
        courier,
    })
}

/// Who brings endorsements, if a directory or a server is named.
fn endorser(args: &ServeArgs) -> Result<(Option<Arc<Endorser>>, Option<Courier>), StartError> {
    let store = match (&args.endorsements, &args.kds) {
        (None, _) => None,
        (Some(folder), None) => Some(Store::open(folder)),
        (Some(folder), Some(_)) => Some(Store::create(folder)),
    };
    let store = store.transpose().map_err(StartError::Endorsements)?;
    match (&args.kds, store) {
        (None, None) => Ok((None, None)),
        (None, Some(store)) => Ok((Some(Arc::new(Endorser::offline(store))), None)),
        (Some(address), store) => {
            let (endorser, courier) = Endorser::with_kds(store, address.clone());
            Ok((Some(endorser), Some(courier)))
        }
    }
}

#[cfg(feature = "simulator")]
fn simulator(args: &ServeArgs) -> Result<Arc<dyn Attester>, StartError> {
    use bastide_attester::simulator::{AzureSimulator, Generation, Simulator, SimulatorOptions};

    use crate::args::{SimulatedGeneration, SimulatedPlatform};
    use crate::clock;

    if args.vek.is_some() || args.endorsements.is_some() || args.kds.is_some() {
        return Err(StartError::Usage {
            what: "--vek, --chain, --crl, --endorsements and --kds are for hardware: the simulator makes its own",
        });
    }
    let generation = match args.simulated_generation {
        Some(SimulatedGeneration::Turin) => Generation::Turin,
        Some(SimulatedGeneration::Genoa) | None => Generation::Genoa,
    };
    let options = SimulatorOptions::new(generation, clock::now());
    match args.simulated_platform {
        Some(SimulatedPlatform::Azure) => AzureSimulator::new(options).map(|azure| stalling(azure, args)),
        Some(SimulatedPlatform::Snp) | None => Simulator::new(options).map(|snp| stalling(snp, args)),
    }
    .map_err(StartError::Attester)
}

#[cfg(feature = "simulator")]
fn stalling<A: Attester + 'static>(attester: A, args: &ServeArgs) -> Arc<dyn Attester> {
    use bastide_attester::simulator::Stalling;

    match args.simulated_stalls {
        Some(stalls) => Arc::new(Stalling::new(attester, stalls.every, stalls.lasting)),
        None => Arc::new(attester),
    }
}

#[cfg(not(feature = "simulator"))]
const fn simulator(_: &ServeArgs) -> Result<Arc<dyn Attester>, StartError> {
    Err(StartError::NoSimulator)
}
