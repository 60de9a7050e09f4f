//! Adds pins to a policy's text without touching anything else in it. What
//! comes out counts only once the verifier has read it again.

use toml_edit::{Array, ArrayOfTables, Datetime, DocumentMut, Item, Table, TableLike, Value, value};

use crate::fault::Fault;
use crate::policy_document::{SETS, Set};

/// Most pins that one file can bring.
const MAX_PINS: usize = 1024;

/// A pin to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewPin {
    /// Where it belongs.
    pub(crate) set: Set,
    /// Hex.
    pub(crate) value: String,
    /// Release and machine shape; for launch measurements.
    pub(crate) release: Option<String>,
    pub(crate) shape: Option<String>,
    /// When it counts.
    pub(crate) not_before: Datetime,
    pub(crate) not_after: Datetime,
    /// Why.
    pub(crate) reason: String,
}

/// Window and reason for pins that don't bring their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) release: Option<String>,
    pub(crate) shape: Option<String>,
    pub(crate) not_before: Option<Datetime>,
    pub(crate) not_after: Option<Datetime>,
    pub(crate) reason: Option<String>,
}

impl Terms {
    /// A pin on these terms.
    ///
    /// # Errors
    /// [`Fault`] of usage if a term is missing: a pin without end or reason is
    /// one that nobody reviews again.
    pub(crate) fn pin(&self, set: Set, value: String) -> Result<NewPin, Fault> {
        let missing = |name: &str| {
            Fault::usage(
                "policy.pin_terms",
                format!("a pin of {} needs {name}", set.what),
            )
            .with_remedy("say --not-before, --not-after and --reason, for example 2026-12-01, 2027-06-30 and the ticket")
        };
        let launch = set.name == "launch";
        Ok(NewPin {
            set,
            value,
            release: self.release.clone().filter(|_| launch),
            shape: self.shape.clone().filter(|_| launch),
            not_before: self.not_before.ok_or_else(|| missing("--not-before"))?,
            not_after: self.not_after.ok_or_else(|| missing("--not-after"))?,
            reason: self.reason.clone().ok_or_else(|| missing("--reason"))?,
        })
    }
}

impl NewPin {
    fn parts(&self) -> Vec<(&'static str, Item)> {
        let mut parts = vec![(self.set.value, value(self.value.clone()))];
        if let Some(release) = &self.release {
            parts.push(("release", value(release.clone())));
        }
        if let Some(shape) = &self.shape {
            parts.push(("shape", value(shape.clone())));
        }
        parts.push(("not_before", value(self.not_before)));
        parts.push(("not_after", value(self.not_after)));
        parts.push(("reason", value(self.reason.clone())));
        parts
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        for (key, item) in self.parts() {
            table.insert(key, item);
        }
        table
    }
}

/// The policy with the pins.
///
/// # Errors
/// [`Fault`] of malformed input if a set is something else than a set.
pub(crate) fn add(policy: &str, pins: &[NewPin]) -> Result<String, Fault> {
    let mut document: DocumentMut = policy
        .parse()
        .map_err(|error| Fault::malformed("policy.malformed", format!("policy: {error}")))?;
    for pin in pins {
        let set = pin.set;
        let section = document
            .as_table_mut()
            .entry(set.section)
            .or_insert_with(|| Item::Table(Table::new()));
        let wrong = || {
            Fault::malformed(
                "policy.malformed",
                format!("policy: `{}` is no set of pins", set.path()),
            )
        };
        let section = section.as_table_mut().ok_or_else(wrong)?;
        // Comments above `launch = []` stay above the first entry.
        let above = section
            .key(set.name)
            .and_then(|key| key.leaf_decor().prefix())
            .and_then(|prefix| prefix.as_str())
            .unwrap_or_default()
            .to_owned();
        match section.get_mut(set.name) {
            Some(Item::ArrayOfTables(tables)) => tables.push(pin.table()),
            Some(Item::Value(Value::Array(array))) if !array.is_empty() => inline(array, pin),
            Some(item @ Item::Value(Value::Array(_))) => {
                let mut tables = ArrayOfTables::new();
                let mut table = pin.table();
                if !above.trim().is_empty() {
                    table.decor_mut().set_prefix(above);
                }
                tables.push(table);
                *item = Item::ArrayOfTables(tables);
                if let Some(mut key) = section.key_mut(set.name) {
                    key.leaf_decor_mut().clear();
                }
            }
            None => {
                let mut tables = ArrayOfTables::new();
                tables.push(pin.table());
                section.insert(set.name, Item::ArrayOfTables(tables));
            }
            Some(_) => return Err(wrong()),
        }
    }
    Ok(document.to_string())
}

