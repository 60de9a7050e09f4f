//! TCB floors: all four versions are held against them, component by component.
//! Providers report less than they committed, and equality is nobody's rule.

use core::iter::repeat_n;

use bastide_attestation::snp::{SnpReport, TcbVersion};

use crate::ledger::{CheckId, Ledger, sentence};
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
    let Some(rules) = &policy.snp().tcb else {
        for (id, _) in all {
            ledger.skip(id, super::IGNORED);
        }
        return;
    };
    // A product that isn't allowed has no floor: then nothing is met.
    let Some(floor) = rules.floors.get(&endorsed.product) else {
        for (id, _) in all {
            let expected = format!("a floor for {}", endorsed.product);
            ledger.check(id, false, Rejection::BelowFloor, expected, "none in the policy");
        }
        return;
    };
    // The same sentence four times: put together once, and nothing left over.
    let expected = match rules.profile {
        Some(profile) => sentence(format_args!("at least {floor} ({})", profile.name)),
        None => sentence(format_args!("at least {floor}")),
    };
    for ((id, version), expected) in all.into_iter().zip(repeat_n(expected, all.len())) {
        let holds = version.meets(floor);
        let got = if holds {
            sentence(format_args!("{version}"))
        } else {
            let shortfalls = list(&version.shortfalls(floor)).replace(" or ", ", ");
            sentence(format_args!("{version}: {shortfalls}"))
        };
        ledger.check(id, holds, Rejection::BelowFloor, expected, got);
    }
}
