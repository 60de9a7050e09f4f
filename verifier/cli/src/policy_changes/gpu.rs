//! Changes of a `[gpu]` section and of the roots that it relies on.

use std::collections::{BTreeMap, BTreeSet};

use toml_edit::Item;

use super::{Direction, NOTHING, Pair};
use crate::policy_document::PolicyDocument;

/// Roots of GPUs and of their manifests, as a change names them.
pub(super) fn roots(document: &PolicyDocument) -> Vec<String> {
    let nvidia = document.item("roots.nvidia").and_then(Item::as_bool);
    let mut roots = Vec::new();
    if nvidia == Some(true) {
        roots.push("NVIDIA's for GPUs and their manifests".to_owned());
    }
    for entry in document.tables_at("roots.gpu_extra") {
        let text = |key: &str| entry.get(key).and_then(Item::as_str).unwrap_or_default();
        let simulated = entry.get("simulated").and_then(Item::as_bool) == Some(true);
        roots.push(format!(
            "{} for GPUs: {}, their manifests: {}{}",
            text("name"),
            text("device_spki"),
            text("rim_spki"),
            if simulated { ", simulated" } else { "" }
        ));
    }
    roots
}

/// The oldest version of a line of versions, by the line.
type Minima = BTreeMap<String, Minimum>;

struct Minimum {
    version: String,
    order: Vec<u32>,
    reason: String,
}

impl Pair<'_> {
    pub(super) fn gpu(&mut self) {
        let count = |document: &PolicyDocument| match document.policy.gpu_count() {
            Some(count) => format!("machines with GPUs: {count}"),
            None => "machines without GPUs".to_owned(),
        };
        let (old, new) = (self.old.policy.gpu_count(), self.new.policy.gpu_count());
        if old != new {
            let key = if old.is_some() && new.is_some() {
                "gpu.count"
            } else {
                "gpu"
            };
            let (old, new) = (count(self.old), count(self.new));
            self.add(Direction::Changed, key, old, new);
        }
        if old.is_none() || new.is_none() {
            return;
        }
        for key in ["gpu.families", "gpu.modes"] {
            let (before, after) = (entries(self.old, key), entries(self.new, key));
            self.list(key, &before, &after);
        }
        self.ranked("gpu.rim_expiry", &[("strict", 0), ("grace", 1), ("pinned", 1)]);
        self.ranked("gpu.revocation", &[("hard", 0), ("soft", 1), ("off", 2)]);
        for key in ["gpu.rim_grace_days", "gpu.revocation_max_age_hours"] {
            self.most(key);
        }
        for (key, denied, line) in [
            (
                "gpu.drivers",
                "gpu.deny_drivers",
                driver as fn(&str) -> Option<Line>,
            ),
            ("gpu.vbioses", "gpu.deny_vbioses", vbios),
        ] {
            // A list that is absent is in `ignore`, which says that it came or went.
            if self.old.item(key).is_none() || self.new.item(key).is_none() {
                continue;
            }
            self.minima(key, &minima(self.old, key, line), &minima(self.new, key, line));
            // Lists of what is refused: more is tighter.
            let (before, after) = (entries(self.old, denied), entries(self.new, denied));
            for added in after.difference(&before) {
                self.add(Direction::Tightened, denied, NOTHING, added.clone());
            }
            for removed in before.difference(&after) {
                self.add(Direction::Loosened, denied, removed.clone(), NOTHING);
            }
        }
    }

    /// A number that is a most: the higher, the looser.
    fn most(&mut self, key: &str) {
        let number = |document: &PolicyDocument| document.item(key).and_then(Item::as_integer);
        let (Some(old), Some(new)) = (number(self.old), number(self.new)) else {
            return;
        };
        let direction = match old.cmp(&new) {
            core::cmp::Ordering::Less => Direction::Loosened,
            core::cmp::Ordering::Greater => Direction::Tightened,
            core::cmp::Ordering::Equal => return,
        };
        self.add(direction, key, old.to_string(), new.to_string());
    }

    /// What is older than its line's minimum is refused, as is a line without one.
    fn minima(&mut self, key: &str, old: &Minima, new: &Minima) {
        for (line, after) in new {
            let key = format!("{key} {line}");
            let Some(before) = old.get(line) else {
                self.add(Direction::Loosened, key, NOTHING, after.version.clone());
                continue;
            };
            let direction = match before.order.cmp(&after.order) {
                core::cmp::Ordering::Less => Some(Direction::Tightened),
                core::cmp::Ordering::Greater => Some(Direction::Loosened),
                core::cmp::Ordering::Equal => None,
            };
            if let Some(direction) = direction {
                self.add(
                    direction,
                    key.clone(),
                    before.version.clone(),
                    after.version.clone(),
                );
            }
            if before.reason != after.reason {
                self.add(
                    Direction::Wording,
                    key,
                    before.reason.clone(),
                    after.reason.clone(),
                );
            }
        }
        for (line, before) in old {
            if !new.contains_key(line) {
                self.add(
                    Direction::Tightened,
                    format!("{key} {line}"),
                    before.version.clone(),
                    NOTHING,
                );
            }
        }
    }
}

fn entries(document: &PolicyDocument, key: &str) -> BTreeSet<String> {
    document.list_at(key).into_iter().collect()
}

/// Name of a line of versions, and the place of one in it.
type Line = (String, Vec<u32>);

