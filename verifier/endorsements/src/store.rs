//! A directory of endorsements, one file each under its [`ItemName`]. Files that are
//! damaged, too large or of another key are said to be so and never returned;
//! files of other names are left alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bastide_attestation::UnixTime;

use crate::endorsement::{Endorsement, FormError};
use crate::files;
use crate::item::{Item, ItemName};
use crate::name::Name;

/// Most files of a directory that are looked at.
pub const MAX_ENTRIES: usize = 4096;
/// How far another machine's clock may be ahead of ours, seconds.
const MAX_AHEAD: u64 = 86_400;

/// Why the directory can't be used, or not for this.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused, or what is there is no file or directory.
    #[error("`{}`: {source}", .path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that isn't what its name says.
    #[error("`{}` is damaged: {source}; remove it, or fetch it again", .path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// How.
        #[source]
        source: FormError,
    },
    /// More files than a directory of endorsements has.
    #[error("`{}` has more than {MAX_ENTRIES} files", .path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
    /// Something issued in the future would hide everything newer from then on.
    #[error("{name} was issued at {issued}, which is in the future; is this machine's clock right ({now})?")]
    Future {
        /// Which endorsement.
        name: ItemName,
        /// When it says it was issued.
        issued: UnixTime,
        /// This machine's time.
        now: UnixTime,
    },
}

impl StoreError {
    /// The stable dotted code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "endorsements.io",
            Self::Corrupt { .. } => "endorsements.corrupt",
            Self::TooMany { .. } => "endorsements.too_many",
            Self::Future { .. } => "endorsements.future",
        }
    }
}

/// What became of an endorsement that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is there now.
    Stored,
    /// The same was there.
    Unchanged,
    /// A newer one was there, and stays.
    Older,
}

/// A file of a directory.
#[derive(Debug)]
pub struct Entry {
    /// Which endorsement it is by its name.
    pub name: ItemName,
    /// What is in it.
    pub content: Result<Item, StoreError>,
}

/// A directory of endorsements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// Takes a directory that is there.
    ///
    /// # Errors
    /// [`StoreError::Io`] if there is none.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let about = fs::metadata(folder).map_err(|source| fault(folder, source))?;
        if about.is_dir() {
            Ok(Self {
                folder: folder.to_owned(),
            })
        } else {
            Err(fault(folder, io::ErrorKind::NotADirectory.into()))
        }
    }

    /// Takes a directory and makes it if it isn't there.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it can't be made.
    pub fn create(folder: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).map_err(|source| fault(folder, source))?;
        Self::open(folder)
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is kept under a name of AMD's; `None` if nothing is.
    ///
    /// # Errors
    /// As [`Self::get_item`].
    pub fn get(&self, name: &Name) -> Result<Option<Endorsement>, StoreError> {
        match self.get_item(&ItemName::Amd(*name))? {
            Some(Item::Amd(endorsement)) => Ok(Some(endorsement)),
            Some(Item::Nvidia(_)) | None => Ok(None),
        }
    }

    /// What is kept under a name; `None` if nothing is.
    ///
    /// # Errors
    /// [`StoreError`] if the file can't be read or isn't what its name says.
    /// Whoever can fetch another copy should.
    pub fn get_item(&self, name: &ItemName) -> Result<Option<Item>, StoreError> {
        let path = self.folder.join(name.to_string());
        let Some(bytes) = files::read(&path, name.max_bytes()).map_err(|source| fault(&path, source))? else {
            return Ok(None);
        };
        Item::read(name.clone(), &bytes)
            .map(Some)
            .map_err(|source| StoreError::Corrupt { path, source })
    }

    /// Keeps an endorsement of AMD's.
    ///
    /// # Errors
    /// As [`Self::put_item`].
    pub fn put(&self, endorsement: &Endorsement, now: UnixTime) -> Result<Put, StoreError> {
        self.put_item(&Item::Amd(endorsement.clone()), now)
    }

    /// Keeps an endorsement, unless a newer one is there: a revocation list, an
    /// OCSP answer or a manifest never gives way to an older one. A damaged file
    /// does give way.
    ///
    /// # Errors
    /// [`StoreError`] if it can't be written, or says that it was issued more
    /// than a day after `now`.
    pub fn put_item(&self, item: &Item, now: UnixTime) -> Result<Put, StoreError> {
        let name = item.name();
        refuse_future(item, now)?;
        match self.get_item(&name) {
            Ok(Some(kept)) if kept == *item => return Ok(Put::Unchanged),
            Ok(Some(kept)) if kept.issued() > item.issued() => return Ok(Put::Older),
            _ => {}
        }
        let text = name.to_string();
        files::replace(&self.folder, &text, &item.encode())
            .map(|()| Put::Stored)
            .map_err(|source| fault(&self.folder.join(&text), source))
    }

    /// Every file with a name of an endorsement, by name.
    ///
    /// # Errors
    /// [`StoreError`] if the directory can't be read or has too many files. A
    /// file that can't be read is an entry that says so.
    pub fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        let unreadable = |source| fault(&self.folder, source);
        let mut names = Vec::new();
        for (count, file) in fs::read_dir(&self.folder).map_err(unreadable)?.enumerate() {
            if count == MAX_ENTRIES {
                return Err(StoreError::TooMany {
                    path: self.folder.clone(),
                });
            }
            let file_name = file.map_err(unreadable)?.file_name();
            if let Some(name) = file_name.to_str().and_then(|text| text.parse::<ItemName>().ok()) {
                names.push(name);
            }
        }
        names.sort_by_cached_key(ItemName::to_string);
        let mut entries = Vec::new();
        for name in names {
            // Gone meanwhile: no entry.
            if let Some(content) = self.get_item(&name).transpose() {
                entries.push(Entry { name, content });
            }
        }
        Ok(entries)
    }
}

/// Refuses what was issued more than a day after `now`.
pub(crate) fn refuse_future(item: &Item, now: UnixTime) -> Result<(), StoreError> {
    let issued = item.issued();
    if issued.as_secs() > now.as_secs().saturating_add(MAX_AHEAD) {
        return Err(StoreError::Future {
            name: item.name(),
            issued,
            now,
        });
    }
    Ok(())
}

pub(crate) fn fault(path: &Path, source: io::Error) -> StoreError {
    StoreError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
