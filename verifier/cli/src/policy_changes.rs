//! What one policy demands and another doesn't, key by key: whether a change
//! tightens, loosens, or is simply another demand. Compares meanings, not
//! texts: comments, order and spaces are none.

use std::collections::BTreeSet;

use bastide_attestation::snp::Product;
use bastide_verifier::Pin;
use serde::Serialize;

use crate::policy_document::PolicyDocument;

mod gpu;

/// Which way a change goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    /// Evidence may pass that didn't.
    Loosened,
    /// Neither contains the other.
    Changed,
    /// Evidence may be refused that wasn't.
    Tightened,
    /// Words alone: no evidence is judged differently.
    Wording,
}

impl Direction {
    /// In a word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Loosened => "loosened",
            Self::Changed => "changed",
            Self::Tightened => "tightened",
            Self::Wording => "wording",
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// Which way it goes.
    pub(crate) direction: Direction,
    /// The key of the policy.
    pub(crate) key: String,
    /// What the old one says.
    pub(crate) old: String,
    /// What the new one says.
    pub(crate) new: String,
}

/// Every change, loosened ones first.
pub(crate) fn changes(old: &PolicyDocument, new: &PolicyDocument) -> Vec<Change> {
    let mut pair = Pair {
        old,
        new,
        changes: Vec::new(),
    };
    pair.head();
    pair.roots();
    pair.snp();
    pair.floors();
    pair.bits("snp.guest_policy");
    pair.bits("snp.platform_info");
    pair.gpu();
    pair.pins();
    pair.changes.sort_by(|one, other| {
        (one.direction, &one.key, &one.old, &one.new).cmp(&(
            other.direction,
            &other.key,
            &other.old,
            &other.new,
        ))
    });
    pair.changes
}

struct Pair<'d> {
    old: &'d PolicyDocument,
    new: &'d PolicyDocument,
    changes: Vec<Change>,
}

const NOTHING: &str = "–";

