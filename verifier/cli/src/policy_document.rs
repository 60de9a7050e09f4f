//! A policy as a document: where its keys stand, and what is written at them.
//! Read only after the verifier accepted the same bytes, so that what isn't
//! there can't be meant; judges nothing.

use bastide_verifier::Policy;
use toml_edit::{Document, Item, TableLike, Value};

use crate::fault::Fault;
use crate::policy_source;

/// Sets of pins: where each stands, the key of its value, and its check.
pub(crate) const SETS: [Set; 8] = [
    Set {
        section: "snp",
        name: "launch",
        value: "measurement",
        check: "snp.launch_measurement",
        what: "launch measurements",
    },
    Set {
        section: "snp",
        name: "chips",
        value: "chip_id",
        check: "snp.chip_id",
        what: "chips",
    },
    Set {
        section: "snp",
        name: "id_keys",
        value: "digest",
        check: "snp.id_block",
        what: "ID keys",
    },
    Set {
        section: "snp",
        name: "author_keys",
        value: "digest",
        check: "snp.author_key",
        what: "author keys",
    },
    Set {
        section: "snp",
        name: "host_data",
        value: "value",
        check: "snp.host_data",
        what: "host data",
    },
    Set {
        section: "model",
        name: "manifests",
        value: "manifest",
        check: "model.manifest",
        what: "model manifests",
    },
    Set {
        section: "gpu",
        name: "devices",
        value: "ueid",
        check: "gpu.device",
        what: "GPUs and NVSwitches",
    },
    Set {
        section: "gpu",
        name: "rims",
        value: "sha256",
        check: "gpu.rim.validity",
        what: "reference manifests",
    },
];

/// One set of pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Set {
    /// The table that it is in.
    pub(crate) section: &'static str,
    /// Its key there.
    pub(crate) name: &'static str,
    /// The key of the value in an entry.
    pub(crate) value: &'static str,
    /// The check that it decides.
    pub(crate) check: &'static str,
    /// What is pinned, in the plural.
    pub(crate) what: &'static str,
}

impl Set {
    /// The set's place in a policy, `snp.launch`.
    pub(crate) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }
}

/// A policy that the verifier accepts, and its text.
#[derive(Debug)]
pub(crate) struct PolicyDocument {
    /// What it means.
    pub(crate) policy: Policy,
    toml: Document<String>,
}

impl PolicyDocument {
    /// Reads a policy file or a shipped policy.
    ///
    /// # Errors
    /// [`Fault`] as [`policy_source::load`] gives it.
    pub(crate) fn read(named: &str) -> Result<Self, Fault> {
        let bytes = match bastide_verifier::shipped::by_name(named) {
            Some(text) => text.as_bytes().to_vec(),
            None => policy_source::read(named)?,
        };
        Self::parse(bytes, named)
    }

    /// Reads a policy's bytes.
    ///
    /// # Errors
    /// [`Fault`] of malformed input naming the line.
    pub(crate) fn parse(bytes: Vec<u8>, named: &str) -> Result<Self, Fault> {
        let policy = policy_source::parse(&bytes, named)?;
        let unusual = |error: &dyn std::error::Error| {
            Fault::internal(format!(
                "policy `{named}` was read by one parser and not by another: {error}"
            ))
        };
        let text = String::from_utf8(bytes).map_err(|error| unusual(&error))?;
        let toml = Document::parse(text).map_err(|error| unusual(&error))?;
        Ok(Self { policy, toml })
    }

    /// Its text.
    pub(crate) fn text(&self) -> &str {
        self.toml.raw()
    }

    fn section(&self, name: &str) -> Option<&dyn TableLike> {
        let mut table: &dyn TableLike = self.toml.as_table();
        for part in name.split('.').filter(|part| !part.is_empty()) {
            table = table.get(part)?.as_table_like()?;
        }
        Some(table)
    }

    /// What stands at `a.b.c`.
    pub(crate) fn item(&self, path: &str) -> Option<&Item> {
        let (section, key) = path.rsplit_once('.').unwrap_or(("", path));
        self.section(section)?.get(key)
    }

    /// Names of the keys in a table.
    pub(crate) fn keys(&self, section: &str) -> Vec<String> {
        self.section(section)
            .map(|table| table.iter().map(|(key, _)| key.to_owned()).collect())
            .unwrap_or_default()
    }

    /// The text at `a.b.c`, if there is one.
    pub(crate) fn text_at(&self, path: &str) -> Option<&str> {
        self.item(path)?.as_str()
    }

    /// The entries of the list at `a.b.c`, as they would be written.
    pub(crate) fn list_at(&self, path: &str) -> Vec<String> {
        let Some(values) = self.item(path).and_then(Item::as_array) else {
            return Vec::new();
        };
        values
            .iter()
            .map(|value| match value {
                Value::String(text) => text.value().clone(),
                other => other.to_string().trim().to_owned(),
            })
            .collect()
    }

    /// The tables of the list at `a.b.c`, in either way to write them.
    pub(crate) fn tables_at(&self, path: &str) -> Vec<&dyn TableLike> {
        match self.item(path) {
            Some(Item::ArrayOfTables(tables)) => tables.iter().map(|table| table as &dyn TableLike).collect(),
            Some(Item::Value(Value::Array(values))) => values
                .iter()
                .filter_map(|value| value.as_inline_table().map(|table| table as &dyn TableLike))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The line of the key `a.b.c`, from 1; of the table if the key isn't there.
    pub(crate) fn line(&self, path: &str) -> usize {
        let (section, key) = path.rsplit_once('.').unwrap_or(("", path));
        let span = self.section(section).and_then(|table| {
            let (key, item) = table.get_key_value(key)?;
            key.span().or_else(|| item.span())
        });
        span.map_or(1, |span| self.line_of(span.start))
    }

    fn line_of(&self, offset: usize) -> usize {
        1 + self
            .text()
            .bytes()
            .take(offset)
            .filter(|byte| *byte == b'\n')
            .count()
    }

    /// The line of an entry of a list or set, from 1.
    pub(crate) fn entry_line(&self, path: &str, index: usize) -> usize {
        let span = self.item(path).and_then(|item| match item {
            Item::ArrayOfTables(tables) => tables.get(index)?.span(),
            Item::Value(Value::Array(values)) => values.get(index)?.span(),
            _ => None,
        });
        span.map_or_else(|| self.line(path), |span| self.line_of(span.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_entries_have_lines() {
        let document = PolicyDocument::read("development").unwrap();
        let line = |wanted: &str| {
            1 + document
                .text()
                .lines()
                .position(|line| line.starts_with(wanted))
                .unwrap()
        };
        assert_eq!(document.line("ignore"), line("ignore ="));
        assert_eq!(document.line("snp.crl"), line("crl ="));
        assert_eq!(document.line("snp.guest_policy.debug"), line("debug ="));
        assert_eq!(document.entry_line("ignore", 1), line("ignore ="));
        assert_eq!(document.entry_line("snp.launch", 0), line("[[snp.launch]]"));
        assert_eq!(document.text_at("snp.key"), Some("vcek"));
        assert_eq!(document.list_at("snp.report_versions"), ["3", "5"]);
        assert_eq!(document.keys("roots"), ["amd", "extra", "gpu_extra"]);
    }

    #[test]
    fn every_set_of_the_verifier_is_known() {
        let document = PolicyDocument::read("development").unwrap();
        for pin in document.policy.pins() {
            assert!(SETS.iter().any(|set| set.check == pin.check), "{}", pin.check);
        }
    }
}
