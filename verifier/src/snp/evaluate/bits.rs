//! The guest's POLICY and the host's PLATFORM_INFO, bit by bit. Those whose
//! meaning people know by name have a check of their own, the others share one.

use core::fmt::Write as _;

use bastide_attestation::snp::{GuestPolicy, PlatformInfo, SnpReport};

use crate::ledger::{CheckId, Ledger, sentence};
use crate::policy::{BitRule, BitRules, SnpRules};
use crate::rejection::Rejection;

/// A bit with a check of its own.
type Own = (&'static str, CheckId, Rejection);

const GUEST: [Own; 3] = [
    ("debug", CheckId::PolicyDebug, Rejection::Debug),
    ("migrate_ma", CheckId::PolicyMigration, Rejection::Migration),
    ("cxl", CheckId::PolicyCxl, Rejection::Cxl),
];
const PLATFORM: [Own; 1] = [("alias_check_complete", CheckId::AliasCheck, Rejection::AliasCheck)];

/// Records the checks of both fields.
pub(super) fn evaluate(report: &SnpReport, rules: &SnpRules, ledger: &mut Ledger) {
    let guest = report.policy();
    ledger.check(
        CheckId::PolicyReserved,
        guest.reserved_one() && guest.undefined() == 0,
        Rejection::GuestPolicyReserved,
        CheckId::PolicyReserved.expected(),
        sentence(format_args!("POLICY 0x{:016x}", guest.bits())),
    );
    Field {
        bits: guest.bits(),
        known: &GuestPolicy::BITS,
        rules: rules.guest_policy,
        own: &GUEST,
    }
    .evaluate(CheckId::PolicyBits, Rejection::GuestPolicyBit, ledger);

    let platform = report.platform_info();
    let got = sentence(format_args!("PLATFORM_INFO 0x{:016x}", platform.bits()));
    if rules.unknown_platform_bits {
        ledger.skip(CheckId::PlatformBits, format!("{got}; {}", super::IGNORED));
    } else {
        ledger.check(
            CheckId::PlatformBits,
            platform.undefined() == 0,
            Rejection::PlatformUnknownBits,
            CheckId::PlatformBits.expected(),
            got,
        );
    }
    Field {
        bits: platform.bits(),
        known: &PlatformInfo::BITS,
        rules: rules.platform_info,
        own: &PLATFORM,
    }
    .evaluate(CheckId::PlatformRules, Rejection::PlatformBit, ledger);
}

/// A bit field and what is demanded of it.
struct Field<'f> {
    bits: u64,
    known: &'f [(u32, &'static str)],
    rules: BitRules,
    own: &'f [Own],
}

impl Field<'_> {
    const fn is_set(&self, bit: u32) -> bool {
        self.bits >> (bit & 63) & 1 == 1
    }

    fn evaluate(&self, others: CheckId, rejection: Rejection, ledger: &mut Ledger) {
        for (bit, name) in self.known {
            let Some((_, id, rejection)) = self.own.iter().find(|(own, ..)| own == name) else {
                continue;
            };
            let (rule, set) = (self.rules.of(*bit), self.is_set(*bit));
            let got = word(set);
            if rule == BitRule::Any {
                ledger.skip(*id, format!("{got}; the policy says \"any\""));
            } else {
                ledger.check(*id, rule.allows(set), *rejection, rule.name(), got);
            }
        }
        let rest = || {
            self.known
                .iter()
                .filter(|(_, name)| !self.own.iter().any(|(own, ..)| own == name))
        };
        let mut got = self.describe(rest(), |bit| word(self.is_set(bit)));
        if rest().all(|(bit, _)| self.rules.of(*bit) == BitRule::Any) {
            got.push_str("; the policy says \"any\" of each");
            ledger.skip(others, got);
            return;
        }
        let holds = rest().all(|(bit, _)| self.rules.of(*bit).allows(self.is_set(*bit)));
        let demanded = rest().filter(|(bit, _)| self.rules.of(*bit) != BitRule::Any);
        let expected = self.describe(demanded, |bit| self.rules.of(bit).name());
        ledger.check(others, holds, rejection, expected, got);
    }

    /// `smt set, tsme clear`.
    fn describe<'k>(
        &self,
        bits: impl Iterator<Item = &'k (u32, &'static str)>,
        word: impl Fn(u32) -> &'static str,
    ) -> String {
        let mut text = String::with_capacity(128);
        for (bit, name) in bits {
            let separator = if text.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{separator}{name} {}", word(*bit));
        }
        text
    }
}

const fn word(set: bool) -> &'static str {
    if set { "set" } else { "clear" }
}