impl Pair<'_> {
    fn add(
        &mut self,
        direction: Direction,
        key: impl Into<String>,
        old: impl Into<String>,
        new: impl Into<String>,
    ) {
        self.changes.push(Change {
            direction,
            key: key.into(),
            old: old.into(),
            new: new.into(),
        });
    }

    fn head(&mut self) {
        let (old, new) = (&self.old.policy, &self.new.policy);
        for (key, old, new) in [
            ("name", old.name(), new.name()),
            ("description", old.description(), new.description()),
        ] {
            if old != new {
                let (old, new) = (old.to_owned(), new.to_owned());
                self.add(Direction::Wording, key, old, new);
            }
        }
        let (before, after) = (old.allows_simulated(), new.allows_simulated());
        if before != after {
            let direction = if after {
                Direction::Loosened
            } else {
                Direction::Tightened
            };
            self.add(
                direction,
                "allow_simulated",
                before.to_string(),
                after.to_string(),
            );
        }
        let list = |ignored: &[String]| ignored.iter().cloned().collect();
        let (before, after) = (list(old.ignored()), list(new.ignored()));
        self.list("ignore", &before, &after);
        let platform = |document: &PolicyDocument| document.item("azure").is_some();
        if platform(self.old) != platform(self.new) {
            let word = |azure: bool| if azure { "Azure VMs" } else { "bare guests" };
            let (before, after) = (word(platform(self.old)), word(platform(self.new)));
            self.add(Direction::Changed, "azure", before, after);
        }
    }

    /// Lists of what is accepted: more is looser.
    fn list(&mut self, key: &str, old: &BTreeSet<String>, new: &BTreeSet<String>) {
        for added in new.difference(old) {
            self.add(Direction::Loosened, key, NOTHING, added.clone());
        }
        for removed in old.difference(new) {
            self.add(Direction::Tightened, key, removed.clone(), NOTHING);
        }
    }

    fn roots(&mut self) {
        let describe = |document: &PolicyDocument| -> BTreeSet<String> {
            document
                .policy
                .anchors()
                .iter()
                .map(|anchor| {
                    let products: Vec<_> = anchor.products.iter().map(ToString::to_string).collect();
                    format!(
                        "{} for {:?} of {}: {}{}",
                        anchor.name,
                        anchor.issues,
                        products.join(", "),
                        anchor.root.spki,
                        if anchor.simulated { ", simulated" } else { "" }
                    )
                })
                .chain(gpu::roots(document))
                .collect()
        };
        let (before, after) = (describe(self.old), describe(self.new));
        self.list("roots", &before, &after);
    }

    fn snp(&mut self) {
        for key in [
            "snp.products",
            "snp.report_versions",
            "snp.vmpl",
            "snp.vlek_providers",
        ] {
            // A list that is absent is in `ignore`, or has no meaning beside `key`.
            if self.old.item(key).is_none() || self.new.item(key).is_none() {
                continue;
            }
            let set = |document: &PolicyDocument| document.list_at(key).into_iter().collect();
            let (before, after) = (set(self.old), set(self.new));
            self.list(key, &before, &after);
        }
        // From the narrowest to the widest; `None` where two are side by side.
        self.ranked("snp.key", &[("vcek", 0), ("vlek", 0), ("any", 1)]);
        self.ranked("snp.crl", &[("hard", 0), ("soft", 1), ("off", 2)]);
        self.ranked("snp.id_block", &[("forbid", 0), ("pinned", 1)]);
        self.ranked("snp.v2_product", &[]);
        self.ranked("session.key_exchange", &[("post_quantum", 0), ("any", 1)]);
        self.ranked("session.certificate", &[("web_pki", 0), ("any", 1)]);
    }

    /// A word that is one of several; those of one rank are side by side.
    fn ranked(&mut self, key: &str, ranks: &[(&str, u8)]) {
        let (Some(old), Some(new)) = (self.old.text_at(key), self.new.text_at(key)) else {
            return;
        };
        if old == new {
            return;
        }
        let rank = |word: &str| {
            ranks
                .iter()
                .find(|(known, _)| *known == word)
                .map(|(_, rank)| rank)
        };
        let direction = match (rank(old), rank(new)) {
            (Some(before), Some(after)) if before < after => Direction::Loosened,
            (Some(before), Some(after)) if before > after => Direction::Tightened,
            _ => Direction::Changed,
        };
        let (old, new) = (old.to_owned(), new.to_owned());
        self.add(direction, key, old, new);
    }

    /// Floors as they count, whether by name or by numbers.
    fn floors(&mut self) {
        for product in Product::ALL {
            let (old, new) = (
                self.old.policy.tcb_floor(product),
                self.new.policy.tcb_floor(product),
            );
            let (Some(old), Some(new)) = (old, new) else {
                continue;
            };
            if old == new {
                continue;
            }
            let direction = match (old.meets(new), new.meets(old)) {
                (true, false) => Direction::Loosened,
                (false, true) => Direction::Tightened,
                _ => Direction::Changed,
            };
            let (old, new) = (old.to_string(), new.to_string());
            self.add(direction, format!("snp.tcb_floor.{product}"), old, new);
        }
    }

    fn bits(&mut self, section: &str) {
        for bit in self.old.keys(section) {
            let key = format!("{section}.{bit}");
            let (Some(old), Some(new)) = (self.old.text_at(&key), self.new.text_at(&key)) else {
                continue;
            };
            let direction = match (old, new) {
                (old, new) if old == new => continue,
                (_, "any") => Direction::Loosened,
                ("any", _) => Direction::Tightened,
                _ => Direction::Changed,
            };
            let (old, new) = (old.to_owned(), new.to_owned());
            self.add(direction, key, old, new);
        }
    }

    /// Pins by check and value. A set that `ignore` leaves out accepts all: that
    /// it comes or goes is said by `ignore`, or of a whole section by its key.
    fn pins(&mut self) {
        let (old, new) = (self.old.policy.pins(), self.new.policy.pins());
        let ignored = |document: &PolicyDocument, check: &str| {
            let without_gpus = check.starts_with("gpu.") && document.item("gpu").is_none();
            without_gpus || document.policy.ignored().iter().any(|ignored| ignored == check)
        };
        for pin in &new {
            match old.iter().find(|other| is_same(other, pin)) {
                Some(before) => self.pin(before, pin),
                None if ignored(self.old, pin.check) => {}
                None => self.add(Direction::Loosened, pin.check, NOTHING, describe(pin)),
            }
        }
        for pin in &old {
            if !new.iter().any(|other| is_same(other, pin)) && !ignored(self.new, pin.check) {
                self.add(Direction::Tightened, pin.check, describe(pin), NOTHING);
            }
        }
    }

    /// One value in both: its window, and what is said of it.
    fn pin(&mut self, old: &Pin, new: &Pin) {
        let key = format!("{} {}", new.check, new.value);
        let (before, after) = (old.window, new.window);
        if before != after {
            let (starts_earlier, starts_later) = (
                after.not_before < before.not_before,
                after.not_before > before.not_before,
            );
            let (ends_later, ends_earlier) = (
                after.not_after > before.not_after,
                after.not_after < before.not_after,
            );
            let direction = match (starts_earlier || ends_later, starts_later || ends_earlier) {
                (true, false) => Direction::Loosened,
                (false, true) => Direction::Tightened,
                _ => Direction::Changed,
            };
            self.add(direction, key.clone(), before.to_string(), after.to_string());
        }
        let said = |pin: &Pin| {
            let parts = [
                pin.release.as_deref(),
                pin.shape.as_deref(),
                Some(pin.reason.as_str()),
            ];
            parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
        };
        if said(old) != said(new) {
            self.add(Direction::Wording, key, said(old), said(new));
        }
    }
}

fn is_same(one: &Pin, other: &Pin) -> bool {
    one.check == other.check && one.value == other.value
}

