//! TCB floors: all four versions are held against them, component by component.
//! Providers report less than they committed, and equality is nobody's rule.

use bastide_attestation::snp::{SnpReport, TcbVersion};

use crate::ledger::{CheckId, Ledger};
use crate::policy::{Policy, list};
use crate::rejection::Rejection;
use crate::snp::authenticity::Authentic;

/// Records the checks of the four TCB versions.
pub(super) fn evaluate(authentic: &Authentic<'_, SnpReport>, policy: &Policy, ledger: &mut Ledger) {
    let endorsed = authentic.endorsed();
    let tcb = &endorsed.tcb;
    let all: [(CheckId, &TcbVersion); 4] = [
        (CheckId::TcbReported, &tcb.reported),
        (CheckId::TcbCommitted, &tcb.committed),
        (CheckId::TcbLaunch, &tcb.launch),
        (CheckId::TcbCurrent, &tcb.current),
    ];
    for (id, version) in all {
        let Some(rules) = &policy.snp().tcb else {
            ledger.skip(id, super::IGNORED);
            continue;
        };
        // A product that isn't allowed has no floor: then nothing is met.
        let Some(floor) = rules.floors.get(&endorsed.product) else {
            let expected = format!("a floor for {}", endorsed.product);
            ledger.check(id, false, Rejection::BelowFloor, expected, "none in the policy");
            continue;
        };
        let expected = match rules.profile {
            Some(profile) => format!("at least {floor} ({})", profile.name),
            None => format!("at least {floor}"),
        };
        let holds = version.meets(floor);
        let got = if holds {
            version.to_string()
        } else {
            format!(
                "{version}: {}",
                list(&version.shortfalls(floor)).replace(" or ", ", ")
            )
        };
        ledger.check(id, holds, Rejection::BelowFloor, expected, got);
    }
}
