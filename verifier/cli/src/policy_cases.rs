//! Tests of a policy: pieces of recorded evidence, and what each must come to.
//! From files beside the evidence, or from a file with a `[[tests]]` table each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bastide_attestation::{Decision, UnixTime, Verdict};
use bastide_verifier::{Policy, Verifier};
use serde::{Deserialize, Serialize};
use toml::value::Datetime;

use crate::fault::{Fault, with_causes};
use crate::policy_document::PolicyDocument;
use crate::policy_edit::{self, Terms};
use crate::recorded::{self, Collateral, Recorded};
use crate::{advice, clock, file};

const SCHEMA: &str = "bastide.policy-tests/v1";
const ACCEPTED: &str = "accepted";
const MAX_FILE_BYTES: usize = 256 * 1024;
const MAX_CASES: usize = 1000;

/// One test.
#[derive(Debug)]
pub(crate) struct Case {
    /// For people.
    pub(crate) name: String,
    evidence: Recorded,
    at: Option<UnixTime>,
    /// `accepted` or a code; nothing if nobody said.
    expect: Option<String>,
    allow_simulated: bool,
    /// What is pinned before the evidence is judged, as if it had been reviewed.
    pin: Vec<Pinned>,
}

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Outcome {
    /// For people.
    pub(crate) name: String,
    /// What was decided.
    pub(crate) verdict: Decision,
    /// The rejection code, unless accepted.
    pub(crate) code: Option<&'static str>,
    /// What was expected, if anybody said.
    pub(crate) expected: Option<String>,
    /// Whether it came, if anybody said.
    pub(crate) met: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: String,
    tests: Vec<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    evidence: PathBuf,
    #[serde(default)]
    chain: Vec<PathBuf>,
    crl: Option<PathBuf>,
    at: Option<Datetime>,
    expect: String,
    #[serde(default)]
    allow_simulated: bool,
    #[serde(default)]
    pin: Vec<Pinned>,
}

/// What a test pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Pinned {
    Launch,
    Manifest,
    Chip,
    HostData,
    IdKey,
}

impl Pinned {
    /// The set in a policy, and the authenticated fact that goes into it.
    fn value(self, verdict: &Verdict) -> Option<(&'static str, &String)> {
        let snp = |name: &str| verdict.snp.as_ref()?.get(name);
        match self {
            Self::Launch => Some(("launch", snp("measurement")?)),
            Self::Chip => Some(("chips", snp("chip_id")?)),
            Self::HostData => Some(("host_data", snp("host_data")?)),
            Self::IdKey => Some(("id_keys", snp("id_key_digest")?)),
            Self::Manifest => Some(("manifests", verdict.session.as_ref()?.get("model")?)),
        }
    }
}

/// Tests of evidence that lies in files and folders.
///
/// # Errors
/// [`Fault`] if there is none, or an expectation is no code.
pub(crate) fn of_evidence(
    paths: &[PathBuf],
    collateral: &Collateral,
    allow_simulated: bool,
) -> Result<Vec<Case>, Fault> {
    recorded::find(paths, collateral)?
        .into_iter()
        .map(|evidence| {
            let name = evidence.path.display().to_string();
            if let Some(expect) = &evidence.expect {
                require_known(expect, &name)?;
            }
            Ok(Case {
                name,
                expect: evidence.expect.clone(),
                at: None,
                allow_simulated,
                pin: Vec::new(),
                evidence,
            })
        })
        .collect()
}

/// Tests of a file; its paths are relative to `root`, or to where it lies.
///
/// # Errors
/// [`Fault`] naming what is wrong with the file, or evidence that can't be read.
pub(crate) fn of_file(path: &Path, root: Option<&Path>) -> Result<Vec<Case>, Fault> {
    let named = path.display().to_string();
    let wrong = |message: String| Fault::malformed("policy.tests_malformed", format!("`{named}`: {message}"));
    let bytes = file::read(path, MAX_FILE_BYTES)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("expected UTF-8 text".to_owned()))?;
    let file: File = toml::from_str(text).map_err(|error| wrong(with_causes(&error)))?;
    if file.schema != SCHEMA {
        return Err(wrong(format!(
            "expected schema `{SCHEMA}`, got `{}`",
            file.schema
        )));
    }
    if file.tests.is_empty() || file.tests.len() > MAX_CASES {
        return Err(wrong(format!(
            "expected 1 to {MAX_CASES} tests, got {}",
            file.tests.len()
        )));
    }
    let root = root.or_else(|| path.parent()).unwrap_or_else(|| Path::new("."));
    let mut names = BTreeSet::new();
    let mut cases = Vec::new();
    for table in file.tests {
        if !names.insert(table.name.clone()) {
            return Err(wrong(format!("two tests are called `{}`", table.name)));
        }
        require_known(&table.expect, &named)?;
        let chain: Vec<_> = table.chain.iter().map(|path| root.join(path)).collect();
        let crl = table.crl.as_ref().map(|path| root.join(path));
        let collateral = Collateral::read(&chain, crl.as_deref())?;
        let mut found = recorded::find(&[root.join(&table.evidence)], &collateral)?;
        let (Some(evidence), 0) = (found.pop(), found.len()) else {
            return Err(wrong(format!(
                "test `{}` names more than one piece of evidence",
                table.name
            )));
        };
        cases.push(Case {
            at: table
                .at
                .map(|at| clock::parse(&at.to_string()))
                .transpose()
                .map_err(wrong)?,
            name: table.name,
            evidence,
            expect: Some(table.expect),
            allow_simulated: table.allow_simulated,
            pin: table.pin,
        });
    }
    Ok(cases)
}