fn describe(pin: &Pin) -> String {
    let mut text = format!("{} {}", pin.value, pin.window);
    for part in [&pin.release, &pin.shape].into_iter().flatten() {
        text.push_str(&format!(", {part}"));
    }
    text.push_str(&format!(", {}", pin.reason));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn document(text: &str) -> PolicyDocument {
        PolicyDocument::parse(text.as_bytes().to_vec(), "test").unwrap()
    }

    pub(super) fn production() -> String {
        bastide_verifier::shipped::PRODUCTION.to_owned()
    }

    fn launch(not_before: &str, not_after: &str) -> String {
        production().replace("launch = []\n", "").replace(
            "[model]\n",
            &format!(
                "[[snp.launch]]\nmeasurement = \"{}\"\nnot_before = {not_before}\nnot_after = {not_after}\nreason = \"r\"\n[model]\n",
                "ab".repeat(48)
            ),
        )
    }

    #[test]
    fn each_change_goes_its_way_and_back_goes_the_other_way() {
        use Direction::{Changed, Loosened, Tightened};
        let base = launch("2026-01-01", "2026-12-31");
        for (from, to, key, direction) in [
            (
                "allow_simulated = false",
                "allow_simulated = true",
                "allow_simulated",
                Loosened,
            ),
            (
                "\"snp.host_data\", ",
                "\"snp.host_data\", \"snp.vmpl\", ",
                "ignore",
                Loosened,
            ),
            (
                "report_versions = [3, 5]",
                "report_versions = [5]",
                "snp.report_versions",
                Tightened,
            ),
            ("vmpl = [0]", "vmpl = [0, 1]", "snp.vmpl", Loosened),
            ("crl = \"soft\"", "crl = \"hard\"", "snp.crl", Tightened),
            ("crl = \"soft\"", "crl = \"off\"", "snp.crl", Loosened),
            ("amd-2026-02\"", "amd-2025-02\"", "snp.tcb_floor.genoa", Loosened),
            (
                "debug = \"clear\" ",
                "debug = \"any\" ",
                "snp.guest_policy.debug",
                Loosened,
            ),
            (
                "ecc = \"any\"",
                "ecc = \"set\"",
                "snp.platform_info.ecc",
                Tightened,
            ),
            (
                "debug = \"clear\" ",
                "debug = \"set\" ",
                "snp.guest_policy.debug",
                Changed,
            ),
            (
                "not_after = 2026-12-31",
                "not_after = 2027-12-31",
                "snp.launch_measurement",
                Loosened,
            ),
            (
                "not_before = 2026-01-01",
                "not_before = 2026-02-01",
                "snp.launch_measurement",
                Tightened,
            ),
            (
                "amd = [\"genoa\", \"bergamo\", \"turin\"]",
                "amd = [\"milan\", \"genoa\", \"bergamo\", \"turin\"]",
                "roots",
                Loosened,
            ),
            (
                "measurement = \"ab",
                "measurement = \"cd",
                "snp.launch_measurement",
                Loosened,
            ),
        ] {
            let mut text = base.replacen(from, to, 1);
            assert_ne!(text, base, "{from}");
            if key == "ignore" {
                text = text.replace("vmpl = [0]\n", "");
            }
            let (old, new) = (document(&base), document(&text));
            let find = |changes: Vec<Change>| {
                changes
                    .into_iter()
                    .find(|change| change.key.starts_with(key))
                    .unwrap_or_else(|| panic!("{key}"))
                    .direction
            };
            assert_eq!(find(changes(&old, &new)), direction, "{to}");
            let back = match (direction, key) {
                // Another value instead of the one: one comes, one goes, both ways.
                (Loosened, _) if from.contains("measurement") => Loosened,
                (Loosened, _) => Tightened,
                (Tightened, _) => Loosened,
                (other, _) => other,
            };
            assert_eq!(find(changes(&new, &old)), back, "{to} and back");
        }
    }

    #[test]
    fn words_are_no_demands_and_comments_are_nothing() {
        let text = launch("2026-01-01", "2026-12-31");
        let old = document(&text);
        assert!(changes(&old, &document(&format!("{text}# more\n"))).is_empty());
        let renamed = text
            .replace("name = \"production\"", "name = \"ours\"")
            .replace("reason = \"r\"", "reason = \"s\"");
        let all = changes(&old, &document(&renamed));
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all.iter().all(|change| change.direction == Direction::Wording));
    }

    #[test]
    fn every_shipped_policy_differs_from_every_other_and_not_from_itself() {
        for (one, text) in bastide_verifier::shipped::POLICIES {
            for (other, other_text) in bastide_verifier::shipped::POLICIES {
                let changes = changes(&document(text), &document(other_text));
                assert_eq!(changes.is_empty(), one == other, "{one} and {other}");
            }
        }
        // Regulated is production with more demanded.
        let stricter = changes(
            &document(bastide_verifier::shipped::PRODUCTION),
            &document(bastide_verifier::shipped::REGULATED),
        );
        assert!(
            stricter
                .iter()
                .all(|change| matches!(change.direction, Direction::Tightened | Direction::Wording)),
            "{stricter:?}"
        );
    }
}
