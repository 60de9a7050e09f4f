//! Whether every device of a machine is NVIDIA's word: the checks of
//! [`authenticate_device`], recorded. One check stands for all devices, and
//! names the one that fails it.

use bastide_attestation::GpuNonce;
use bastide_attestation::nvidia::{OpaqueError, SpdmError};

use crate::ledger::{CheckId, Ledger, Refused, sentence};
use crate::recorded::RecordedGpu;
use crate::rejection::Rejection;

use super::chain::DeviceTrust;
use super::device::{AuthenticDevice, authenticate_device};
use super::fault::DeviceFault;

/// The checks of one device, in the order in which they are made.
const STEPS: [CheckId; 6] = [
    CheckId::GpuForm,
    CheckId::GpuNonce,
    CheckId::GpuChain,
    CheckId::GpuSignature,
    CheckId::GpuOpaque,
    CheckId::GpuFwid,
];

/// Establishes that every device is authentic. Records every check that it
/// makes; the first device that fails one is the one that a check names.
pub(crate) fn authenticate_devices<'t, 'a>(
    devices: &[RecordedGpu<'a>],
    nonce: Option<GpuNonce>,
    trust: &DeviceTrust<'t>,
    ledger: &mut Ledger,
) -> Result<Vec<AuthenticDevice<'t, 'a>>, Refused> {
    let mut authentic = Vec::with_capacity(devices.len());
    let mut faults = Vec::new();
    for (index, device) in devices.iter().enumerate() {
        match authenticate_device(device.report, device.chain, nonce, trust) {
            Ok(device) => authentic.push(device),
            Err(fault) => faults.push((index, fault)),
        }
    }
    record(devices.len(), nonce, &faults, ledger);
    if faults.is_empty() {
        Ok(authentic)
    } else {
        Err(Refused)
    }
}

/// A check passed if every device got beyond it, failed if one ended there, and
/// was not made if all that reached it passed and others did not reach it.
fn record(count: usize, nonce: Option<GpuNonce>, faults: &[(usize, DeviceFault)], ledger: &mut Ledger) {
    for (step, id) in STEPS.into_iter().enumerate() {
        let failing = faults
            .iter()
            .map(|(device, fault)| (device, fault, step_of(fault)))
            .filter(|(.., at)| *at <= step)
            .min_by_key(|(.., at)| *at != step);
        match failing {
            Some((device, fault, at)) if at == step => {
                let got = sentence(format_args!("device {device}: {fault}"));
                let _: Refused = ledger.fail(id, rejection_of(fault), id.expected(), got);
            }
            Some(_) => {}
            None if id == CheckId::GpuNonce => match nonce {
                Some(nonce) => ledger.pass(id, sentence(format_args!("{nonce}"))),
                None => ledger.skip(id, "not given"),
            },
            None => ledger.pass(id, sentence(format_args!("{count} device(s)"))),
        }
    }
}

/// The place in [`STEPS`] of the check that a fault fails.
const fn step_of(fault: &DeviceFault) -> usize {
    match fault {
        DeviceFault::Spdm(_) => 0,
        DeviceFault::NonceMismatch { .. } => 1,
        DeviceFault::ChainTooLarge { .. }
        | DeviceFault::PemInvalid(_)
        | DeviceFault::ChainLength { .. }
        | DeviceFault::Certificate { .. }
        | DeviceFault::BitStringUnusedBits { .. }
        | DeviceFault::CertificateAlgorithm { .. }
        | DeviceFault::RootNotPinned { .. }
        | DeviceFault::NameTemplate { .. }
        | DeviceFault::ChainIssuer { .. }
        | DeviceFault::NotAuthority { .. }
        | DeviceFault::PathLength { .. }
        | DeviceFault::KeyUsage { .. }
        | DeviceFault::CertificateTime { .. }
        | DeviceFault::ChainSignature { .. }
        | DeviceFault::KindMismatch { .. } => 2,
        DeviceFault::SignatureShape | DeviceFault::SignatureInvalid => 3,
        DeviceFault::Opaque(_) => 4,
        DeviceFault::Dice { .. }
        | DeviceFault::FwidMissing { .. }
        | DeviceFault::FwidMismatch
        | DeviceFault::DebugTcb
        | DeviceFault::InsecureTcb { .. } => 5,
    }
}

const fn rejection_of(fault: &DeviceFault) -> Rejection {
    match fault {
        DeviceFault::Spdm(SpdmError::Version { .. }) => Rejection::GpuReportVersion,
        DeviceFault::Spdm(_) => Rejection::GpuReportMalformed,
        DeviceFault::NonceMismatch { .. } => Rejection::GpuNonceMismatch,
        DeviceFault::ChainTooLarge { .. }
        | DeviceFault::PemInvalid(_)
        | DeviceFault::ChainLength { .. }
        | DeviceFault::Certificate { .. }
        | DeviceFault::BitStringUnusedBits { .. }
        | DeviceFault::Dice { .. } => Rejection::GpuChainMalformed,
        DeviceFault::CertificateAlgorithm { .. }
        | DeviceFault::NotAuthority { .. }
        | DeviceFault::PathLength { .. }
        | DeviceFault::KeyUsage { .. } => Rejection::GpuChainInvalid,
        DeviceFault::RootNotPinned { .. } => Rejection::GpuRootUnknown,
        DeviceFault::NameTemplate { .. } => Rejection::GpuChainName,
        DeviceFault::CertificateTime { .. } => Rejection::GpuChainValidity,
        DeviceFault::ChainIssuer { .. } | DeviceFault::ChainSignature { .. } => Rejection::GpuChainSignature,
        DeviceFault::KindMismatch { .. } => Rejection::GpuKind,
        DeviceFault::SignatureShape | DeviceFault::SignatureInvalid => Rejection::GpuSignatureInvalid,
        DeviceFault::Opaque(
            OpaqueError::VersionUnsupported { .. }
            | OpaqueError::Profile { .. }
            | OpaqueError::UnknownType { .. },
        ) => Rejection::GpuOpaqueVersion,
        DeviceFault::Opaque(_) => Rejection::GpuOpaqueMalformed,
        DeviceFault::FwidMissing { .. } => Rejection::GpuFwidMissing,
        DeviceFault::FwidMismatch => Rejection::GpuFwidMismatch,
        DeviceFault::DebugTcb | DeviceFault::InsecureTcb { .. } => Rejection::GpuDebug,
    }
}
