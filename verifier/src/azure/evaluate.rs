//! The policy's word on an Azure VM: whether such VMs are accepted at all, and
//! what their PCRs may be. A register is right if one of the values pinned for
//! it is there and counts now; every pinned register must be right.

use bastide_attestation::{PcrValue, Platform, UnixTime};

use crate::azure::authenticity::Vtpm;
use crate::ledger::{CheckId, Ledger};
use crate::policy::{AzureRules, Found, PcrPins, Policy};
use crate::rejection::Rejection;
use crate::snp::IGNORED;

/// Names of the PCRs among a verdict's facts.
pub(crate) const PCR_NAMES: [&str; 24] = [
    "pcr_00", "pcr_01", "pcr_02", "pcr_03", "pcr_04", "pcr_05", "pcr_06", "pcr_07", "pcr_08", "pcr_09",
    "pcr_10", "pcr_11", "pcr_12", "pcr_13", "pcr_14", "pcr_15", "pcr_16", "pcr_17", "pcr_18", "pcr_19",
    "pcr_20", "pcr_21", "pcr_22", "pcr_23",
];

/// A policy is for Azure VMs or for bare guests, never for both: one that pins
/// PCRs and leaves the launch measurement open would accept any bare guest.
pub(crate) fn evaluate_platform(policy: &Policy, ledger: &mut Ledger) {
    let name = |platform| match platform {
        Platform::Azure => "an Azure VM",
        Platform::Snp => "a bare SEV-SNP guest",
    };
    let (expected, Some(got)) = (policy.platform(), ledger.scope().platform) else {
        return;
    };
    let rejection = match got {
        Platform::Azure => Rejection::AzureNotAllowed,
        Platform::Snp => Rejection::AzureRequired,
    };
    ledger.check(
        CheckId::Platform,
        expected == got,
        rejection,
        name(expected),
        name(got),
    );
}

/// Records whether every pinned register of an authentic quote is right now.
pub(crate) fn evaluate_pcrs(rules: Option<&AzureRules>, vtpm: &Vtpm<'_>, now: UnixTime, ledger: &mut Ledger) {
    let id = CheckId::Pcrs;
    let Some(rules) = rules else {
        // The platform's check has failed already.
        ledger.skip(id, "the policy has no [azure] section");
        return;
    };
    let Some(pins) = &rules.pcrs else {
        ledger.skip(id, IGNORED);
        return;
    };
    let expected = expectation(pins);
    let Some(quote) = vtpm.quote() else {
        ledger.check(id, false, Rejection::QuoteMissing, expected, "no quote");
        return;
    };
    if pins.is_empty() {
        ledger.check(id, false, Rejection::PcrNotAllowed, expected, "a quote");
        return;
    }
    let mut right = Vec::new();
    let mut wrong = Vec::new();
    // A value that is pinned for another time is the milder fault.
    let mut rejection = Rejection::PinNotCurrent;
    for (index, set) in pins {
        let Some(value) = quote.pcrs().get(*index) else {
            rejection = Rejection::PcrNotAllowed;
            wrong.push(format!("no PCR {index} in the quote"));
            continue;
        };
        let hex = hex::encode(value);
        match set.find(&PcrValue::new(*value), now) {
            Found::Current(pinned) => right.push(format!("PCR {index} pinned: {pinned}")),
            Found::NotCurrent(pinned) => {
                wrong.push(format!("PCR {index} {hex}, pinned {}: {pinned}", pinned.window));
            }
            Found::Unlisted => {
                rejection = Rejection::PcrNotAllowed;
                wrong.push(format!("PCR {index} {hex}"));
            }
        }
    }
    let holds = wrong.is_empty();
    let got = if holds { right } else { wrong };
    ledger.check(id, holds, rejection, expected, got.join("; "));
}

/// Says whose word the values are: a verdict must not look as if the hardware
/// had measured them.
fn expectation(pins: &PcrPins) -> String {
    if pins.is_empty() {
        return "the policy's PCR values, of which there are none yet".to_owned();
    }
    let indices: Vec<_> = pins.keys().map(ToString::to_string).collect();
    format!(
        "the policy's values of PCR {}, measured by the paravisor's vTPM",
        indices.join(", ")
    )
}
