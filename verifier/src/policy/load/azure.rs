//! The `[azure]` section: that the policy is for Azure VMs, and what their
//! PCRs may be.

use std::collections::BTreeMap;

use toml::Spanned;

use super::{ignore_name, pinned};
use crate::ledger::CheckId;
use crate::policy::schema::{Azure, List, PcrPin, PinParts};
use crate::policy::source::{Ignored, Outcome, Source};
use crate::policy::{AzureRules, PcrPins, PolicyError, PolicyFault};

/// Registers that whatever runs in the guest may reset: the debug and the
/// application PCR \[TCG PC Client PTP, "PCR Attributes"\].
const RESETTABLE: [u32; 2] = [16, 23];

/// Reads the section; without it the policy is for bare guests.
pub(super) fn read(
    source: Source<'_>,
    azure: Option<&Spanned<Azure>>,
    ignored: Ignored<'_>,
) -> Outcome<Option<AzureRules>> {
    let check = ignore_name(CheckId::Pcrs);
    let Some(azure) = azure else {
        if ignored.names(check) {
            let message = format!(
                "`ignore` names `{check}`, but there is no `[azure]` section; add it, or remove the name"
            );
            return Err(PolicyError::whole(PolicyFault::Contradiction, message));
        }
        return Ok(None);
    };
    let pcrs = ignored
        .decision(&source, check, "azure.pcrs", azure.get_ref().pcrs.as_ref())?
        .map(|entries| pcrs(source, entries))
        .transpose()?;
    Ok(Some(AzureRules { pcrs }))
}

/// One value of an entry, with what the entry says of all of them.
struct OneValue<'d> {
    value: &'d Spanned<String>,
    entry: &'d PcrPin,
}

impl OneValue<'_> {
    fn parts(&self) -> PinParts<'_> {
        PinParts {
            value: self.value,
            not_before: &self.entry.not_before,
            not_after: &self.entry.not_after,
            reason: &self.entry.reason,
            release: None,
            shape: None,
        }
    }
}

fn pcrs(source: Source<'_>, entries: &List<PcrPin>) -> Outcome<PcrPins> {
    let mut values: BTreeMap<u8, Vec<Spanned<OneValue<'_>>>> = BTreeMap::new();
    for entry in entries.get_ref() {
        let pin = entry.get_ref();
        let index = index(source, &pin.index)?;
        if pin.sha256.get_ref().is_empty() {
            let message = "at least one value was expected";
            return Err(source.fault(PolicyFault::Value, &pin.sha256, message));
        }
        let of_index = values.entry(index).or_default();
        of_index.extend(
            pin.sha256
                .get_ref()
                .iter()
                .map(|value| Spanned::new(value.span(), OneValue { value, entry: pin })),
        );
    }
    let mut pins = PcrPins::new();
    for (index, values) in values {
        let values = Spanned::new(entries.span(), values);
        // A register that nothing was measured into is zero: that may be pinned.
        let set = pinned::read(source, &values, OneValue::parts, |value| source.parse(value))?;
        pins.insert(index, set);
    }
    Ok(pins)
}

fn index(source: Source<'_>, index: &Spanned<u32>) -> Outcome<u8> {
    const EXPECTED: &str = "the index of a PCR from 0 to 22";
    let number = source.number(index, 0..=23, EXPECTED)?;
    if RESETTABLE.contains(&number) {
        let message =
            format!("PCR {number} can be reset by anything in the guest, so that its value proves nothing");
        return Err(source.fault(PolicyFault::Value, index, message));
    }
    u8::try_from(number).map_err(|_| source.fault(PolicyFault::Value, index, EXPECTED))
}
