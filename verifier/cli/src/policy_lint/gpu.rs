//! What is worth a second look in a `[gpu]` section.

use toml_edit::Item;

use super::Lint;

/// GPUs and mode of the machines that there are, where the mode says how many.
const COUNTS: [(&str, i64); 2] = [("spt", 1), ("ppcie", 8)];

impl Lint<'_> {
    pub(super) fn gpu(&mut self) {
        let document = self.document;
        if document.item("roots.gpu_extra").is_some() {
            self.warn(
                "lint.extra_root",
                document.entry_line("roots.gpu_extra", 0),
                "a root of GPUs that isn't NVIDIA's is relied on",
            );
        }
        if document.item("gpu").is_none() {
            return;
        }
        self.modes();
        match document.policy.gpu_revocation() {
            Some("off") => self.warn(
                "lint.gpu_revocation",
                document.line("gpu.revocation"),
                "nobody asks whether a GPU's or a manifest's key was revoked: one that was is accepted",
            ),
            Some("soft") => self.warn(
                "lint.gpu_revocation",
                document.line("gpu.revocation"),
                "GPUs are accepted without a current answer about revocation; \"hard\" demands one",
            ),
            _ => {}
        }
        if document.policy.rim_expiry() == Some("grace") {
            let days = number(document.item("gpu.rim_grace_days")).unwrap_or_default();
            self.warn(
                "lint.rim_expiry",
                document.line("gpu.rim_expiry"),
                format!(
                    "manifests are accepted up to {days} days after their signers expired; NVIDIA signs them again before"
                ),
            );
        }
        for (path, what) in [("gpu.drivers", "driver"), ("gpu.vbioses", "VBIOS")] {
            if document.item(path).is_some() && document.tables_at(path).is_empty() {
                self.warn(
                    "lint.no_minimum",
                    document.line(path),
                    format!("no oldest {what} is named: every machine is refused"),
                );
            }
        }
    }

    /// Modes, and whether any of them has as many GPUs as are asked for.
    fn modes(&mut self) {
        let document = self.document;
        let modes = document.list_at("gpu.modes");
        let allows = |mode: &str| modes.iter().any(|allowed| allowed == mode);
        let count = number(document.item("gpu.count")).unwrap_or_default();
        if allows("ppcie") {
            self.warn(
                "lint.nvlink_plaintext",
                document.line("gpu.modes"),
                "\"ppcie\" is allowed: what GPUs exchange over NVLink is in the clear on the board",
            );
        }
        let fits = allows("mpt") || COUNTS.iter().any(|(mode, gpus)| allows(mode) && *gpus == count);
        if !fits {
            self.warn(
                "lint.gpu_count",
                document.line("gpu.count"),
                format!(
                    "no machine has {count} GPUs in {}: one has \"spt\", eight have \"ppcie\"; every machine is refused",
                    modes.join(" or ")
                ),
            );
        }
    }
}

fn number(item: Option<&Item>) -> Option<i64> {
    item?.as_integer()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{has, production};

    #[test]
    fn weak_choices_about_gpus_are_warned_about() {
        for (from, to, id) in [
            (
                "modes = [\"spt\"]",
                "modes = [\"ppcie\"]",
                "lint.nvlink_plaintext",
            ),
            ("modes = [\"spt\"]", "modes = [\"ppcie\"]", "lint.gpu_count"),
            ("count = 1", "count = 8", "lint.gpu_count"),
            (
                "rim_expiry = \"strict\"",
                "rim_expiry = \"grace\"\nrim_grace_days = 30",
                "lint.rim_expiry",
            ),
            (
                "revocation = \"hard\"",
                "revocation = \"soft\"",
                "lint.gpu_revocation",
            ),
            (
                "revocation = \"hard\"\nrevocation_max_age_hours = 48",
                "revocation = \"off\"",
                "lint.gpu_revocation",
            ),
            (
                "rim_expiry = \"strict\"",
                "rim_expiry = \"pinned\"\nrims = []",
                "lint.no_pin",
            ),
        ] {
            let text = production().replace(from, to);
            assert_ne!(text, production(), "{from}");
            assert!(has(&text, id), "{id} for {to}");
            assert!(id == "lint.no_pin" || !has(&production(), id), "{id}");
        }
        let eight = production()
            .replace("modes = [\"spt\"]", "modes = [\"ppcie\"]")
            .replace("count = 1\n", "count = 8\n");
        assert!(!has(&eight, "lint.gpu_count"));
        let several = production()
            .replace("modes = [\"spt\"]", "modes = [\"mpt\"]")
            .replace("count = 1\n", "count = 4\n");
        assert!(!has(&several, "lint.gpu_count"));
    }

    #[test]
    fn a_section_without_minima_and_a_root_of_ones_own_are_warned_about() {
        let text = production();
        let (before, rest) = text.split_once("[[gpu.drivers]]").unwrap();
        let (_, rest) = rest.split_once("[[gpu.vbioses]]").unwrap();
        let none = format!("{before}drivers = []\n[[gpu.vbioses]]{rest}");
        assert!(has(&none, "lint.no_minimum") && !has(&text, "lint.no_minimum"));
        let own = format!(
            "{text}\n[[roots.gpu_extra]]\nname = \"own\"\ndevice_spki = \"{}\"\nrim_spki = \"{}\"\nsimulated = false\n",
            "ab".repeat(32),
            "cd".repeat(32)
        );
        assert!(has(&own, "lint.extra_root") && !has(&text, "lint.extra_root"));
    }

    #[test]
    fn pinned_manifests_and_devices_that_end_are_warned_about() {
        let pin = |set: &str, value: &str, until: &str| {
            format!("[[gpu.{set}]]\n{value}\nnot_before = 2025-01-01\nnot_after = {until}\nreason = \"r\"\n")
        };
        for until in ["2025-11-01", "2025-12-20"] {
            let rim = pin("rims", &format!("sha256 = \"{}\"", "ab".repeat(32)), until);
            let text = production()
                .replace("rim_expiry = \"strict\"", "rim_expiry = \"pinned\"")
                .replace("[model]\n", &format!("{rim}[model]\n"));
            let device = pin("devices", "ueid = \"4711\"", until);
            let devices = production()
                .replace(", \"gpu.device\"", "")
                .replace("[model]\n", &format!("{device}[model]\n"));
            for text in [text, devices] {
                let id = match until {
                    "2025-11-01" => "lint.expired",
                    _ => "lint.all_end_soon",
                };
                assert!(has(&text, id), "{id}: {text}");
            }
        }
    }
}
