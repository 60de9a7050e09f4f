//! Reports through configfs-tsm (Linux 6.7 and later,
//! Documentation/ABI/testing/configfs-tsm-report). Every request has a folder
//! of its own, removed afterwards whatever happens; a `generation` that is not
//! the number of our writes means that somebody else wrote into it.

mod reports;

use std::sync::atomic::{AtomicU64, Ordering};

use bastide_attestation::{AttesterError, ReportData};
use rustix::io::Errno;

use super::errno;
use super::{Answer, ReportSource};

pub(super) use reports::Reports;

const PROVIDER: &str = "sev_guest";
/// Folder names that are tried when one is taken.
const NAMES: u32 = 8;
/// Reads of a number or name.
const MAX_TEXT: usize = 64;
/// The kernel's own limit of an outblob or auxblob is 32 KiB.
const MAX_BLOB: usize = 64 * 1024;
/// One retry when somebody wrote into our folder.
const ATTEMPTS: u32 = 2;

/// The files of one configfs, so that tests can play the kernel.
pub(super) trait Tree: Send + Sync {
    /// Makes a folder that does not exist yet.
    fn make(&self, folder: &str) -> Result<(), Errno>;
    /// Writes one attribute in one write.
    fn write(&self, folder: &str, attribute: &str, bytes: &[u8]) -> Result<(), Errno>;
    /// Reads one attribute of at most `limit` bytes; more is `EFBIG`.
    fn read(&self, folder: &str, attribute: &str, limit: usize) -> Result<Vec<u8>, Errno>;
    /// Removes a folder.
    fn remove(&self, folder: &str);
    /// Path of the folder of folders, for messages.
    fn path(&self) -> String;
}

/// configfs-tsm as a source of reports.
pub(super) struct ConfigfsTsm<T> {
    tree: T,
    vmpl: Option<u8>,
    /// Makes folder names unique in this process.
    next: AtomicU64,
}

impl<T: Tree> ConfigfsTsm<T> {
    /// Checks that the provider is SEV-SNP.
    pub(super) fn open(tree: T, vmpl: Option<u8>) -> Result<Self, AttesterError> {
        let source = Self {
            tree,
            vmpl,
            next: AtomicU64::new(0),
        };
        let entry = source.make_entry().map_err(|error| source.unavailable(error))?;
        let provider = entry
            .text("provider")
            .map_err(|error| source.unavailable(error))?;
        if provider != PROVIDER {
            return Err(AttesterError::Unavailable {
                reason: format!(
                    "configfs-tsm: the provider is `{}`, expected `{PROVIDER}`; this is no SEV-SNP guest",
                    provider.escape_debug()
                ),
            });
        }
        drop(entry);
        Ok(source)
    }

    fn unavailable(&self, errno: Errno) -> AttesterError {
        let path = self.tree.path();
        let reason = match errno {
            Errno::NOENT => format!("`{path}` does not exist; mount configfs and load the sev-guest driver"),
            Errno::ACCESS | Errno::PERM => {
                format!("`{path}` may not be written to by this user; run as root or give it access")
            }
            Errno::NXIO => format!("`{path}` has no provider; load the sev-guest driver"),
            other => format!("`{path}` cannot be used ({other})"),
        };
        AttesterError::Unavailable { reason }
    }

    fn make_entry(&self) -> Result<Entry<'_, T>, Errno> {
        let mut last = Errno::EXIST;
        for _ in 0..NAMES {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let folder = format!("bastide-{}-{number}", std::process::id());
            match self.tree.make(&folder) {
                Ok(()) => {
                    return Ok(Entry {
                        tree: &self.tree,
                        folder,
                    });
                }
                // Left behind by a process that had our number and was killed.
                Err(Errno::EXIST) => last = Errno::EXIST,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// One request; `None` if somebody else wrote into our folder.
    fn attempt(&self, report_data: &ReportData) -> Result<Option<Answer>, (&'static str, Errno)> {
        let entry = self.make_entry().map_err(|error| ("making a request", error))?;
        let mut writes: u64 = 0;
        if let Some(vmpl) = self.vmpl {
            let level = vmpl.to_string();
            entry
                .write("privlevel", level.as_bytes())
                .map_err(|error| ("setting the VMPL", error))?;
            writes += 1;
        }
        entry
            .write("inblob", report_data.as_bytes())
            .map_err(|error| ("setting REPORT_DATA", error))?;
        writes += 1;
        let report = entry
            .blob("outblob")
            .map_err(|error| ("reading the report", error))?;
        let table = match entry.blob("auxblob") {
            // A provider without certificates may hide the attribute.
            Err(Errno::NOENT | Errno::NXIO) => Vec::new(),
            table => table.map_err(|error| ("reading the certificate table", error))?,
        };
        let generation = entry
            .text("generation")
            .map_err(|error| ("reading the generation", error))?;
        if generation.parse() == Ok(writes) {
            Ok(Some(Answer { report, table }))
        } else {
            Ok(None)
        }
    }
}

impl<T: Tree> ReportSource for ConfigfsTsm<T> {
    fn request(&self, report_data: &ReportData) -> Result<Answer, AttesterError> {
        for _ in 0..ATTEMPTS {
            match self.attempt(report_data) {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err((operation, Errno::FBIG)) => {
                    return Err(AttesterError::Unusable {
                        reason: format!("configfs-tsm, {operation}: more than {MAX_BLOB} bytes"),
                    });
                }
                Err((operation, error)) => {
                    return Err(errno::sort(&format!("configfs-tsm, {operation}"), error));
                }
            }
        }
        Err(AttesterError::Transient {
            reason: "configfs-tsm: another process wrote into our request twice".to_owned(),
        })
    }

    fn name(&self) -> &'static str {
        "configfs-tsm"
    }
}

/// A folder of ours, removed when dropped.
struct Entry<'t, T: Tree> {
    tree: &'t T,
    folder: String,
}

impl<T: Tree> Entry<'_, T> {
    fn write(&self, attribute: &str, bytes: &[u8]) -> Result<(), Errno> {
        self.tree.write(&self.folder, attribute, bytes)
    }

    fn blob(&self, attribute: &str) -> Result<Vec<u8>, Errno> {
        self.tree.read(&self.folder, attribute, MAX_BLOB)
    }

    fn text(&self, attribute: &str) -> Result<String, Errno> {
        let bytes = self.tree.read(&self.folder, attribute, MAX_TEXT)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }
}

impl<T: Tree> Drop for Entry<'_, T> {
    fn drop(&mut self) {
        self.tree.remove(&self.folder);
    }
}

#[cfg(test)]
mod tests;
