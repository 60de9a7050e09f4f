//! A directory of endorsements on its way to a machine without a network:
//! copies with a list of their digests. All of an import is checked before any
//! of it is kept.

use std::fs;
use std::path::{Path, PathBuf};

use bastide_attestation::{UnixTime, sha256};

use crate::endorsement::FormError;
use crate::files;
use crate::item::{Item, ItemName};
use crate::manifest::{self, Manifest, ManifestError};
use crate::store::{Put, Store, StoreError, fault, refuse_future};

/// Why an export or import was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// A directory or file can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is something in the folder of the export already.
    #[error("`{}` is not empty; name a folder that is, or is not there yet", .path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// There is nothing to export.
    #[error("`{}` holds no endorsement", .path.display())]
    Nothing {
        /// The directory.
        path: PathBuf,
    },
    /// The folder has no list: it is no export.
    #[error("`{}` is missing; expected a folder as `bastide endorsements export` makes it", .path.display())]
    NoManifest {
        /// The file.
        path: PathBuf,
    },
    /// The list can't be read.
    #[error("`{}`: {source}", .path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A file of the list isn't there.
    #[error("`{}` is on the list, but not in the folder", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file has another digest than the list says.
    #[error("`{}` has SHA-256 {got}, the list says {expected}; copy the folder again", .path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// Digest on the list, hex.
        expected: String,
        /// Digest of the file, hex.
        got: String,
    },
    /// A file isn't the endorsement that its name says.
    #[error("`{}`: {source}", .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: FormError,
    },
}

impl TransferError {
    /// The stable dotted code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::NotEmpty { .. } => "endorsements.not_empty",
            Self::Nothing { .. } => "endorsements.nothing",
            Self::NoManifest { .. } | Self::Manifest { .. } => "endorsements.manifest",
            Self::Missing { .. } => "endorsements.missing",
            Self::Digest { .. } => "endorsements.digest",
            Self::Form { .. } => "endorsements.form",
        }
    }
}

/// Copies everything of a directory into a new or empty folder, the list last.
/// Returns what was copied.
///
/// # Errors
/// [`TransferError`]; a damaged file stops the export.
pub fn export(store: &Store, folder: &Path) -> Result<Vec<Item>, TransferError> {
    let endorsements = store
        .entries()?
        .into_iter()
        .map(|entry| entry.content)
        .collect::<Result<Vec<_>, _>>()?;
    if endorsements.is_empty() {
        return Err(TransferError::Nothing {
            path: store.folder().to_owned(),
        });
    }
    fs::create_dir_all(folder).map_err(|source| fault(folder, source))?;
    let mut there = fs::read_dir(folder).map_err(|source| fault(folder, source))?;
    if there.next().is_some() {
        return Err(TransferError::NotEmpty {
            path: folder.to_owned(),
        });
    }
    let encoded: Vec<(ItemName, Vec<u8>)> = endorsements
        .iter()
        .map(|endorsement| (endorsement.name(), endorsement.encode()))
        .collect();
    let write = |name: &str, bytes: &[u8]| {
        files::replace(folder, name, bytes).map_err(|source| fault(&folder.join(name), source))
    };
    for (name, bytes) in &encoded {
        write(&name.to_string(), bytes)?;
    }
    let list = Manifest::of(
        encoded
            .iter()
            .map(|(name, bytes)| (name.clone(), bytes.as_slice())),
    );
    write(manifest::FILE_NAME, list.encode().as_bytes())?;
    Ok(endorsements)
}

/// Checks every file of an exported folder against its list and its name, then
/// keeps each that isn't older than what is there. Files that aren't on the
/// list are passed over.
///
/// # Errors
/// [`TransferError`] names the first file that is wrong; then nothing was kept,
/// unless the directory itself can't be written.
pub fn import(store: &Store, folder: &Path, now: UnixTime) -> Result<Vec<(ItemName, Put)>, TransferError> {
    let list = read_manifest(folder)?;
    let mut endorsements = Vec::new();
    for (name, expected) in list.entries() {
        let path = folder.join(name.to_string());
        let bytes = files::read(&path, name.max_bytes())
            .map_err(|source| fault(&path, source))?
            .ok_or_else(|| TransferError::Missing { path: path.clone() })?;
        let got = sha256(&[&bytes]);
        if got != *expected {
            return Err(TransferError::Digest {
                path,
                expected: hex::encode(expected),
                got: hex::encode(got),
            });
        }
        let endorsement =
            Item::read(name.clone(), &bytes).map_err(|source| TransferError::Form { path, source })?;
        refuse_future(&endorsement, now)?;
        endorsements.push(endorsement);
    }
    let mut kept = Vec::new();
    for endorsement in endorsements {
        kept.push((endorsement.name(), store.put_item(&endorsement, now)?));
    }
    Ok(kept)
}

fn read_manifest(folder: &Path) -> Result<Manifest, TransferError> {
    let path = folder.join(manifest::FILE_NAME);
    let bytes = files::read(&path, manifest::MAX_BYTES)
        .map_err(|source| fault(&path, source))?
        .ok_or_else(|| TransferError::NoManifest { path: path.clone() })?;
    Manifest::decode(&bytes).map_err(|source| TransferError::Manifest { path, source })
}

#[cfg(test)]
mod tests;
