//! Recorded evidence on disk: envelopes as `--save` keeps them, and folders
//! with a raw report and its certificates. Found, read with limits, and judged
//! under a policy; what can't be read is a verdict, too.

use std::fs;
use std::path::{Path, PathBuf};

use bastide_attestation::{Decision, Evidence, UnixTime, Verdict};
use bastide_verifier::{RecordedSnp, Verifier, pem_certificates};

use crate::fault::{Fault, with_causes};
use crate::{file, gate};

const MAX_CERTIFICATES_BYTES: usize = 1024 * 1024;
const MAX_REPORT_BYTES: usize = 64 * 1024;
/// Enough to read any envelope and to say that a longer one is too long.
pub(crate) const MAX_ENVELOPE_FILE_BYTES: usize = 1024 * 1024;
const MAX_FOUND: usize = 1000;
const MAX_DEPTH: usize = 4;
const PEM_BEGIN: &[u8] = b"-----BEGIN ";
const REPORT: &str = "report.bin";
const LEAVES: [&str; 4] = ["vcek.der", "vlek.der", "vcek.pem", "vlek.pem"];
const CHAIN: &str = "chain.pem";
const CRLS: [&str; 2] = ["crl.der", "crl.pem"];
const EXPECT: &str = "expect";

/// Evidence in its files.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// Where it was found.
    pub(crate) path: PathBuf,
    /// What it should come to, if a file beside it says.
    pub(crate) expect: Option<String>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Envelope(Vec<u8>),
    Report {
        report: Vec<u8>,
        vek: Vec<u8>,
        chain: Vec<Vec<u8>>,
        crl: Option<Vec<u8>>,
    },
}

/// Certificates and a revocation list for folders that have none of their own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collateral {
    /// ARK and ASK or ASVK; those of several products may be among them.
    pub(crate) chain: Vec<Vec<u8>>,
    /// The revocation list.
    pub(crate) crl: Option<Vec<u8>>,
}

impl Collateral {
    /// Reads it.
    ///
    /// # Errors
    /// [`Fault`] if a file can't be read.
    pub(crate) fn read(chain: &[PathBuf], crl: Option<&Path>) -> Result<Self, Fault> {
        let mut certificates = Vec::new();
        for path in chain {
            certificates.extend(all(path)?);
        }
        Ok(Self {
            chain: certificates,
            crl: crl.map(one).transpose()?,
        })
    }
}

/// What a file holds: the blocks of PEM, or its bytes as DER, for the verifier to judge.
///
/// # Errors
/// [`Fault`] if it can't be read, is empty, or is PEM of something else.
pub(crate) fn all(path: &Path) -> Result<Vec<Vec<u8>>, Fault> {
    let bytes = file::read(path, MAX_CERTIFICATES_BYTES)?;
    if bytes.is_empty() {
        let message = format!(
            "`{}` is empty; a certificate or revocation list was expected",
            path.display()
        );
        return Err(Fault::malformed("input.empty", message));
    }
    if !bytes.windows(PEM_BEGIN.len()).any(|window| window == PEM_BEGIN) {
        return Ok(vec![bytes]);
    }
    pem_certificates(&bytes)
        .map_err(|error| Fault::malformed("input.pem", format!("`{}`: {error}", path.display())))
}

/// The one certificate or revocation list in a file.
///
/// # Errors
/// As [`all()`], and if there are several.
pub(crate) fn one(path: &Path) -> Result<Vec<u8>, Fault> {
    let mut found = all(path)?;
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (_, more) => Err(Fault::malformed(
            "input.pem",
            format!("`{}`: expected one PEM block, found {}", path.display(), more + 1),
        )),
    }
}

/// Reads a raw report.
///
/// # Errors
/// [`Fault`] if it can't be read or is far too long.
pub(crate) fn report(path: &Path) -> Result<Vec<u8>, Fault> {
    file::read(path, MAX_REPORT_BYTES)
}

/// Every piece of evidence under the paths, in the order of their names.
///
/// # Errors
/// [`Fault`] if there is none, or a file can't be read.
pub(crate) fn find(paths: &[PathBuf], collateral: &Collateral) -> Result<Vec<Recorded>, Fault> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        collect(path, collateral, 0, &mut found)?;
        if found.len() == before {
            return Err(Fault::usage(
                "input.no_evidence",
                format!(
                    "`{}` holds no evidence: neither an envelope (`*.cmw`) nor a folder with `{REPORT}` and {}",
                    path.display(),
                    LEAVES.map(|leaf| format!("`{leaf}`")).join(" or ")
                ),
            ));
        }
    }
    Ok(found)
}

