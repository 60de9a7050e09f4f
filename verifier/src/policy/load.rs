//! From a policy file to a [`Policy`]: limits, values, decisions that are
//! missing, contradictory or made twice. Fails on the first fault.

mod azure;
mod gpu;
mod pinned;
mod roots;
mod session;
mod snp;
mod tcb;

use bastide_attestation::{ManifestDigest, PolicyDigest, sha256};

use super::pins::PinSet;
use super::schema::{Document, ManifestPin, SCHEMA};
use super::source::{Ignored, Outcome, Source};
use super::{Policy, PolicyError, PolicyFault};
use crate::ledger::CheckId;

/// Most bytes of a policy.
const MAX_POLICY_BYTES: usize = 256 * 1024;

/// Checks that `ignore` may name.
const IGNORABLE: [CheckId; 12] = [
    CheckId::Vmpl,
    CheckId::TcbReported,
    CheckId::Launch,
    CheckId::ChipId,
    CheckId::HostData,
    CheckId::IdBlock,
    CheckId::PlatformBits,
    CheckId::Model,
    CheckId::Pcrs,
    CheckId::GpuDevice,
    CheckId::GpuDriver,
    CheckId::GpuVbios,
];

/// What `ignore` calls a check: all four TCB versions are left out together.
const fn ignore_name(check: CheckId) -> &'static str {
    match check {
        CheckId::TcbReported => "snp.tcb_floor",
        other => other.name(),
    }
}

/// Reads a policy.
pub(super) fn load(bytes: &[u8]) -> Outcome<Policy> {
    if bytes.len() > MAX_POLICY_BYTES {
        let message = format!(
            "at most {MAX_POLICY_BYTES} bytes were expected, got {}",
            bytes.len()
        );
        return Err(PolicyError::whole(PolicyFault::TooLarge, message));
    }
    let text = core::str::from_utf8(bytes)
        .map_err(|_| PolicyError::whole(PolicyFault::NotText, "UTF-8 text was expected"))?;
    let document: Document = toml::from_str(text).map_err(|error| PolicyError::syntax(text, &error))?;
    let source = Source(text);

    if document.schema.get_ref() != SCHEMA {
        return Err(source.unexpected(&document.schema, &[SCHEMA]));
    }
    source.require_name(&document.name)?;
    source.require_text(&document.description)?;
    let ignorable = IGNORABLE.map(ignore_name);
    let ignored = source.set(&document.ignore, |entry| source.one_of(entry, &ignorable))?;
    let ignored: Vec<String> = ignored.into_iter().map(str::to_owned).collect();

    let snp = snp::read(source, &document.snp, Ignored(&ignored))?;
    let anchors = roots::read(source, &document.roots, &snp, document.allow_simulated)?;
    let session = session::read(source, &document.session)?;
    let manifests = manifests(source, &document, Ignored(&ignored))?;
    let azure = azure::read(source, document.azure.as_ref(), Ignored(&ignored))?;
    let gpu = gpu::read(
        source,
        document.gpu.as_ref(),
        &document.roots,
        Ignored(&ignored),
        document.allow_simulated,
    )?;
    Ok(Policy {
        name: document.name.into_inner(),
        description: document.description.into_inner(),
        digest: PolicyDigest::new(sha256(&[bytes])),
        ignored,
        anchors,
        snp,
        session,
        manifests,
        azure,
        gpu,
        allow_simulated: document.allow_simulated,
    })
}

fn manifests(
    source: Source<'_>,
    document: &Document,
    ignored: Ignored<'_>,
) -> Outcome<Option<PinSet<ManifestDigest>>> {
    ignored
        .decision(
            &source,
            ignore_name(CheckId::Model),
            "model",
            document.model.as_ref(),
        )?
        .map(|model| {
            pinned::read(source, &model.get_ref().manifests, ManifestPin::parts, |value| {
                source.digest(value)
            })
        })
        .transpose()
}
