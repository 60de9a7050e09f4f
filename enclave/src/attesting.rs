//! Where evidence comes from, as the operator chose it. A build without the
//! `simulator` feature has no simulator to open.

use std::sync::Arc;

use bastide_attestation::Attester;
use bastide_attester::device::{self, DeviceOptions, EndorsementFiles, Source};

use crate::args::{AttesterChoice, ServeArgs};
use crate::error::StartError;

/// Opens the chosen attester.
///
/// # Errors
/// [`StartError`] if there is no such device, or no simulator in this build.
pub fn open(args: &ServeArgs) -> Result<Arc<dyn Attester>, StartError> {
    let source = match args.attester {
        AttesterChoice::Auto => Source::Auto,
        AttesterChoice::SevGuest => Source::SevGuest,
        AttesterChoice::ConfigfsTsm => Source::ConfigfsTsm,
        AttesterChoice::Simulator => return simulator(args),
    };
    if args.simulated_generation.is_some() {
        return Err(StartError::Usage {
            what: "--simulated-generation says what to simulate: it needs --attester simulator",
        });
    }
    let endorsements = args.vek.as_ref().map(|vek| EndorsementFiles {
        vek: vek.clone(),
        chain: args.chain.clone(),
        crl: args.crl.clone(),
    });
    let options = DeviceOptions {
        endorsements,
        ..DeviceOptions::default()
    };
    device::open(source, &options)
        .map(Arc::from)
        .map_err(StartError::Attester)
}

#[cfg(feature = "simulator")]
fn simulator(args: &ServeArgs) -> Result<Arc<dyn Attester>, StartError> {
    use bastide_attester::simulator::{Generation, Simulator, SimulatorOptions};

    use crate::args::SimulatedGeneration;
    use crate::clock;

    if args.vek.is_some() {
        return Err(StartError::Usage {
            what: "--vek, --chain and --crl are for hardware: the simulator makes its own",
        });
    }
    let generation = match args.simulated_generation {
        Some(SimulatedGeneration::Turin) => Generation::Turin,
        Some(SimulatedGeneration::Genoa) | None => Generation::Genoa,
    };
    let simulator = Simulator::new(SimulatorOptions::new(generation, clock::now()));
    Ok(Arc::new(simulator.map_err(StartError::Attester)?))
}

#[cfg(not(feature = "simulator"))]
const fn simulator(_: &ServeArgs) -> Result<Arc<dyn Attester>, StartError> {
    Err(StartError::NoSimulator)
}