/// A driver's branch; numbers that are absent count as 0.
fn driver(version: &str) -> Option<Line> {
    const NUMBERS: usize = 4;
    let mut numbers: Vec<u32> = version
        .split('.')
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    numbers.resize(NUMBERS, 0);
    Some((format!("branch {}", numbers.first()?), numbers))
}

/// A VBIOS's generation.
fn vbios(version: &str) -> Option<Line> {
    let bytes: Vec<u32> = version
        .split('.')
        .map(|pair| u32::from_str_radix(pair, 16).ok())
        .collect::<Option<_>>()?;
    Some((format!("{:02X}", bytes.first()?), bytes))
}

fn minima(document: &PolicyDocument, key: &str, line: fn(&str) -> Option<Line>) -> Minima {
    let mut minima = Minima::new();
    for entry in document.tables_at(key) {
        let text = |key: &str| entry.get(key).and_then(Item::as_str);
        let version = text("minimum").unwrap_or_default();
        let Some((mut name, order)) = line(version) else {
            continue;
        };
        if let Some(project) = text("project") {
            name.push_str(&format!(" of project {project}"));
        }
        let (version, reason) = (version.to_owned(), text("reason").unwrap_or_default().to_owned());
        minima.insert(
            name,
            Minimum {
                version,
                order,
                reason,
            },
        );
    }
    minima
}

#[cfg(test)]
mod tests {
    use super::super::tests::{document, production};
    use super::super::{Direction, changes};

    #[test]
    fn each_change_of_the_section_goes_its_way_and_back_the_other_way() {
        use Direction::{Changed, Loosened, Tightened};
        let base = production();
        for (from, to, key, direction) in [
            ("count = 1\n", "count = 8\n", "gpu.count", Changed),
            (
                "[\"hopper\"]",
                "[\"hopper\", \"blackwell\"]",
                "gpu.families",
                Loosened,
            ),
            ("[\"spt\"]", "[\"spt\", \"ppcie\"]", "gpu.modes", Loosened),
            (
                "rim_expiry = \"strict\"",
                "rim_expiry = \"grace\"\nrim_grace_days = 9",
                "gpu.rim_expiry",
                Loosened,
            ),
            (
                "revocation = \"hard\"",
                "revocation = \"soft\"",
                "gpu.revocation",
                Loosened,
            ),
            (
                "max_age_hours = 48",
                "max_age_hours = 24",
                "gpu.revocation_max_age_hours",
                Tightened,
            ),
            ("550.90.07", "550.144.03", "gpu.drivers branch 550", Tightened),
            ("550.90.07", "550.9", "gpu.drivers branch 550", Loosened),
            ("96.00.9F.00.01", "96.00.A5.00.01", "gpu.vbioses 96", Tightened),
            (
                "families = ",
                "deny_drivers = [\"550.90.08\"]\nfamilies = ",
                "gpu.deny_drivers",
                Tightened,
            ),
            (
                "nvidia = true",
                "nvidia = true\n[[roots.gpu_extra]]\nname = \"x\"\ndevice_spki = \"abababababababababababababababababababababababababababababababab\"\nrim_spki = \"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\"\nsimulated = false",
                "roots",
                Loosened,
            ),
        ] {
            let text = base.replacen(from, to, 1);
            assert_ne!(text, base, "{from}");
            let (old, new) = (document(&base), document(&text));
            let found = changes(&old, &new);
            let [change] = &found[..] else {
                panic!("{to}: {found:?}")
            };
            assert_eq!((change.key.as_str(), change.direction), (key, direction), "{to}");
            let back = match direction {
                Loosened => Tightened,
                Tightened => Loosened,
                other => other,
            };
            assert_eq!(changes(&new, &old)[0].direction, back, "back from {to}");
        }
    }

    #[test]
    fn branches_that_come_and_go_and_other_words_are_told_apart() {
        let base = production();
        let more = base.replace(
            "[[gpu.vbioses]]",
            "[[gpu.drivers]]\nminimum = \"590.1\"\nreason = \"r\"\n\n[[gpu.vbioses]]",
        );
        let (old, new) = (document(&base), document(&more));
        assert_eq!(changes(&old, &new)[0].direction, Direction::Loosened);
        assert_eq!(changes(&new, &old)[0].direction, Direction::Tightened);
        let words = more.replace("reason = \"r\"", "reason = \"s\"");
        let found = changes(&new, &document(&words));
        assert_eq!((found.len(), found[0].direction), (1, Direction::Wording));
        // The same number with other zeros is the same minimum.
        let zeros = more.replace("590.1\"", "590.01.0\"");
        assert!(changes(&new, &document(&zeros)).is_empty());
    }

    #[test]
    fn a_section_that_comes_is_one_change_beside_its_roots() {
        let base = production();
        let (before, rest) = base.split_once("[gpu]\n").unwrap();
        let (_, after) = rest.split_once("[model]\n").unwrap();
        let without = format!("{before}[model]\n{after}")
            .replace("nvidia = true\n", "")
            .replace(", \"gpu.device\"", "");
        let device = "[[gpu.devices]]\nueid = \"4711\"\nnot_before = 2026-01-01\nnot_after = 2027-01-01\nreason = \"r\"\n";
        let with = base
            .replace(", \"gpu.device\"", "")
            .replace("[model]\n", &format!("{device}[model]\n"));
        let found = changes(&document(&without), &document(&with));
        let keys: Vec<_> = found.iter().map(|change| change.key.as_str()).collect();
        assert_eq!(keys, ["roots", "gpu"], "{found:?}");
        assert_eq!(found[1].new, "machines with GPUs: 1");
    }
}
