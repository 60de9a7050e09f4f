//! What is allowed in a policy and still worth a second look: weak choices,
//! what is left out, and pins that are about to end. A policy with a fault
//! never comes this far.

use bastide_attestation::UnixTime;
use bastide_attestation::snp::Product;
use bastide_verifier::Pin;
use bastide_verifier::tcb_profile::{PROFILES, TcbProfile};
use serde::Serialize;

use crate::policy_document::{PolicyDocument, SETS, Set};

mod gpu;

/// Pins that end within this time are about to end.
const SOON: u64 = 30 * 86_400;

/// Every warning there is; never changed, only added.
pub(crate) const IDS: [&str; 22] = [
    "lint.no_pin",
    "lint.none_current",
    "lint.one_release",
    "lint.all_end_soon",
    "lint.expired",
    "lint.milan",
    "lint.ignored",
    "lint.crl",
    "lint.tcb_old",
    "lint.no_chips",
    "lint.unsigned",
    "lint.stale_signature",
    "lint.guest_policy",
    "lint.platform_info",
    "lint.simulated",
    "lint.extra_root",
    "lint.report_version",
    "lint.nvlink_plaintext",
    "lint.gpu_count",
    "lint.gpu_revocation",
    "lint.rim_expiry",
    "lint.no_minimum",
];

/// A warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Warning {
    /// Stable name.
    pub(crate) id: &'static str,
    /// The line, from 1.
    pub(crate) line: usize,
    /// What it is and what follows from it.
    pub(crate) message: String,
}

/// Every warning about a policy at a time, in the order of its lines.
pub(crate) fn lint(document: &PolicyDocument, at: UnixTime) -> Vec<Warning> {
    let mut lint = Lint {
        document,
        at,
        warnings: Vec::new(),
    };
    lint.head();
    lint.snp();
    lint.gpu();
    for set in SETS {
        lint.set(&set);
    }
    lint.warnings
        .sort_by(|one, other| (one.line, one.id).cmp(&(other.line, other.id)));
    lint.warnings
}

struct Lint<'d> {
    document: &'d PolicyDocument,
    at: UnixTime,
    warnings: Vec<Warning>,
}

