//! Where receipts come from: files, and the ledger, which has the evidence, too.
//! A receipt is one only if its signature verifies.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bastide_attestation::pipeline::{PipelineClaims, SignedPart};
use bastide_attestation::{Receipt, ReceiptError, Salt};

use crate::fault::{Fault, with_causes};
use crate::file;
use crate::ledger::LedgerFile;
use crate::ledger::record::{self, Entry, Kept};
use crate::ledger::store::{Store, View, WAIT};

const MAX_RECEIPT_FILE_BYTES: usize = 64 * 1024;
/// Envelopes of one stage that are looked at for a receipt's key.
const MAX_OF_STAGE: usize = 64;
const LEDGER: &str = "ledger:";
/// A digest's first digits that are enough to name it, and no entry's number.
const LEAST_DIGITS: usize = 8;

/// A receipt, as it is named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file.
    File(PathBuf),
    /// One of the ledger's.
    Ledger(Selector),
}

/// Which of the ledger's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selector {
    /// The latest.
    Last,
    /// The number of its entry.
    Entry(u64),
    /// Its number in its boot; the latest of them.
    Sequence(u64),
    /// The first digits of its digest.
    Digest(String),
}

impl FromStr for Source {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(rest) = text.strip_prefix(LEDGER) else {
            return Ok(Self::File(text.into()));
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let selector = match rest {
            "last" => Selector::Last,
            _ if rest.len() >= LEAST_DIGITS && rest.len() <= 64 && digits(rest) => {
                Selector::Digest(rest.to_ascii_lowercase())
            }
            _ => match rest.strip_prefix("seq=").map(str::parse) {
                Some(Ok(sequence)) => Selector::Sequence(sequence),
                Some(Err(_)) => return Err("expected a number after `ledger:seq=`"),
                None => Selector::Entry(rest.parse().map_err(|_| {
                    "expected `ledger:last`, the number of an entry, `seq=N`, or at least 8 digits of a digest"
                })?),
            },
        };
        Ok(Self::Ledger(selector))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Ledger(Selector::Last) => f.write_str("ledger:last"),
            Self::Ledger(Selector::Entry(number)) => write!(f, "{LEDGER}{number}"),
            Self::Ledger(Selector::Sequence(number)) => write!(f, "{LEDGER}seq={number}"),
            Self::Ledger(Selector::Digest(digits)) => write!(f, "{LEDGER}{digits}"),
        }
    }
}

impl Selector {
    fn names(&self, number: u64, kept: &Kept) -> bool {
        match self {
            Self::Last => true,
            Self::Entry(wanted) => *wanted == number,
            Self::Sequence(wanted) => *wanted == kept.sequence,
            Self::Digest(digits) => kept.digest.starts_with(digits.as_str()),
        }
    }
}

/// A receipt, and what was kept with it.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// How it was named.
    pub(crate) name: String,
    /// The receipt; its own signature verified.
    pub(crate) receipt: Receipt,
    /// The envelope of its statement, if the ledger has it.
    pub(crate) evidence: Option<Vec<u8>>,
    /// Its salt, if the ledger kept it.
    pub(crate) salt: Option<Salt>,
    /// Of a pipeline's receipt: the plan, if the ledger has it.
    pub(crate) plan: Option<Vec<u8>>,
    /// Of a pipeline's receipt: envelopes of its stages that the ledger has.
    pub(crate) stages: Vec<Vec<u8>>,
}

/// Reads receipts, in the order named.
///
/// # Errors
/// [`Fault`] if one can't be found or read, a rejection if a signature doesn't verify.
pub(crate) fn read(sources: &[Source], file: &LedgerFile) -> Result<Vec<Found>, Fault> {
    let in_ledger = sources.iter().any(|source| matches!(source, Source::Ledger(_)));
    let ledger = if in_ledger { Some(open(file)?) } else { None };
    sources
        .iter()
        .map(|source| match (source, &ledger) {
            (Source::File(path), _) => from_file(path),
            (Source::Ledger(selector), Some((view, entries))) => from_ledger(source, selector, view, entries),
            (Source::Ledger(_), None) => Err(Fault::internal("the ledger was not opened")),
        })
        .collect()
}

type Opened = (View, Vec<(u64, Entry)>);

fn open(file: &LedgerFile) -> Result<Opened, Fault> {
    let path = file.path()?;
    let view = Store::open_checked(&path, WAIT)?.view(&path)?;
    let entries = view.entries()?;
    Ok((view, entries))
}