/// A set that somebody wrote as an array of inline tables stays one.
fn inline(array: &mut Array, pin: &NewPin) {
    let mut table = toml_edit::InlineTable::new();
    for (key, item) in pin.parts() {
        if let Ok(value) = item.into_value() {
            table.insert(key, value);
        }
    }
    let last = array.len().saturating_sub(1);
    let indent = array
        .get(last)
        .and_then(|entry| entry.decor().prefix()?.as_str().map(str::to_owned))
        .unwrap_or_default();
    let mut entry = Value::InlineTable(table);
    entry.decor_mut().set_prefix(indent);
    array.push_formatted(entry);
}

/// The pins of a file: sets in the form of a policy and nothing else, as
/// `bastide measure` writes them. What an entry leaves open, `terms` say.
///
/// # Errors
/// [`Fault`] naming the first thing that isn't a pin.
pub(crate) fn read(text: &str, named: &str, terms: &Terms) -> Result<Vec<NewPin>, Fault> {
    let wrong = |message: String| {
        Fault::malformed("policy.pins_malformed", format!("`{named}`: {message}")).with_remedy(
            "expected entries like those of a policy, for example [[snp.launch]], and nothing else",
        )
    };
    let document: DocumentMut = text.parse().map_err(|error| wrong(format!("{error}")))?;
    let mut pins = Vec::new();
    for (section, item) in document.as_table() {
        let table = item
            .as_table_like()
            .ok_or_else(|| wrong(format!("`{section}` is no table")))?;
        for (name, item) in table.iter() {
            let set = SETS
                .into_iter()
                .find(|set| set.section == section && set.name == name)
                .ok_or_else(|| wrong(format!("`{section}.{name}` is no set of pins")))?;
            let entries: Vec<&dyn TableLike> = match item {
                Item::ArrayOfTables(tables) => tables.iter().map(|table| table as &dyn TableLike).collect(),
                Item::Value(Value::Array(array)) => array
                    .iter()
                    .filter_map(|entry| entry.as_inline_table().map(|table| table as &dyn TableLike))
                    .collect(),
                _ => return Err(wrong(format!("`{}` is no set of pins", set.path()))),
            };
            for entry in entries {
                pins.push(of_entry(set, entry, terms, &wrong)?);
                if pins.len() > MAX_PINS {
                    return Err(wrong(format!("more than {MAX_PINS} pins")));
                }
            }
        }
    }
    if pins.is_empty() {
        return Err(wrong("there is no pin in it".to_owned()));
    }
    Ok(pins)
}

