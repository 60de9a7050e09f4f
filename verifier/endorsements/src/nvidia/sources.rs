//! Which endorsements the evidence of devices needs. Manifests first: their ids
//! are in the reports; then, for each chain of certificates, answers about all
//! but the root, and the lists that the certificates name. Manifests have chains
//! of their own, so that what they need is known when they are here.

use bastide_attestation::encoding::{EncodingError, Kind, objects};
use bastide_attestation::nvidia::{DeviceFacts, Family, GpuEvidence, OpaqueError, SpdmError, SpdmReport};

use super::certificate::Fields;
use super::endorsement::Endorsement;
use super::name::{CrlPath, Name, RimId, RimIdError};
use super::ocsp::OcspQuestion;
use crate::endorsement::{FormError, shown};

/// Certificates of a device's chain.
const DEVICE_CHAIN_LENGTH: usize = 5;

/// Why it can't be said what a device's evidence needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// No report.
    #[error("device {device}: {source}")]
    Report {
        /// Which, from 0.
        device: usize,
        /// Why.
        #[source]
        source: SpdmError,
    },
    /// A report that says nothing that can be read.
    #[error("device {device}: {source}")]
    Opaque {
        /// Which, from 0.
        device: usize,
        /// Why.
        #[source]
        source: OpaqueError,
    },
    /// No chain in PEM.
    #[error("device {device}: {source}")]
    Encoding {
        /// Which, from 0.
        device: usize,
        /// Why.
        #[source]
        source: EncodingError,
    },
    /// Another number of certificates.
    #[error("device {device}: expected a chain of {DEVICE_CHAIN_LENGTH} certificates, got {got}")]
    ChainLength {
        /// Which, from 0.
        device: usize,
        /// Certificates that came.
        got: usize,
    },
    /// Certificates that don't follow one another, leaf first.
    #[error("device {device}: {source}")]
    Chain {
        /// Which, from 0.
        device: usize,
        /// Why.
        #[source]
        source: FormError,
    },
    /// A leaf of no family that is known, or of the other kind of device than its report.
    #[error("device {device}: expected the chain of the {expected}, its leaf is called `{got}`")]
    Family {
        /// Which, from 0.
        device: usize,
        /// What the report is of.
        expected: bastide_attestation::nvidia::DeviceKind,
        /// The leaf's common name, cut to 64 characters.
        got: String,
    },
    /// A report whose versions make no id.
    #[error("device {device}: {source}")]
    Rim {
        /// Which, from 0.
        device: usize,
        /// Why.
        #[source]
        source: RimIdError,
    },
}

/// An endorsement that is needed, with what it takes to ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A manifest.
    Rim(RimId),
    /// An answer about a certificate.
    Ocsp(OcspQuestion),
    /// A revocation list.
    Crl(CrlPath),
}

impl Wanted {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> Name {
        match self {
            Self::Rim(id) => Name::Rim(id.clone()),
            Self::Ocsp(question) => Name::Ocsp(question.id().clone()),
            Self::Crl(path) => Name::Crl(path.clone()),
        }
    }
}

/// What is asked for, none of it twice: manifests, and chains of certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    rims: Vec<RimId>,
    chains: Vec<Wanted>,
}

impl Sources {
    /// Of a machine's evidence.
    ///
    /// # Errors
    /// [`SourceError`] names the first device that can't be read.
    pub fn of(evidence: &GpuEvidence) -> Result<Self, SourceError> {
        let mut sources = Self::default();
        sources.add(evidence)?;
        Ok(sources)
    }

    /// Adds what a machine's evidence needs.
    ///
    /// # Errors
    /// [`SourceError`] names the first device that can't be read; what those
    /// before it need was added.
    pub fn add(&mut self, evidence: &GpuEvidence) -> Result<(), SourceError> {
        for (index, device) in evidence.devices().iter().enumerate() {
            self.read_device(index, &device.report, &device.chain)?;
        }
        Ok(())
    }

    /// Adds what one device's report and chain (PEM, leaf first) need.
    ///
    /// # Errors
    /// [`SourceError`], with 0 as the device.
    pub fn add_device(&mut self, report: &[u8], chain: &[u8]) -> Result<(), SourceError> {
        self.read_device(0, report, chain)
    }

