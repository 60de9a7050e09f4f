//! The list of an exported directory: SHA-256 and name of each file, in the
//! form that `sha256sum --check` reads, strictly and in one spelling.

use core::fmt::Write as _;

use bastide_attestation::sha256;

use crate::item::ItemName;
use crate::store::MAX_ENTRIES;

/// File name of the list.
pub const FILE_NAME: &str = "endorsements.sha256";
/// Most bytes of a list.
pub const MAX_BYTES: usize = 1024 * 1024;
const HEADER: &str = "# bastide.endorsements/v1";

/// Why a list can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not text, or too much of it.
    #[error("expected text of at most {MAX_BYTES} bytes and {MAX_ENTRIES} lines")]
    TooLarge,
    /// The first line is another.
    #[error("expected the first line `{HEADER}`")]
    Header,
    /// A line that isn't 64 lower-case hex digits, two spaces and a name of an endorsement.
    #[error("line {line}: expected 64 lower-case hex digits, two spaces and the name of an endorsement")]
    Line {
        /// Which line, from 1.
        line: usize,
    },
    /// A line that isn't after the one before it.
    #[error("line {line}: expected names in order, none twice")]
    Order {
        /// Which line, from 1.
        line: usize,
    },
    /// The last line has no end.
    #[error("the last line is cut short")]
    Cut,
}

/// SHA-256 and name of each file of an export, by name, none twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest(Vec<(ItemName, [u8; 32])>);

impl Manifest {
    /// Of files and their bytes; the last of equal names counts.
    #[must_use]
    pub fn of<'a>(files: impl IntoIterator<Item = (ItemName, &'a [u8])>) -> Self {
        let by_name: std::collections::BTreeMap<String, (ItemName, [u8; 32])> = files
            .into_iter()
            .map(|(name, bytes)| (name.to_string(), (name, sha256(&[bytes]))))
            .collect();
        Self(by_name.into_values().collect())
    }

    /// Names and digests, by name.
    #[must_use]
    pub fn entries(&self) -> &[(ItemName, [u8; 32])] {
        &self.0
    }

    /// The text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for (name, digest) in &self.0 {
            // Writing to a string doesn't fail.
            let _ = writeln!(text, "{}  {name}", hex::encode(digest));
        }
        text
    }

    /// Reads a list. Whatever reads is spelt as [`Self::encode`] spells it.
    ///
    /// # Errors
    /// [`ManifestError`] names the first line that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_BYTES {
            return Err(ManifestError::TooLarge);
        }
        let text = core::str::from_utf8(bytes).map_err(|_| ManifestError::TooLarge)?;
        let rest = text.strip_prefix(HEADER).ok_or(ManifestError::Header)?;
        let rest = rest.strip_prefix('\n').ok_or(ManifestError::Header)?;
        let mut entries: Vec<(ItemName, [u8; 32])> = Vec::new();
        let mut before = String::new();
        for (index, line) in rest.split_inclusive('\n').enumerate() {
            let number = index + 2;
            let line = line.strip_suffix('\n').ok_or(ManifestError::Cut)?;
            if entries.len() == MAX_ENTRIES {
                return Err(ManifestError::TooLarge);
            }
            let (digest, name) = read_line(line).ok_or(ManifestError::Line { line: number })?;
            let spelt = name.to_string();
            if spelt <= before {
                return Err(ManifestError::Order { line: number });
            }
            before = spelt;
            entries.push((name, digest));
        }
        Ok(Self(entries))
    }
}

fn read_line(line: &str) -> Option<([u8; 32], ItemName)> {
    let (digits, name) = line.split_once("  ")?;
    let digest: [u8; 32] = hex::decode(digits).ok()?.try_into().ok()?;
    (hex::encode(digest) == digits).then_some(())?;
    Some((digest, name.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{name, nvidia};
    use proptest::prelude::*;

    const LINE: &str =
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  vcek-genoa-crl.der\n";

    #[test]
    fn a_list_is_what_sha256sum_writes_under_a_header() {
        let name: ItemName = "vcek-genoa-crl.der".parse().unwrap();
        let manifest = Manifest::of([(name, b"abc".as_slice())]);
        assert_eq!(manifest.encode(), format!("{HEADER}\n{LINE}"));
    }

    #[test]
    fn other_spellings_orders_and_cuts_are_named() {
        let decode = |text: &str| Manifest::decode(text.as_bytes()).unwrap_err();
        assert_eq!(decode(""), ManifestError::Header);
        assert_eq!(decode(LINE), ManifestError::Header);
        assert_eq!(decode(&format!("{HEADER}\r\n{LINE}")), ManifestError::Header);
        let line = ManifestError::Line { line: 2 };
        for bad in [
            LINE.to_uppercase(),
            LINE.replace("  ", " "),
            LINE.replace("  ", " *"),
            LINE.replace("vcek", "../vcek"),
            LINE.replacen('b', "", 1),
            "\n".to_owned(),
            format!("# comment\n{LINE}"),
        ] {
            assert_eq!(decode(&format!("{HEADER}\n{bad}")), line, "{bad}");
        }
        assert_eq!(
            decode(&format!("{HEADER}\n{LINE}{LINE}")),
            ManifestError::Order { line: 3 }
        );
        assert_eq!(
            decode(&format!("{HEADER}\n{}", LINE.trim_end())),
            ManifestError::Cut
        );
        assert_eq!(decode(&" ".repeat(MAX_BYTES + 1)), ManifestError::TooLarge);
        let mut many = format!("{HEADER}\n");
        for number in 0..=MAX_ENTRIES {
            let id = format!("{number:016x}").replace("0000000000000000", "ffffffffffffffff");
            many.push_str(&LINE.replace("genoa-crl", &format!("turin-{id}-01-02-03-04-05")));
        }
        assert!(matches!(
            decode(&many),
            ManifestError::TooLarge | ManifestError::Order { .. }
        ));
    }

    fn any_name() -> impl Strategy<Value = ItemName> {
        prop_oneof![
            name::tests::any_name().prop_map(ItemName::Amd),
            nvidia::any_name().prop_map(ItemName::Nvidia),
        ]
    }

    proptest! {
        #[test]
        fn lists_round_trip(names in prop::collection::vec((any_name(), any::<Vec<u8>>()), 0..8)) {
            let manifest = Manifest::of(names.iter().map(|(name, bytes)| (name.clone(), bytes.as_slice())));
            prop_assert_eq!(Manifest::decode(manifest.encode().as_bytes()), Ok(manifest));
        }

        #[test]
        fn what_decodes_is_spelt_the_one_way(at: prop::sample::Index, byte: u8) {
            let mut bytes = format!("{HEADER}\n{LINE}").into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(manifest) = Manifest::decode(&bytes) {
                prop_assert_eq!(manifest.encode().into_bytes(), bytes);
            }
        }

        #[test]
        fn decoding_never_panics(bytes: Vec<u8>) {
            let _ = Manifest::decode(&bytes);
            let _ = Manifest::decode(&[HEADER.as_bytes(), b"\n", &bytes].concat());
        }
    }
}