fn collect(
    path: &Path,
    collateral: &Collateral,
    depth: usize,
    found: &mut Vec<Recorded>,
) -> Result<(), Fault> {
    if found.len() >= MAX_FOUND {
        return Err(Fault::usage(
            "input.too_many",
            format!("more than {MAX_FOUND} pieces of evidence; name fewer folders"),
        ));
    }
    if !path.is_dir() {
        // A file that is named is evidence, whatever its name; in folders the name decides.
        if depth == 0 || path.extension().is_some_and(|extension| extension == "cmw") {
            found.push(envelope(path)?);
        }
        return Ok(());
    }
    if path.join(REPORT).is_file() {
        found.push(folder(path, collateral)?);
        return Ok(());
    }
    if depth == MAX_DEPTH {
        return Ok(());
    }
    let unreadable = |error: std::io::Error| {
        Fault::usage(
            "input.unreadable",
            format!("`{}` can't be read: {error}", path.display()),
        )
    };
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        entries.push(entry.map_err(unreadable)?.path());
    }
    entries.sort();
    for entry in entries {
        collect(&entry, collateral, depth + 1, found)?;
    }
    Ok(())
}

/// An envelope.
///
/// # Errors
/// [`Fault`] if it can't be read.
pub(crate) fn envelope(path: &Path) -> Result<Recorded, Fault> {
    Ok(Recorded {
        kind: Kind::Envelope(file::read(path, MAX_ENVELOPE_FILE_BYTES)?),
        expect: expectation(&path.with_extension(EXPECT))?,
        path: path.to_owned(),
    })
}

fn folder(path: &Path, collateral: &Collateral) -> Result<Recorded, Fault> {
    let leaf = LEAVES
        .iter()
        .map(|leaf| path.join(leaf))
        .find(|leaf| leaf.is_file());
    let mut chain = collateral.chain.clone();
    if path.join(CHAIN).is_file() {
        chain.extend(all(&path.join(CHAIN))?);
    }
    let own_crl = CRLS.iter().map(|crl| path.join(crl)).find(|crl| crl.is_file());
    Ok(Recorded {
        kind: Kind::Report {
            report: report(&path.join(REPORT))?,
            // Without a leaf the verifier says what is missing.
            vek: leaf.as_deref().map(one).transpose()?.unwrap_or_default(),
            chain,
            crl: match own_crl {
                Some(path) => Some(one(&path)?),
                None => collateral.crl.clone(),
            },
        },
        expect: expectation(&path.join(EXPECT))?,
        path: path.to_owned(),
    })
}

fn expectation(path: &Path) -> Result<Option<String>, Fault> {
    const MAX: usize = 200;
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = file::read(path, MAX)?;
    Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
}

impl Recorded {
    /// Judges it; simulated evidence only if that is allowed.
    pub(crate) fn judge(&self, verifier: &Verifier, at: UnixTime, allow_simulated: bool) -> Verdict {
        let verdict = match &self.kind {
            Kind::Envelope(bytes) => match Evidence::decode(bytes) {
                Ok(evidence) => match verifier.appraise_receipt_evidence(&evidence, at) {
                    Ok(result) => result.into_verdict(),
                    Err(verdict) => *verdict,
                },
                Err(error) => {
                    gate::without_evidence(Decision::Malformed, "evidence.malformed", with_causes(&error), at)
                }
            },
            Kind::Report {
                report,
                vek,
                chain,
                crl,
            } => verifier.appraise_recorded(
                &RecordedSnp {
                    report,
                    vek,
                    chain,
                    crl: crl.as_deref(),
                    report_data: None,
                },
                at,
            ),
        };
        gate::permit(verdict, allow_simulated).unwrap_or_else(|refused| *refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_found_in_files_and_folders_and_an_empty_folder_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, bytes: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        put("b/one/report.bin", b"r");
        put("b/one/vlek.der", b"v");
        put("b/one/expect", b"snp.report.length\n");
        put("a/evidence.cmw", b"e");
        put("a/evidence.expect", b"evidence.malformed");
        put("a/notes.txt", b"n");
        put("z.cmw", b"e");
        let found = find(&[root.path().to_owned()], &Collateral::default()).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|one| one.path.strip_prefix(root.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["a/evidence.cmw", "b/one", "z.cmw"]);
        assert_eq!(found[0].expect.as_deref(), Some("evidence.malformed"));
        assert_eq!(found[1].expect.as_deref(), Some("snp.report.length"));
        let empty = tempfile::tempdir().unwrap();
        let fault = find(&[empty.path().to_owned()], &Collateral::default()).unwrap_err();
        assert_eq!(fault.code, "input.no_evidence");
    }
}