    /// Adds a manifest by its id.
    pub fn add_rim(&mut self, id: RimId) {
        if !self.rims.contains(&id) {
            self.rims.push(id);
        }
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rims.is_empty() && self.chains.is_empty()
    }

    /// Manifests, in the order in which they were asked for.
    pub fn rims(&self) -> impl Iterator<Item = Wanted> {
        self.rims.iter().cloned().map(Wanted::Rim)
    }

    /// Answers and lists, those of the manifests' chains included. What is no
    /// manifest adds none.
    #[must_use]
    pub fn others<'a>(&self, rims: impl IntoIterator<Item = &'a Endorsement>) -> Vec<Wanted> {
        let mut wanted = self.chains.clone();
        for rim in rims {
            // Whether a manifest's chain is one is for the verifier to say;
            // what can't be asked about isn't.
            if let Ok(more) = of_chain(&rim.chain(), 0) {
                merge(&mut wanted, more);
            }
        }
        wanted
    }

    fn read_device(&mut self, device: usize, report: &[u8], chain: &[u8]) -> Result<(), SourceError> {
        let report = SpdmReport::parse(report).map_err(|source| SourceError::Report { device, source })?;
        let facts = DeviceFacts::parse(&report).map_err(|source| SourceError::Opaque { device, source })?;
        let chain =
            objects(chain, Kind::Certificate).map_err(|source| SourceError::Encoding { device, source })?;
        if chain.len() != DEVICE_CHAIN_LENGTH {
            return Err(SourceError::ChainLength {
                device,
                got: chain.len(),
            });
        }
        // The leaf is not served: it is made anew whenever the device starts.
        let more = of_chain(&chain, 1).map_err(|source| SourceError::Chain { device, source })?;
        let leaf = chain.first().and_then(|der| Fields::read(der));
        let name = leaf.and_then(|leaf| leaf.common_name()).unwrap_or_default();
        let family = family_of(&name).filter(|family| family.kind() == report.kind());
        let family = family.ok_or_else(|| SourceError::Family {
            device,
            expected: report.kind(),
            got: shown(&name),
        })?;
        let ids: Result<Vec<RimId>, _> = rim_ids(&facts, family).iter().map(|id| id.parse()).collect();
        for id in ids.map_err(|source| SourceError::Rim { device, source })? {
            self.add_rim(id);
        }
        merge(&mut self.chains, more);
        Ok(())
    }
}

fn merge(wanted: &mut Vec<Wanted>, more: Vec<Wanted>) {
    for one in more {
        if !wanted.contains(&one) {
            wanted.push(one);
        }
    }
}

/// The family that a leaf's common name begins with. Who may be called so is
/// for the verifier to say.
fn family_of(leaf: &str) -> Option<Family> {
    match leaf.split(' ').next()?.as_bytes() {
        b"GH100" => Some(Family::Hopper),
        [b'G', b'B', b'1', b'0'..=b'9', b'0'..=b'9'] => Some(Family::Blackwell),
        b"LS_10" => Some(Family::Ls10),
        _ => None,
    }
}

fn rim_ids(facts: &DeviceFacts, family: Family) -> Vec<String> {
    match facts {
        DeviceFacts::Gpu(gpu) => gpu
            .driver_rim_id(family)
            .into_iter()
            .chain([gpu.vbios_rim_id()])
            .collect(),
        DeviceFacts::Switch(switch) => vec![switch.bios_rim_id()],
    }
}

/// Of a chain, leaf first: answers about all but the root, from a place on, and
/// the lists that they name.
fn of_chain(chain: &[Vec<u8>], from: usize) -> Result<Vec<Wanted>, FormError> {
    let mut wanted = Vec::new();
    let mut lists = Vec::new();
    for pair in chain.windows(2).skip(from) {
        let [certificate, issuer] = pair else { continue };
        wanted.push(Wanted::Ocsp(OcspQuestion::about(certificate, issuer)?));
        let fields = Fields::read(certificate);
        lists.extend(fields.iter().flat_map(Fields::lists).map(Wanted::Crl));
    }
    merge(&mut wanted, lists);
    Ok(wanted)
}

#[cfg(test)]
mod tests;