impl Lint<'_> {
    fn warn(&mut self, id: &'static str, line: usize, message: impl Into<String>) {
        self.warnings.push(Warning {
            id,
            line,
            message: message.into(),
        });
    }

    fn head(&mut self) {
        let document = self.document;
        if document.policy.allows_simulated() {
            self.warn(
                "lint.simulated",
                document.line("allow_simulated"),
                "simulated machines can be accepted: nothing about them is confidential",
            );
        }
        for (index, check) in document.policy.ignored().iter().enumerate() {
            self.warn(
                "lint.ignored",
                document.entry_line("ignore", index),
                format!("`{check}` is left out; every verdict lists it"),
            );
        }
        if document.item("roots.extra").is_some() {
            self.warn(
                "lint.extra_root",
                document.entry_line("roots.extra", 0),
                "a root that isn't AMD's is relied on",
            );
        }
    }

    fn snp(&mut self) {
        let document = self.document;
        let policy = &document.policy;
        if policy.products().contains(&Product::Milan) {
            self.warn(
                "lint.milan",
                document.line("snp.products"),
                "Milan is allowed: its secret keys can be extracted by software, and no report shows whether they were",
            );
        }
        let old: Vec<_> = document
            .list_at("snp.report_versions")
            .into_iter()
            .filter(|version| version == "2" || version == "4")
            .collect();
        for version in old {
            self.warn(
                "lint.report_version",
                document.line("snp.report_versions"),
                format!("reports of version {version} are allowed, which current firmware doesn't write"),
            );
        }
        match policy.crl_mode() {
            "off" => self.warn(
                "lint.crl",
                document.line("snp.crl"),
                "no revocation list is looked at: a revoked key is accepted",
            ),
            "soft" => self.warn(
                "lint.crl",
                document.line("snp.crl"),
                "evidence without a revocation list is accepted; \"hard\" demands one",
            ),
            _ => {}
        }
        let pins_chips = policy.pins().iter().any(|pin| pin.check == "snp.chip_id");
        if policy.key_kind() != "vcek" && !pins_chips {
            self.warn(
                "lint.no_chips",
                document.line("snp.key"),
                "VLEKs are accepted and no chip is pinned: the provider's key can speak for every machine of theirs",
            );
        }
        self.tcb();
        for (bit, wanted, why) in [
            ("debug", "clear", "the host may look into the guest's memory"),
            ("migrate_ma", "clear", "a migration agent may move the guest"),
            ("cxl", "clear", "the guest's memory may be on an expansion card"),
        ] {
            let path = format!("snp.guest_policy.{bit}");
            if document.text_at(&path) != Some(wanted) {
                self.warn("lint.guest_policy", document.line(&path), why);
            }
        }
        let path = "snp.platform_info.alias_check_complete";
        if document.text_at(path) != Some("set") {
            self.warn(
                "lint.platform_info",
                document.line(path),
                "memory that wasn't checked for aliases is accepted (BadRAM, CVE-2024-21944)",
            );
        }
    }

    /// Floors below the newest profile, whether by name or by numbers.
    fn tcb(&mut self) {
        let document = self.document;
        let Some(newest) = PROFILES.last() else { return };
        let old: Vec<_> = document
            .policy
            .products()
            .iter()
            .filter(|product| {
                document
                    .policy
                    .tcb_floor(**product)
                    .is_some_and(|floor| TcbProfile::met_by(floor, **product) != Some(newest))
            })
            .map(ToString::to_string)
            .collect();
        if old.is_empty() {
            return;
        }
        let path = if document.item("snp.tcb_profile").is_some() {
            "snp.tcb_profile"
        } else {
            "snp.tcb_floor"
        };
        self.warn(
            "lint.tcb_old",
            document.line(path),
            format!(
                "the floor of {} is below the newest profile, {}",
                old.join(", "),
                newest.name
            ),
        );
    }

    fn set(&mut self, set: &Set) {
        let document = self.document;
        let path = set.path();
        if document.item(&path).is_none() {
            return;
        }
        let pins: Vec<Pin> = document
            .policy
            .pins()
            .into_iter()
            .filter(|pin| pin.check == set.check)
            .collect();
        if pins.is_empty() {
            self.warn(
                "lint.no_pin",
                document.line(&path),
                format!("no {} are pinned: {}", set.what, consequence(set)),
            );
            return;
        }
        for (index, pin) in pins.iter().enumerate() {
            if pin.window.not_after < self.at {
                self.warn(
                    "lint.expired",
                    document.entry_line(&path, index),
                    format!(
                        "this pin ended at {}; remove it, or renew it",
                        pin.window.not_after
                    ),
                );
            }
        }
        let current: Vec<&Pin> = pins.iter().filter(|pin| pin.window.contains(self.at)).collect();
        let Some(last) = current.iter().map(|pin| pin.window.not_after).max() else {
            self.warn(
                "lint.none_current",
                document.entry_line(&path, 0),
                format!(
                    "none of the pinned {} counts at {}: {}",
                    set.what,
                    self.at,
                    consequence(set)
                ),
            );
            return;
        };
        if last.as_secs().saturating_sub(self.at.as_secs()) <= SOON {
            self.warn(
                "lint.all_end_soon",
                document.entry_line(&path, 0),
                format!(
                    "the last pin of {} ends at {last}: from then on {}",
                    set.what,
                    consequence(set)
                ),
            );
        }
        let first = current.first().map(|pin| &pin.release);
        let one_release = current.iter().all(|pin| Some(&pin.release) == first);
        // Shapes of one release are one release; measurements without a name are one each.
        let unnamed = current.iter().filter(|pin| pin.release.is_none()).count();
        if set.name == "launch" && one_release && unnamed <= 1 {
            let release = current
                .first()
                .and_then(|pin| pin.release.as_deref())
                .unwrap_or("this one");
            self.warn(
                "lint.one_release",
                document.entry_line(&path, 0),
                format!("only one release is pinned ({release}, until {last}): the next roll-over will block you; pin the next one before"),
            );
        }
    }
}

