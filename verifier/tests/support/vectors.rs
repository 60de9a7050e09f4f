//! Real evidence, where this machine has it: the folder named by
//! `BASTIDE_VECTORS`, else `../shared/vectors` next to the workspace.

use std::path::{Path, PathBuf};

use bastide_verifier::{RecordedSnp, pem_certificates};

/// The folder of real SNP evidence; `None`, and a line on stdout, where there is none.
pub(crate) fn folder() -> Option<PathBuf> {
    of_kind("snp")
}

/// The folder of real Azure evidence; likewise.
pub(crate) fn azure_folder() -> Option<PathBuf> {
    of_kind("azure")
}

pub(crate) fn of_kind(kind: &str) -> Option<PathBuf> {
    let root = std::env::var_os("BASTIDE_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"),
        PathBuf::from,
    );
    let folder = root.join(kind);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("ignored: no vectors");
    None
}

/// One real report with its endorsements.
pub(crate) struct Vector {
    pub(crate) report: Vec<u8>,
    pub(crate) vek: Vec<u8>,
    pub(crate) chain: Vec<Vec<u8>>,
}

impl Vector {
    /// Reads a vector: its folder, its leaf's file, its chain's file.
    pub(crate) fn read(folder: &Path, name: &str, leaf: &str, chain: &str) -> Self {
        let file = |path: PathBuf| {
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        Self {
            report: file(folder.join(name).join("report.bin")),
            vek: file(folder.join(name).join(leaf)),
            chain: pem(&folder.join("endorsements").join(chain)),
        }
    }

    /// As recorded evidence, without a revocation list.
    pub(crate) fn recorded(&self) -> RecordedSnp<'_> {
        RecordedSnp {
            report: &self.report,
            vek: &self.vek,
            chain: &self.chain,
            crl: None,
            report_data: None,
        }
    }
}

/// Every block of a PEM file.
pub(crate) fn pem(path: &Path) -> Vec<Vec<u8>> {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    pem_certificates(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
