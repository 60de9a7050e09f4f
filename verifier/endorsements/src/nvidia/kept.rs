//! What a directory has of what a machine's evidence needs, for whoever opens no
//! connection.

use bastide_attestation::nvidia::{GpuEndorsements, GpuEvidence};

use super::endorsement::Endorsement;
use super::name::Name;
use super::sources::{SourceError, Sources, Wanted};
use crate::item::{Item, ItemName};
use crate::store::{Store, StoreError};

/// What a directory has for a machine's evidence.
#[derive(Debug, Default)]
pub struct Kept {
    /// What there is.
    pub endorsements: GpuEndorsements,
    /// What there isn't.
    pub absent: Vec<Absent>,
}

/// What can't be had from a directory.
#[derive(Debug)]
pub struct Absent {
    /// Which endorsement.
    pub name: Name,
    /// Why it can't be used, if there is one.
    pub damaged: Option<StoreError>,
}

/// Looks up what goes with a machine's evidence: manifests, answers and lists,
/// as old as they are. What is missing or damaged is said beside; the verifier
/// decides what it needs.
///
/// # Errors
/// [`SourceError`] if it can't be said what the evidence needs.
pub fn kept(store: &Store, evidence: &GpuEvidence) -> Result<Kept, SourceError> {
    let sources = Sources::of(evidence)?;
    let mut absent = Vec::new();
    let mut look = |wanted: &Wanted| {
        let name = wanted.name();
        let damaged = match find(store, &name) {
            Ok(Some(found)) => return Some(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        absent.push(Absent { name, damaged });
        None
    };
    let rims: Vec<Endorsement> = sources.rims().filter_map(|wanted| look(&wanted)).collect();
    let others: Vec<Endorsement> = sources.others(&rims).iter().filter_map(&mut look).collect();
    Ok(Kept {
        endorsements: collect(rims.into_iter().chain(others)),
        absent,
    })
}

/// One endorsement of a directory.
pub(super) fn find(store: &Store, name: &Name) -> Result<Option<Endorsement>, StoreError> {
    match store.get_item(&ItemName::Nvidia(name.clone()))? {
        Some(Item::Nvidia(found)) => Ok(Some(found)),
        Some(Item::Amd(_)) | None => Ok(None),
    }
}

/// By kind, in their order.
pub(super) fn collect(endorsements: impl IntoIterator<Item = Endorsement>) -> GpuEndorsements {
    let mut collected = GpuEndorsements::default();
    for endorsement in endorsements {
        match endorsement.name() {
            Name::Rim(_) => &mut collected.rims,
            Name::Ocsp(_) => &mut collected.ocsp,
            Name::Crl(_) => &mut collected.crls,
        }
        .push(endorsement.into_bytes());
    }
    collected
}
