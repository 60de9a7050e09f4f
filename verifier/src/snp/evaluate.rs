//! The policy's checks on an authentic report. All are made, so that a verdict
//! names everything that would have to change, not only the first.

mod bits;
mod tcb;

use bastide_attestation::snp::{SigningKey, SnpReport};
use bastide_attestation::{IdKeyDigest, UnixTime};

use crate::hexadecimal as hex;
use crate::ledger::{CheckId, Ledger, sentence};
use crate::policy::{Found, IdBlock, KeyKinds, PinSet, Policy, list};
use crate::rejection::Rejection;
use crate::snp::authenticity::{Authentic, key_name};

/// Why a check is left out that the policy names in `ignore`.
pub(crate) const IGNORED: &str = "left out by the policy's ignore list";

/// Records every policy check on the report.
pub(crate) fn evaluate(
    authentic: &Authentic<'_, SnpReport>,
    policy: &Policy,
    now: UnixTime,
    ledger: &mut Ledger,
) {
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
    tcb::evaluate(authentic, policy, ledger);
    bits::evaluate(report, rules, ledger);

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
    evaluate_id_block(report, rules.id_block.as_ref(), now, ledger);
    let launch = Pinning {
        id: CheckId::Launch,
        rejection: Rejection::LaunchNotAllowed,
        what: "measurement",
        now,
    };
    launch.evaluate(rules.launch.as_ref(), &report.measurement(), ledger);
    let chips = Pinning {
        id: CheckId::ChipId,
        rejection: Rejection::ChipNotAllowed,
        what: "chip",
        now,
    };
    chips.evaluate(rules.chips.as_ref(), &report.chip_id(), ledger);
    let host_data = Pinning {
        id: CheckId::HostData,
        rejection: Rejection::HostDataNotAllowed,
        what: "value",
        now,
    };
    host_data.evaluate(rules.host_data.as_ref(), &report.host_data(), ledger);
    ledger.not_provable(
        CheckId::MemoryBus,
        "no report shows whoever sits on the memory's wires (TEE.fail, Battering RAM)",
    );
}

/// One set of pins and how its check is recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pinning {
    pub(crate) id: CheckId,
    pub(crate) rejection: Rejection,
    /// What is pinned, in the singular.
    pub(crate) what: &'static str,
    pub(crate) now: UnixTime,
}

impl Pinning {
    /// Records whether `value` is pinned for now; a set that the policy leaves
    /// out is skipped.
    pub(crate) fn evaluate<T>(self, pins: Option<&PinSet<T>>, value: &T, ledger: &mut Ledger)
    where
        T: PartialEq + AsRef<[u8]>,
    {
        let Some(pins) = pins else {
            ledger.skip(self.id, IGNORED);
            return;
        };
        self.require(pins, value, ledger);
    }

    /// Records whether every value is pinned for now; the first that isn't is named.
    pub(crate) fn evaluate_all<T>(
        self,
        pins: &PinSet<T>,
        values: impl Iterator<Item = T>,
        ledger: &mut Ledger,
    ) where
        T: PartialEq + core::fmt::Display,
    {
        let mut names = Vec::new();
        for value in values {
            let (rejection, got) = match pins.find(&value, self.now) {
                Found::Current(pinned) => {
                    names.push(sentence(format_args!("{value} ({pinned})")));
                    continue;
                }
                Found::NotCurrent(pinned) => (
                    Rejection::PinNotCurrent,
                    sentence(format_args!("{value}, pinned {}: {pinned}", pinned.window)),
                ),
                Found::Unlisted => (self.rejection, sentence(format_args!("{value}"))),
            };
            let expected = sentence(format_args!(
                "one of {} {}(s) in the policy",
                pins.len(),
                self.what
            ));
            ledger.check(self.id, false, rejection, expected, got);
            return;
        }
        ledger.pass(self.id, names.join(", "));
    }