/// A receipt out of its bytes.
///
/// # Errors
/// [`Fault`]: a rejection if the signature doesn't verify, else malformed.
pub(crate) fn verified(bytes: &[u8]) -> Result<Receipt, Fault> {
    Receipt::verify(bytes).map_err(|error| match error {
        ReceiptError::Signature => Fault::rejected("receipt.signature", with_causes(&error))
            .with_remedy("do not rely on it: it was altered, or was never signed by that key"),
        _ => Fault::malformed("receipt.malformed", with_causes(&error)),
    })
}

fn from_file(path: &Path) -> Result<Found, Fault> {
    let bytes = file::read(path, MAX_RECEIPT_FILE_BYTES)?;
    Ok(Found {
        name: path.display().to_string(),
        receipt: verified(&bytes)?,
        evidence: None,
        salt: None,
        plan: None,
        stages: Vec::new(),
    })
}

fn from_ledger(
    source: &Source,
    selector: &Selector,
    view: &View,
    entries: &[(u64, Entry)],
) -> Result<Found, Fault> {
    let mut named = entries.iter().rev().filter_map(|(number, entry)| match entry {
        Entry::Receipt(kept) if selector.names(*number, kept) => Some(kept),
        _ => None,
    });
    let Some(kept) = named.next() else {
        return Err(Fault::usage(
            "ledger.no_entry",
            format!("no receipt in the ledger is `{source}`"),
        )
        .with_remedy("`bastide ledger list --receipts` lists them"));
    };
    if matches!(selector, Selector::Digest(_)) && named.next().is_some() {
        return Err(
            Fault::usage("ledger.ambiguous", format!("`{source}` names several receipts"))
                .with_remedy("give more digits of the digest"),
        );
    }
    let evidence = match view.evidence_of(&kept.statement)? {
        Some(key) => view.envelope(&key)?.map(|envelope| envelope.bytes),
        None => None,
    };
    let receipt = verified(&kept.bytes())?;
    let (plan, stages) = match &receipt.claims().pipeline {
        Some(claims) => (
            view.plan(&claims.plan)?,
            of_stages(claims, &kept.node, view, entries)?,
        ),
        None => (None, Vec::new()),
    };
    Ok(Found {
        name: source.to_string(),
        receipt,
        evidence,
        salt: kept.salt.as_deref().and_then(|salt| salt.parse().ok()),
        plan,
        stages,
    })
}

/// Envelopes of the stages that have a part in a receipt: of the statements that
/// the parts name, then the latest that each stage of that head showed.
fn of_stages(
    claims: &PipelineClaims,
    head: &str,
    view: &View,
    entries: &[(u64, Entry)],
) -> Result<Vec<Vec<u8>>, Fault> {
    let mut keys: Vec<String> = Vec::new();
    for (number, part) in claims.parts.iter().enumerate() {
        if let Ok(part) = SignedPart::verify(part) {
            keys.extend(view.evidence_of(&part.claims().statement.to_string())?);
        }
        let name = record::stage_of(head, number);
        let shown = entries.iter().rev().filter_map(|(_, entry)| match entry {
            Entry::Appraisal(shown) if shown.node == name => shown.evidence.clone(),
            _ => None,
        });
        keys.extend(shown.take(MAX_OF_STAGE));
    }
    keys.sort();
    keys.dedup();
    let mut envelopes = Vec::new();
    for key in &keys {
        envelopes.extend(view.envelope(key)?.map(|envelope| envelope.bytes));
    }
    Ok(envelopes)
}

#[cfg(test)]
mod tests {
    use super::{Selector, Source};

    #[test]
    fn a_receipt_is_named_by_file_number_sequence_or_digest() {
        let ledger = |selector| Ok(Source::Ledger(selector));
        assert_eq!("a/b.cose".parse(), Ok(Source::File("a/b.cose".into())));
        assert_eq!("ledger:last".parse(), ledger(Selector::Last));
        assert_eq!("ledger:17".parse(), ledger(Selector::Entry(17)));
        assert_eq!("ledger:seq=0".parse(), ledger(Selector::Sequence(0)));
        let digest = Selector::Digest("9f86d081".to_owned());
        assert_eq!("ledger:9F86D081".parse(), ledger(digest));
        for text in [
            "ledger:",
            "ledger:x",
            "ledger:9f86d08",
            "ledger:seq=x",
            "ledger:-1",
        ] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }
}
