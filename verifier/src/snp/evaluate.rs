//! The policy's checks on an authentic report. All are made, so that a verdict
//! names everything that would have to change, not only the first.

use bastide_attestation::snp::{SigningKey, SnpReport, TcbVersion};

use crate::ledger::{CheckId, Ledger};
use crate::policy::{IdBlock, KeyKinds, Policy, list};
use crate::rejection::Rejection;
use crate::snp::authenticity::{Authentic, key_name};

/// Records every policy check on the report.
pub(crate) fn evaluate(authentic: &Authentic<SnpReport>, policy: &Policy, ledger: &mut Ledger) {
    let report = authentic.value();
    let endorsed = authentic.endorsed();
    let rules = policy.snp();

    let version = report.version();
    ledger.check(
        CheckId::ReportVersion,
        rules.report_versions.contains(&version),
        Rejection::VersionNotAllowed,
        list(&rules.report_versions),
        version.to_string(),
    );
    ledger.check(
        CheckId::Product,
        rules.products.contains(&endorsed.product),
        Rejection::ProductNotAllowed,
        list(&rules.products),
        endorsed.product.name(),
    );
    evaluate_key(authentic, policy, ledger);
    evaluate_tcb(authentic, policy, ledger);
    evaluate_bits(report, policy, ledger);

    match &rules.vmpl {
        Some(allowed) => ledger.check(
            CheckId::Vmpl,
            allowed.contains(&report.vmpl()),
            Rejection::VmplNotAllowed,
            list(allowed),
            report.vmpl().to_string(),
        ),
        None => ledger.skip(CheckId::Vmpl, IGNORED),
    }

    let block = report.id_key_digest() != [0; 48]
        || report.author_key_digest() != [0; 48]
        || report.key_info().author_key();
    match rules.id_block {
        IdBlock::Forbid => ledger.check(
            CheckId::IdBlock,
            !block,
            Rejection::IdBlockNotAllowed,
            CheckId::IdBlock.expected(),
            if block {
                format!("ID key {}", hex::encode(report.id_key_digest()))
            } else {
                "none".to_owned()
            },
        ),
        IdBlock::Any => ledger.skip(CheckId::IdBlock, "the policy says id_block = \"any\""),
    }

    match &rules.measurements {
        Some(allowed) => ledger.check(
            CheckId::Launch,
            allowed.contains(&report.measurement()),
            Rejection::LaunchNotAllowed,
            pins(allowed.len(), "measurement"),
            hex::encode(report.measurement().as_bytes()),
        ),
        None => ledger.skip(CheckId::Launch, IGNORED),
    }
}

/// Why a check is left out that the policy names in `ignore`.
pub(crate) const IGNORED: &str = "left out by the policy's ignore list";

/// How many pins there are, for a verdict.
pub(crate) fn pins(count: usize, what: &str) -> String {
    match count {
        0 => format!("one of the policy's {what}s, of which there are none yet"),
        1 => format!("the one {what} in the policy"),
        _ => format!("one of {count} {what}s in the policy"),
    }
}

fn evaluate_key(authentic: &Authentic<SnpReport>, policy: &Policy, ledger: &mut Ledger) {
    let endorsed = authentic.endorsed();
    let key = endorsed.key;
    let got = match &endorsed.provider {
        Some(provider) => format!("vlek of {provider}"),
        None => key_name(key).to_owned(),
    };
    match (&policy.snp().key, key) {
        (KeyKinds::Vcek | KeyKinds::Any { .. }, SigningKey::Vcek) => ledger.pass(CheckId::Key, got),
        (KeyKinds::Vlek { providers } | KeyKinds::Any { providers }, SigningKey::Vlek) => ledger.check(
            CheckId::Key,
            endorsed
                .provider
                .as_ref()
                .is_some_and(|provider| providers.contains(provider)),
            Rejection::ProviderNotAllowed,
            format!("vlek of {}", list(providers)),
            got,
        ),
        (allowed, _) => ledger.check(CheckId::Key, false, Rejection::KeyNotAllowed, allowed.name(), got),
    }
}

/// All four TCB versions are held against the floor, component by component:
/// providers report less than they committed, and equality is nobody's rule.
fn evaluate_tcb(authentic: &Authentic<SnpReport>, policy: &Policy, ledger: &mut Ledger) {
    let endorsed = authentic.endorsed();
    let tcb = &endorsed.tcb;
    let all: [(CheckId, &TcbVersion); 4] = [
        (CheckId::TcbReported, &tcb.reported),
        (CheckId::TcbCommitted, &tcb.committed),
        (CheckId::TcbLaunch, &tcb.launch),
        (CheckId::TcbCurrent, &tcb.current),
    ];
    for (id, version) in all {
        let Some(floors) = &policy.snp().tcb_floor else {
            ledger.skip(id, IGNORED);
            continue;
        };
        // A product that isn't allowed has no floor: then nothing is met.
        let Some(floor) = floors.get(&endorsed.product) else {
            let expected = format!("a floor for {}", endorsed.product);
            ledger.check(id, false, Rejection::BelowFloor, expected, "none in the policy");
            continue;
        };
        let shortfalls = version.shortfalls(floor);
        let got = if shortfalls.is_empty() {
            version.to_string()
        } else {
            let below: Vec<_> = shortfalls.iter().map(ToString::to_string).collect();
            format!("{version}: {}", below.join(", "))
        };
        ledger.check(
            id,
            shortfalls.is_empty(),
            Rejection::BelowFloor,
            format!("at least {floor}"),
            got,
        );
    }
}

fn evaluate_bits(report: &SnpReport, policy: &Policy, ledger: &mut Ledger) {
    let rules = policy.snp();
    let guest = report.policy();
    let got = format!("POLICY 0x{:016x}", guest.bits());
    ledger.check(
        CheckId::PolicyReserved,
        guest.reserved_one() && guest.undefined() == 0,
        Rejection::GuestPolicyReserved,
        CheckId::PolicyReserved.expected(),
        got,
    );
    let bits = [
        (CheckId::PolicyDebug, guest.debug(), rules.debug, Rejection::Debug),
        (
            CheckId::PolicyMigration,
            guest.migrate_ma(),
            rules.migrate_ma,
            Rejection::Migration,
        ),
        (CheckId::PolicyCxl, guest.cxl_allow(), false, Rejection::Cxl),
    ];
    for (id, set, allowed, rejection) in bits {
        let got = if set { "on" } else { "off" };
        if allowed {
            ledger.skip(id, format!("{got}; the policy allows it"));
        } else {
            ledger.check(id, !set, rejection, "off", got);
        }
    }

    let platform = report.platform_info();
    let got = format!("PLATFORM_INFO 0x{:016x}", platform.bits());
    ledger.check(
        CheckId::PlatformBits,
        platform.undefined() == 0,
        Rejection::PlatformUnknownBits,
        CheckId::PlatformBits.expected(),
        got,
    );
    let checked = platform.alias_check_complete();
    let got = if checked { "checked" } else { "not checked" };
    if rules.require_alias_check {
        ledger.check(
            CheckId::AliasCheck,
            checked,
            Rejection::AliasCheck,
            "checked",
            got,
        );
    } else {
        ledger.skip(
            CheckId::AliasCheck,
            format!("{got}; the policy says require_alias_check = false"),
        );
    }
}
