//! NVIDIA's remote service as a second opinion: its token must say the same of
//! the same devices. It can refuse what was accepted here, never the reverse,
//! and its keys are the word of whoever gives them.

use bastide_attestation::{GpuNonce, UnixTime};

use crate::crypto::Crypto;
use crate::ledger::{CheckId, Ledger, Refused, sentence};
use crate::recorded::RecordedNras;
use crate::rejection::Rejection;

use super::device::AuthenticDevice;
use super::nras::{NrasExpectation, NrasFault, check_nras};

/// When and by whom a token is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judging {
    pub(crate) crypto: &'static dyn Crypto,
    pub(crate) now: UnixTime,
    /// Seconds by which the service's clock may differ.
    pub(crate) skew: u64,
}

/// Records whether the service agrees; without a token the check is skipped.
pub(crate) fn evaluate_nras(
    sources: Option<RecordedNras<'_>>,
    devices: &[AuthenticDevice<'_, '_>],
    nonce: Option<GpuNonce>,
    judging: Judging,
    ledger: &mut Ledger,
) {
    let id = CheckId::Nras;
    let Some(sources) = sources else {
        ledger.skip(id, "no token of NVIDIA's remote service was given");
        return;
    };
    let gpus: Vec<_> = devices
        .iter()
        .filter(|device| device.facts().gpu().is_some())
        .collect();
    let Some(nonce) = nonce.or_else(|| gpus.first().map(|gpu| gpu.report().nonce())) else {
        let _: Refused = ledger.fail(id, Rejection::NrasInvalid, id.expected(), "a token, and no GPU");
        return;
    };
    let expectation = NrasExpectation {
        nonce,
        gpus: gpus.len(),
        now: judging.now,
        skew: judging.skew,
    };
    let result = match check_nras(sources.token, sources.jwks, &expectation, judging.crypto) {
        Ok(result) => result,
        Err(fault) => {
            let rejection = match fault {
                NrasFault::NotPassed { .. } | NrasFault::OverallResult => Rejection::NrasDisagrees,
                _ => Rejection::NrasInvalid,
            };
            let _: Refused = ledger.fail(id, rejection, id.expected(), fault.to_string());
            return;
        }
    };
    for gpu in &gpus {
        let ueid = gpu.ueid().to_string();
        let facts = gpu.facts().gpu();
        let same = result.devices.iter().any(|device| {
            device.ueid == ueid
                && device.hwmodel == gpu.hardware_model()
                && facts.is_some_and(|facts| {
                    device.driver == facts.driver_version
                        && device.vbios.eq_ignore_ascii_case(&facts.vbios_version)
                })
        });
        if !same {
            let got = sentence(format_args!("nothing about device {ueid} as it is here"));
            let _: Refused = ledger.fail(id, Rejection::NrasDisagrees, id.expected(), got);
            return;
        }
    }
    ledger.pass(
        id,
        sentence(format_args!(
            "{} GPU(s), token of {}, good until {}",
            gpus.len(),
            result.issued,
            result.expires
        )),
    );
}
