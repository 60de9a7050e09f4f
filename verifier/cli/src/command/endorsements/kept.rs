//! What a directory has for one report, for commands that open no connection.

use std::path::Path;

use bastide_attestation::nvidia::{GpuEndorsements, GpuEvidence};
use bastide_attestation::snp::{SnpReport, VekId};
use bastide_endorsements::{Name, Store, nvidia};

use super::unusable;
use crate::console::Console;
use crate::escape;
use crate::fault::Fault;

/// What a directory has for a report, DER.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The VCEK.
    pub(crate) vek: Option<Vec<u8>>,
    /// ASK or ASVK, and ARK; may be empty.
    pub(crate) chain: Vec<Vec<u8>>,
    /// The root's revocation list.
    pub(crate) crl: Option<Vec<u8>>,
}

/// Looks up what goes with a report. Of what is missing or damaged there is a
/// note; the verifier decides what it needs, and whether this is a report.
///
/// # Errors
/// [`Fault`] of usage if there is no such directory.
pub(crate) fn kept_for(report: &[u8], folder: &Path, console: &Console) -> Result<Kept, Fault> {
    let store = Store::open(folder).map_err(|error| unusable(&error))?;
    let mut kept = Kept::default();
    let Ok(report) = SnpReport::parse(report) else {
        return Ok(kept);
    };
    let id = match VekId::of(&report) {
        Ok(id) => id,
        Err(error) => {
            console.note(&escape::line(&format!("nothing was looked up: {error}")));
            return Ok(kept);
        }
    };
    for name in Name::all_for(&id) {
        let found = match store.get(&name) {
            Ok(Some(found)) => found.into_objects(),
            Ok(None) => {
                console.note(&escape::line(&format!(
                    "`{}` has no {}; `bastide endorsements sync` gets it",
                    folder.display(),
                    name.describe()
                )));
                continue;
            }
            Err(error) => {
                console.warn(&escape::line(&error.to_string()));
                continue;
            }
        };
        match name {
            Name::Vcek(_) => kept.vek = found.into_iter().next(),
            Name::Chain(..) => kept.chain = found,
            Name::Crl(..) => kept.crl = found.into_iter().next(),
        }
    }
    Ok(kept)
}

/// Looks up what goes with a machine's GPUs; likewise. What was given by hand
/// comes first.
///
/// # Errors
/// [`Fault`] of usage if there is no such directory.
pub(crate) fn kept_for_gpus(
    evidence: &GpuEvidence,
    given: GpuEndorsements,
    folder: &Path,
    console: &Console,
) -> Result<GpuEndorsements, Fault> {
    let store = Store::open(folder).map_err(|error| unusable(&error))?;
    let kept = match nvidia::kept(&store, evidence) {
        Ok(kept) => kept,
        Err(error) => {
            console.note(&escape::line(&format!("nothing was looked up: {error}")));
            return Ok(given);
        }
    };
    for absent in &kept.absent {
        match &absent.damaged {
            Some(error) => console.warn(&escape::line(&error.to_string())),
            None => console.note(&escape::line(&format!(
                "`{}` has no {}; `bastide endorsements sync` gets it",
                folder.display(),
                absent.name.describe()
            ))),
        }
    }
    let mut endorsements = given;
    for (given, kept) in [
        (&mut endorsements.rims, kept.endorsements.rims),
        (&mut endorsements.ocsp, kept.endorsements.ocsp),
        (&mut endorsements.crls, kept.endorsements.crls),
    ] {
        given.extend(
            kept.into_iter()
                .filter(|item| !given.contains(item))
                .collect::<Vec<_>>(),
        );
    }
    Ok(endorsements)
}