fn require_known(expect: &str, named: &str) -> Result<(), Fault> {
    if expect == ACCEPTED || advice::explain(expect).is_some() {
        return Ok(());
    }
    Err(Fault::malformed(
        "policy.tests_malformed",
        format!("`{named}`: expected `accepted` or a code, got `{expect}`"),
    )
    .with_remedy("`bastide explain --all` lists every code"))
}

impl Case {
    /// Judges the evidence under a policy.
    ///
    /// # Errors
    /// [`Fault`] if what the test pins can't be pinned.
    pub(crate) fn run(&self, document: &PolicyDocument, at: UnixTime) -> Result<Outcome, Fault> {
        let at = self.at.unwrap_or(at);
        let judge = |policy: &Policy| {
            self.evidence
                .judge(&Verifier::new(policy.clone()), at, self.allow_simulated)
        };
        let mut verdict = judge(&document.policy);
        if !self.pin.is_empty() && verdict.snp.is_some() {
            verdict = judge(&self.pinned(document, &verdict, at)?);
        }
        let said = verdict.code.unwrap_or(ACCEPTED);
        Ok(Outcome {
            name: self.name.clone(),
            verdict: verdict.decision,
            code: verdict.code,
            met: self.expect.as_ref().map(|expect| expect == said),
            expected: self.expect.clone(),
        })
    }

    /// The policy with what the evidence says pinned for the day of the test.
    fn pinned(&self, document: &PolicyDocument, verdict: &Verdict, at: UnixTime) -> Result<Policy, Fault> {
        let moment = at
            .to_string()
            .parse()
            .map_err(|_| Fault::internal("the time of a test is none"))?;
        let terms = Terms {
            not_before: Some(moment),
            not_after: Some(moment),
            reason: Some(format!("test `{}`", self.name.escape_debug())),
            ..Terms::default()
        };
        let mut pins = Vec::new();
        for what in &self.pin {
            let (set, value) = what.value(verdict).ok_or_else(|| {
                Fault::malformed(
                    "policy.tests_malformed",
                    format!("test `{}` pins what its evidence doesn't say", self.name),
                )
            })?;
            for known in crate::policy_document::SETS {
                if known.name == set {
                    pins.push(terms.pin(known, value.clone())?);
                }
            }
        }
        let text = policy_edit::add(document.text(), &pins)?;
        crate::policy_source::parse(text.as_bytes(), &format!("with the pins of test `{}`", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_tests_is_strict() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tests.toml");
        std::fs::write(folder.path().join("e.cmw"), b"x").unwrap();
        let good = "schema = \"bastide.policy-tests/v1\"\n[[tests]]\nname = \"a\"\nevidence = \"e.cmw\"\nexpect = \"evidence.malformed\"\n";
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            of_file(&path, None)
        };
        assert_eq!(read(good).unwrap().len(), 1);
        let again = good.split_once('\n').unwrap().1;
        for bad in [
            good.replace("/v1", "/v2"),
            good.replace("name", "nam"),
            good.replace("evidence.malformed", "evidence.malfrmed"),
            format!("{good}pin = [\"everything\"]\n"),
            format!("{good}at = 2026-01-01\n"),
            format!("{good}{again}"),
            "schema = \"bastide.policy-tests/v1\"\ntests = []\n".to_owned(),
        ] {
            assert_eq!(read(&bad).unwrap_err().code, "policy.tests_malformed", "{bad}");
        }
        let missing = good.replace("e.cmw", "none.cmw");
        assert_eq!(read(&missing).unwrap_err().code, "input.unreadable");
    }

    #[test]
    fn an_expectation_is_met_or_not_and_what_nobody_expects_is_neither() {
        let folder = tempfile::tempdir().unwrap();
        for (name, expect) in [
            ("a", Some("evidence.malformed")),
            ("b", Some("accepted")),
            ("c", None),
        ] {
            std::fs::write(folder.path().join(format!("{name}.cmw")), b"x").unwrap();
            if let Some(expect) = expect {
                std::fs::write(folder.path().join(format!("{name}.expect")), expect).unwrap();
            }
        }
        let document = PolicyDocument::read("production").unwrap();
        let cases = of_evidence(&[folder.path().to_owned()], &Collateral::default(), false).unwrap();
        let met: Vec<_> = cases
            .iter()
            .map(|case| case.run(&document, UnixTime::from_secs(0)).unwrap().met)
            .collect();
        assert_eq!(met, [Some(true), Some(false), None]);
    }
}