    fn require<T>(self, pins: &PinSet<T>, value: &T, ledger: &mut Ledger)
    where
        T: PartialEq + AsRef<[u8]>,
    {
        let got = hex::encode(value.as_ref());
        match pins.find(value, self.now) {
            Found::Current(pinned) => {
                ledger.pass_against(self.id, sentence(format_args!("pinned: {pinned}")), got);
            }
            Found::NotCurrent(pinned) => {
                let expected = format!("a {} pinned at {}", self.what, self.now);
                let got = format!("{got}, pinned {}: {pinned}", pinned.window);
                ledger.check(self.id, false, Rejection::PinNotCurrent, expected, got);
            }
            Found::Unlisted => {
                let expected = match pins.len() {
                    0 => format!("one of the policy's {}s, of which there are none yet", self.what),
                    1 => format!("the one {} in the policy", self.what),
                    count => format!("one of {count} {}s in the policy", self.what),
                };
                ledger.check(self.id, false, self.rejection, expected, got);
            }
        }
    }
}

/// An ID block is signed by an ID key, which an author key may vouch for.
/// Digests of keys that weren't there are zero.
fn evaluate_id_block(report: &SnpReport, rules: Option<&IdBlock>, now: UnixTime, ledger: &mut Ledger) {
    let (id_key, author_key) = (report.id_key_digest(), report.author_key_digest());
    let has_author = report.key_info().author_key() || !author_key.is_zero();
    let name = |key: &IdKeyDigest| {
        if key.is_zero() {
            "none".to_owned()
        } else {
            hex::encode(key)
        }
    };
    let forbid = |id: CheckId, present: bool, rejection, got, ledger: &mut Ledger| {
        ledger.check(id, !present, rejection, "none", got);
    };
    match rules {
        None => {
            ledger.skip(CheckId::IdBlock, IGNORED);
            ledger.skip(CheckId::AuthorKey, IGNORED);
        }
        Some(IdBlock::Forbid) => {
            let rejection = Rejection::IdBlockNotAllowed;
            forbid(
                CheckId::IdBlock,
                !id_key.is_zero(),
                rejection,
                name(&id_key),
                ledger,
            );
            forbid(
                CheckId::AuthorKey,
                has_author,
                rejection,
                name(&author_key),
                ledger,
            );
        }
        Some(IdBlock::Pinned { id_keys, author_keys }) => {
            Pinning {
                id: CheckId::IdBlock,
                rejection: Rejection::IdKeyNotAllowed,
                what: "ID key",
                now,
            }
            .require(id_keys, &id_key, ledger);
            let author = Pinning {
                id: CheckId::AuthorKey,
                rejection: Rejection::AuthorKeyNotAllowed,
                what: "author key",
                now,
            };
            match author_keys {
                Some(keys) if has_author => author.require(keys, &author_key, ledger),
                _ => forbid(
                    CheckId::AuthorKey,
                    has_author,
                    Rejection::AuthorKeyNotAllowed,
                    name(&author_key),
                    ledger,
                ),
            }
        }
    }
}

fn evaluate_key(authentic: &Authentic<'_, SnpReport>, policy: &Policy, ledger: &mut Ledger) {
    let endorsed = authentic.endorsed();
    let key = endorsed.key;
    let got = match endorsed.provider {
        Some(provider) => format!("vlek of {provider}"),
        None => key_name(key).to_owned(),
    };
    match (&policy.snp().key, key) {
        (KeyKinds::Vcek | KeyKinds::Any { .. }, SigningKey::Vcek) => ledger.pass(CheckId::Key, got),
        (KeyKinds::Vlek { providers } | KeyKinds::Any { providers }, SigningKey::Vlek) => ledger.check(
            CheckId::Key,
            endorsed
                .provider
                .is_some_and(|provider| providers.iter().any(|known| known == provider)),
            Rejection::ProviderNotAllowed,
            format!("vlek of {}", list(providers)),
            got,
        ),
        (allowed, _) => ledger.check(CheckId::Key, false, Rejection::KeyNotAllowed, allowed.name(), got),
    }
}
