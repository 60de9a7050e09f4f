//! The ledger's file: one redb database that its owner alone can read. Every
//! change is one transaction, so that a crash leaves what was there before or
//! after it. Owns the schema, the bounds, and who may open it when: one process
//! at a time, and others wait a moment.

mod view;
mod writing;

use std::fs::{File, OpenOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use bastide_attestation::pipeline::{SignedPart, SignedPlan};
use bastide_attestation::{Decision, PlanDigest, Verdict};
use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadOnlyTable, ReadableDatabase as _, ReadableTable as _,
    ReadableTableMetadata as _, Table, TableDefinition, WriteTransaction,
};
use serde_json::Value;

use super::record::{self, Appraisal, Entry, Event, EvidenceKey, Kept};
use super::shown;
use crate::fault::Fault;
use crate::file;

pub(crate) use view::View;

type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;

const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
/// JSON of an [`Entry`] by its number.
const ENTRIES: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("entries");
/// Envelopes by [`EvidenceKey`].
const EVIDENCE: Bytes = TableDefinition::new("evidence");
/// When each envelope was first and last seen, and whether it was accepted.
const SEEN: TableDefinition<'static, &'static [u8], (u64, u64, bool)> = TableDefinition::new("seen");
/// Verdicts, without their time, by digest.
const VERDICTS: Bytes = TableDefinition::new("verdicts");
/// When each verdict was last given.
const GIVEN: TableDefinition<'static, &'static [u8], u64> = TableDefinition::new("given");
/// Key of the evidence that vouches for a statement.
const STATEMENTS: Bytes = TableDefinition::new("statements");
/// Entry of a receipt, by its digest.
const RECEIPTS: TableDefinition<'static, &'static [u8], u64> = TableDefinition::new("receipts");

/// Signed plans of pipelines by their digest. Ledgers that were begun before
/// there were pipelines get it with the first.
const PLANS: Bytes = TableDefinition::new("plans");
/// When each plan was last seen or needed.
const PLANS_SEEN: TableDefinition<'static, &'static [u8], u64> = TableDefinition::new("plans_seen");

const SCHEMA: u64 = 1;
/// Plans. One is at most 256 KiB.
const MAX_PLANS: u64 = 1_000;
const DAY: u64 = 24 * 60 * 60;
/// Least time between two searches for what is over.
const PRUNE: u64 = 60 * 60;
/// How long another process is waited for.
pub(crate) const WAIT: Duration = Duration::from_secs(10);
/// A file that is read through in a moment, bytes.
const SOON_READ: u64 = 64 * 1024 * 1024;
const AGAIN: Duration = Duration::from_millis(10);
/// A page cache for a file of this kind, which is written at its end and read
/// through as a whole; redb's own default is a gigabyte.
const CACHE: usize = 4 * 1024 * 1024;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Days that an entry is kept.
    pub(crate) days: u64,
    /// Entries.
    pub(crate) entries: u64,
    /// Envelopes. One is at most 256 KiB, and seldom more than 10.
    pub(crate) envelopes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            days: 400,
            entries: 1_000_000,
            envelopes: 100_000,
        }
    }
}

/// An open ledger. While it is open, no other process can open it.
pub(crate) struct Store {
    database: Database,
}

impl core::fmt::Debug for Store {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Store(..)")
    }
}

/// An envelope, and when it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// As it came.
    pub(crate) bytes: Vec<u8>,
    /// Seconds since the Unix epoch.
    pub(crate) first: u64,
    /// Whether a verdict on it was accepted.
    pub(crate) accepted: bool,
}

fn corrupt(path: &Path, detail: impl std::fmt::Display) -> Fault {
    Fault::malformed("ledger.corrupt", format!("{} is damaged: {detail}", shown(path))).with_remedy(
        "move it away and keep it: what it holds may be read in part; a new one is begun without it",
    )
}

fn unusable(path: &Path, detail: impl std::fmt::Display) -> Fault {
    Fault::usage(
        "ledger.unusable",
        format!("{} can't be used: {detail}", shown(path)),
    )
    .with_remedy("check its folder's permissions and room, or name another with --ledger FILE")
}

fn storage(path: &Path, error: redb::Error) -> Fault {
    match error {
        redb::Error::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => unusable(path, error),
        error => corrupt(path, error),
    }
}

/// Runs what touches the file. Where a damaged one makes the database give up
/// in a panic, that is damage like any other.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(storage(path, error)),
        Err(_) => Err(corrupt(path, "its pages contradict each other")),
    }
}