/// What follows if none of a set counts.
fn consequence(set: &Set) -> &'static str {
    match set.name {
        "rims" => "manifests whose signers expired are refused",
        _ => "every machine is refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const AT: UnixTime = UnixTime::from_secs(1_764_000_000); // 2025-11-24

    fn ids(text: &str) -> Vec<&'static str> {
        let document = PolicyDocument::parse(text.as_bytes().to_vec(), "test").unwrap();
        let warnings = lint(&document, AT);
        assert!(
            warnings.iter().all(|warning| IDS.contains(&warning.id)),
            "{warnings:?}"
        );
        let ids: BTreeSet<_> = warnings.iter().map(|warning| warning.id).collect();
        ids.into_iter().collect()
    }

    pub(super) fn has(text: &str, id: &str) -> bool {
        ids(text).contains(&id)
    }

    pub(super) fn production() -> String {
        bastide_verifier::shipped::PRODUCTION.to_owned()
    }

    fn pinned(not_after: &str, more: &str) -> String {
        let pin = |digit: &str, release: &str| {
            format!(
                "[[snp.launch]]\nmeasurement = \"{}\"\nrelease = \"{release}\"\nnot_before = 2025-01-01\nnot_after = {not_after}\nreason = \"r\"\n",
                digit.repeat(96)
            )
        };
        let pins = if more.is_empty() {
            pin("a", "v1")
        } else {
            format!("{}{}", pin("a", "v1"), pin("b", more))
        };
        production()
            .replace("launch = []\n", "")
            .replace("[model]\n", &format!("{pins}[model]\n"))
    }

    #[test]
    fn a_pin_that_is_alone_about_to_end_or_over_is_warned_about() {
        assert!(has(&production(), "lint.no_pin"));
        assert!(has(&pinned("2027-01-01", ""), "lint.one_release"));
        assert!(!has(&pinned("2027-01-01", "v2"), "lint.one_release"));
        assert!(
            has(&pinned("2027-01-01", "v1"), "lint.one_release"),
            "two shapes of one release"
        );
        assert!(has(&pinned("2025-12-20", "v2"), "lint.all_end_soon"));
        assert!(!has(&pinned("2025-12-26", "v2"), "lint.all_end_soon"));
        let over = pinned("2025-11-01", "v2");
        assert!(has(&over, "lint.expired") && has(&over, "lint.none_current"));
    }

    #[test]
    fn weak_choices_are_warned_about_and_the_regulated_policy_has_none() {
        for (from, to, id) in [
            ("crl = \"soft\"", "crl = \"off\"", "lint.crl"),
            ("debug = \"clear\" ", "debug = \"any\" ", "lint.guest_policy"),
            (
                "alias_check_complete = \"set\"",
                "alias_check_complete = \"any\"",
                "lint.platform_info",
            ),
            ("amd-2026-02\"", "amd-2025-02\"", "lint.tcb_old"),
            (
                "report_versions = [3, 5]",
                "report_versions = [3, 4, 5]",
                "lint.report_version",
            ),
            (
                "key = \"vcek\"",
                "key = \"vlek\"\nvlek_providers = [\"AWS\"]",
                "lint.no_chips",
            ),
        ] {
            let text = production().replace(from, to);
            assert_ne!(text, production(), "{from}");
            assert!(ids(&text).contains(&id), "{id} for {to}");
            let before = ids(&production());
            assert!(id == "lint.crl" || !before.contains(&id), "{id}");
        }
        assert_eq!(ids(bastide_verifier::shipped::REGULATED), ["lint.no_pin"]);
        let development = ids(bastide_verifier::shipped::DEVELOPMENT);
        assert!(development.contains(&"lint.simulated") && development.contains(&"lint.extra_root"));
    }

    #[test]
    fn warnings_name_their_lines() {
        let document = PolicyDocument::read("production").unwrap();
        for warning in lint(&document, AT) {
            let line = document.text().lines().nth(warning.line - 1).unwrap();
            let key = match warning.id {
                "lint.ignored" => "ignore",
                "lint.crl" => "crl",
                "lint.no_pin" if line.starts_with("launch") => "launch",
                "lint.no_pin" => "manifests",
                other => panic!("{other}"),
            };
            assert!(line.starts_with(key), "{} at {line}", warning.id);
        }
    }
}