fn of_entry(
    set: Set,
    entry: &dyn TableLike,
    terms: &Terms,
    wrong: &impl Fn(String) -> Fault,
) -> Result<NewPin, Fault> {
    let mut own = terms.clone();
    let mut value = None;
    for (key, item) in entry.iter() {
        let text = || {
            item.as_str()
                .map(str::to_owned)
                .ok_or_else(|| wrong(format!("`{key}` of an entry of `{}` is no text", set.path())))
        };
        let time = || {
            item.as_datetime()
                .copied()
                .ok_or_else(|| wrong(format!("`{key}` of an entry of `{}` is no date", set.path())))
        };
        match key {
            key if key == set.value => value = Some(text()?),
            "release" => own.release = Some(text()?),
            "shape" => own.shape = Some(text()?),
            "reason" => own.reason = Some(text()?),
            "not_before" => own.not_before = Some(time()?),
            "not_after" => own.not_after = Some(time()?),
            _ => {
                return Err(wrong(format!(
                    "`{key}` is no key of an entry of `{}`",
                    set.path()
                )));
            }
        }
    }
    let value = value.ok_or_else(|| wrong(format!("an entry of `{}` lacks `{}`", set.path(), set.value)))?;
    own.pin(set, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bastide_verifier::{Policy, shipped};
    use proptest::prelude::*;

    fn terms() -> Terms {
        Terms {
            release: Some("v1".to_owned()),
            shape: None,
            not_before: Some("2026-11-25".parse().unwrap()),
            not_after: Some("2027-05-31".parse().unwrap()),
            reason: Some("ticket \"4711\"".to_owned()),
        }
    }

    fn set(name: &str) -> Set {
        SETS.into_iter().find(|set| set.name == name).unwrap()
    }

    #[test]
    fn pins_go_into_every_shipped_policy_and_every_comment_stays() {
        for (name, text) in shipped::POLICIES {
            let pins = [
                terms().pin(set("launch"), "ab".repeat(48)).unwrap(),
                terms().pin(set("launch"), "cd".repeat(48)).unwrap(),
            ];
            let pinned = add(text, &pins).unwrap();
            let policy =
                Policy::parse(pinned.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}\n{pinned}"));
            let before = Policy::parse(text.as_bytes()).unwrap().pins().len();
            assert_eq!(policy.pins().len(), before + 2, "{name}");
            assert!(!pinned.contains(" ]]"), "{name}: {pinned}");
            let lines: Vec<_> = pinned
                .lines()
                .filter(|line| line.starts_with("# The software"))
                .collect();
            assert!(lines.len() < 2, "{name}: a comment twice");
            let lost: Vec<_> = text
                .lines()
                .filter(|line| *line != "launch = []" && !pinned.lines().any(|other| other == *line))
                .collect();
            assert!(lost.is_empty(), "{name} lost {lost:?}");
            let again = add(&pinned, &pins[..1]).unwrap();
            assert!(
                Policy::parse(again.as_bytes()).is_err(),
                "{name}: the same pin twice"
            );
        }
    }

    #[test]
    fn a_set_of_inline_tables_stays_one_and_a_wrong_set_is_refused() {
        let entry =
            r#"{ measurement = "ab", not_before = 2026-01-01, not_after = 2027-01-01, reason = "r" }"#;
        let text = format!("[snp]\nlaunch = [\n    {entry},\n]\n");
        let pinned = add(&text, &[terms().pin(set("launch"), "cd".to_owned()).unwrap()]).unwrap();
        assert!(pinned.contains("\n    { measurement = \"cd\""), "{pinned}");
        assert!(!pinned.contains("[[snp.launch]]"), "{pinned}");
        for wrong in ["[snp]\nlaunch = 3\n", "snp = 1\n", "[snp"] {
            assert!(add(wrong, &[terms().pin(set("launch"), "cd".to_owned()).unwrap()]).is_err());
        }
    }

    #[test]
    fn a_file_of_pins_is_read_and_anything_else_in_it_is_refused() {
        let good = "# measured\n[[snp.launch]]\nmeasurement = \"ab\"\nshape = \"2vcpu\"\n\n[[model.manifests]]\nmanifest = \"cd\"\nreason = \"own\"\n";
        let pins = read(good, "pins.toml", &terms()).unwrap();
        assert_eq!(pins.len(), 2);
        assert_eq!(
            (pins[0].shape.as_deref(), pins[0].release.as_deref()),
            (Some("2vcpu"), Some("v1"))
        );
        assert_eq!((pins[1].reason.as_str(), &pins[1].release), ("own", &None));
        for bad in [
            "",
            "[[snp.launch]]\nmeasurement = 3\n",
            "[[snp.launch]]\nvalue = \"ab\"\n",
            "[[snp.lunch]]\nmeasurement = \"ab\"\n",
            "[snp]\nvmpl = [3]\n",
            "ignore = [\"snp.vmpl\"]\n",
            "[[snp.launch",
        ] {
            assert_eq!(
                read(bad, "pins.toml", &terms()).unwrap_err().code,
                "policy.pins_malformed"
            );
        }
        let open = Terms::default();
        assert_eq!(
            read(good, "pins.toml", &open).unwrap_err().code,
            "policy.pin_terms"
        );
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in ".{0,80}") {
            let _ = read(&text, "x", &terms());
            let _ = add(&text, &[terms().pin(set("chips"), "ab".to_owned()).unwrap()]);
        }

        #[test]
        fn a_reason_is_kept_whatever_it_is(reason in "\\PC{1,60}") {
            let terms = Terms { reason: Some(reason.clone()), ..terms() };
            let pinned = add(shipped::PRODUCTION, &[terms.pin(set("launch"), "ab".repeat(48)).unwrap()]).unwrap();
            if let Ok(policy) = Policy::parse(pinned.as_bytes()) {
                prop_assert_eq!(&policy.pins()[0].reason, &reason);
            } else {
                prop_assert!(reason.trim().is_empty());
            }
        }
    }
}