/// Opens the file for its owner alone; makes it where it is not.
fn open_file(path: &Path, create: bool) -> Result<File, Fault> {
    if create && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        file::make_folder(folder)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Fault::usage("ledger.none", format!("there is no {}", shown(path)))
            .with_remedy("`verify`, `chat` and `proxy` begin one; name another with --ledger FILE"),
        _ => unusable(path, error),
    })?;
    let metadata = file.metadata().map_err(|error| unusable(path, error))?;
    if !metadata.is_file() {
        return Err(unusable(path, "it is no regular file"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if metadata.permissions().mode() & 0o077 != 0 {
            // Somebody made it, or copied it, for others to read.
            let private = std::fs::Permissions::from_mode(0o600);
            file.set_permissions(private)
                .map_err(|error| unusable(path, error))?;
        }
    }
    Ok(file)
}

impl Store {
    /// Opens a ledger, and begins one where there is none. The first time that a
    /// process does, all of it is looked at for damage, unless it is large.
    ///
    /// # Errors
    /// [`Fault`] if another process has it for longer than `wait`, if it is
    /// damaged, of another schema, or can't be opened.
    pub(crate) fn open(path: &Path, wait: Duration, first: bool) -> Result<Self, Fault> {
        let small = std::fs::metadata(path).is_ok_and(|file| file.len() <= SOON_READ);
        Self::open_with(path, wait, true, first && small)
    }

    /// Opens a ledger that is there, and looks at all of it for damage first.
    ///
    /// # Errors
    /// As [`Self::open`], and if there is none.
    pub(crate) fn open_checked(path: &Path, wait: Duration) -> Result<Self, Fault> {
        Self::open_with(path, wait, false, true)
    }

    fn open_with(path: &Path, wait: Duration, create: bool, check: bool) -> Result<Self, Fault> {
        let until = Instant::now() + wait;
        loop {
            let file = open_file(path, create)?;
            let mut builder = Builder::new();
            builder.set_cache_size(CACHE).set_check_integrity_on_open(check);
            let opened = catch_unwind(AssertUnwindSafe(|| {
                builder.create_with_backend(FileBackend::new(file)?)
            }));
            match opened {
                Ok(Ok(database)) => {
                    let store = Self { database };
                    store.require_schema(path)?;
                    return Ok(store);
                }
                Ok(Err(DatabaseError::DatabaseAlreadyOpen)) if Instant::now() < until => {
                    std::thread::sleep(AGAIN);
                }
                Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => {
                    return Err(Fault::unavailable(
                        "ledger.locked",
                        format!(
                            "another process has had {} open for {} s",
                            shown(path),
                            wait.as_secs()
                        ),
                    )
                    .with_remedy("wait for it, or name another ledger with --ledger FILE"));
                }
                Ok(Err(error)) => return Err(storage(path, error.into())),
                Err(_) => return Err(corrupt(path, "its pages contradict each other")),
            }
        }
    }

    fn require_schema(&self, path: &Path) -> Result<(), Fault> {
        let schema = guarded(path, || {
            let transaction = self.database.begin_read()?;
            match transaction.open_table(META) {
                Ok(meta) => Ok(meta.get("schema")?.map(|schema| schema.value())),
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })?;
        match schema {
            Some(SCHEMA) => Ok(()),
            Some(other) => Err(Fault::usage(
                "ledger.schema",
                format!(
                    "{} is of schema {other}, this program knows {SCHEMA}",
                    shown(path)
                ),
            )
            .with_remedy("use the program that wrote it, or name another ledger with --ledger FILE")),
            None => self.begin(path),
        }
    }

    fn begin(&self, path: &Path) -> Result<(), Fault> {
        guarded(path, || {
            let transaction = self.database.begin_write()?;
            {
                let mut meta = transaction.open_table(META)?;
                meta.insert("schema", SCHEMA)?;
                meta.insert("next", 1)?;
                transaction.open_table(ENTRIES)?;
                transaction.open_table(EVIDENCE)?;
                transaction.open_table(SEEN)?;
                transaction.open_table(VERDICTS)?;
                transaction.open_table(GIVEN)?;
                transaction.open_table(STATEMENTS)?;
                transaction.open_table(RECEIPTS)?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    /// Writes events, all or none, and takes away what is over.
    ///
    /// # Errors
    /// [`Fault`] if the file can't be written or is damaged.
    pub(crate) fn append(&self, path: &Path, events: &[Event], bounds: Bounds) -> Result<(), Fault> {
        guarded(path, || {
            let mut transaction = self.database.begin_write()?;
            // After a crash the next process begins at once, whatever the size.
            transaction.set_quick_repair(true);
            let mut latest = 0;
            for event in events {
                latest = latest.max(writing::add(&transaction, event)?);
            }
            writing::prune(&transaction, latest, bounds)?;
            transaction.commit()?;
            Ok(())
        })
    }

    /// A view of the ledger as it is now.
    ///
    /// # Errors
    /// [`Fault`] if it is damaged.
    pub(crate) fn view(self, path: &Path) -> Result<View, Fault> {
        let Self { database } = self;
        guarded(path, || {
            let transaction = database.begin_read()?;
            Ok(View {
                entries: transaction.open_table(ENTRIES)?,
                evidence: transaction.open_table(EVIDENCE)?,
                seen: transaction.open_table(SEEN)?,
                verdicts: transaction.open_table(VERDICTS)?,
                statements: transaction.open_table(STATEMENTS)?,
                plans: match transaction.open_table(PLANS) {
                    Ok(plans) => Some(plans),
                    Err(redb::TableError::TableDoesNotExist(_)) => None,
                    Err(error) => return Err(error.into()),
                },
                path: path.to_owned(),
                _database: database,
            })
        })
    }
}
