//! The ledger's file: one redb database that its owner alone can read. Every
//! change is one transaction, so that a crash leaves what was there before or
//! after it. Owns the schema, the bounds, and who may open it when: one process
//! at a time, and others wait a moment.

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
/// A page cache for a file of this kind; redb's own default is a gigabyte.
const CACHE: usize = 16 * 1024 * 1024;

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
                latest = latest.max(add(&transaction, event)?);
            }
            prune(&transaction, latest, bounds)?;
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

fn add(transaction: &WriteTransaction, event: &Event) -> Result<u64, redb::Error> {
    match event {
        Event::Appraisal {
            at,
            node,
            verdict,
            evidence,
        } => add_appraisal(transaction, *at, node, verdict, evidence.as_deref()),
        Event::Plan { at, plan } => {
            keep_plan(transaction, plan, *at)?;
            Ok(*at)
        }
        Event::Receipt {
            at,
            node,
            receipt,
            salt,
            attested,
        } => {
            if let Some(pipeline) = &receipt.claims().pipeline {
                let plan = pipeline.plan.as_bytes().as_slice();
                let known = transaction.open_table(PLANS)?.get(plan)?.is_some();
                if known {
                    touch(&mut transaction.open_table(PLANS_SEEN)?, plan, *at)?;
                }
            }
            let statement = receipt.claims().statement;
            let vouched = transaction
                .open_table(STATEMENTS)?
                .get(statement.as_bytes().as_slice())?
                .is_some();
            if let Some((verdict, envelope)) = attested.as_ref().filter(|_| !vouched) {
                add_appraisal(transaction, *at, node, verdict, Some(envelope))?;
            }
            let digest = receipt.digest();
            let known = transaction
                .open_table(RECEIPTS)?
                .get(digest.as_slice())?
                .is_some();
            if !known {
                let entry = Entry::Receipt(Kept::new(*at, node.clone(), receipt, salt.as_ref()));
                let at = number(transaction, &entry)?;
                transaction.open_table(RECEIPTS)?.insert(digest.as_slice(), at)?;
            }
            // Evidence is kept as long as a receipt that needs it.
            keep_on(transaction, statement.as_bytes(), *at)?;
            if let Some(pipeline) = &receipt.claims().pipeline {
                for part in pipeline
                    .parts
                    .iter()
                    .filter_map(|part| SignedPart::verify(part).ok())
                {
                    keep_on(transaction, part.claims().statement.as_bytes(), *at)?;
                }
            }
            Ok(*at)
        }
    }
}

/// Notes that the evidence of a statement was needed, if there is any.
fn keep_on(transaction: &WriteTransaction, statement: &[u8; 32], at: u64) -> Result<(), redb::Error> {
    let key = transaction
        .open_table(STATEMENTS)?
        .get(statement.as_slice())?
        .map(|key| key.value().to_vec());
    if let Some(key) = key {
        let mut seen = transaction.open_table(SEEN)?;
        let before = seen.get(key.as_slice())?.map(|seen| seen.value());
        if let Some((first, last, accepted)) = before {
            seen.insert(key.as_slice(), (first, last.max(at), accepted))?;
        }
    }
    Ok(())
}

fn add_appraisal(
    transaction: &WriteTransaction,
    at: u64,
    node: &str,
    verdict: &Verdict,
    evidence: Option<&[u8]>,
) -> Result<u64, redb::Error> {
    // A verdict always serialises: its members are texts and lists of them.
    let (bytes, digest) = record::verdict(verdict).unwrap_or_default();
    transaction
        .open_table(VERDICTS)?
        .insert(digest.as_slice(), bytes.as_slice())?;
    touch(&mut transaction.open_table(GIVEN)?, &digest, at)?;
    let accepted = verdict.decision == Decision::Accepted;
    let key = evidence.map(EvidenceKey::of);
    if let (Some(key), Some(envelope)) = (&key, evidence) {
        keep_envelope(transaction, key, envelope, at, accepted)?;
    }
    let entry = Entry::Appraisal(Appraisal {
        at,
        node: node.to_owned(),
        decision: record::word(verdict.decision).to_owned(),
        code: verdict.code.map(str::to_owned),
        simulated: verdict.simulated,
        policy: verdict.policy.clone(),
        policy_digest: verdict.policy_digest.clone(),
        statement: key.as_ref().and_then(|key| key.statement).map(hex::encode),
        report: key.as_ref().and_then(|key| key.report).map(hex::encode),
        evidence: key.as_ref().map(|key| hex::encode(key.key)),
        verdict: hex::encode(digest),
    });
    number(transaction, &entry)?;
    Ok(at)
}

/// Keeps a plan once; the one that nobody needed for longest makes room.
fn keep_plan(transaction: &WriteTransaction, plan: &SignedPlan, at: u64) -> Result<(), redb::Error> {
    let mut plans = transaction.open_table(PLANS)?;
    let mut seen = transaction.open_table(PLANS_SEEN)?;
    let digest = plan.digest();
    let digest = digest.as_bytes().as_slice();
    if plans.get(digest)?.is_none() {
        if plans.len()? >= MAX_PLANS {
            let mut oldest: Option<(u64, Vec<u8>)> = None;
            for pair in seen.iter()? {
                let (key, last) = pair?;
                if oldest.as_ref().is_none_or(|(before, _)| last.value() < *before) {
                    oldest = Some((last.value(), key.value().to_vec()));
                }
            }
            if let Some((_, key)) = oldest {
                seen.remove(key.as_slice())?;
                plans.remove(key.as_slice())?;
            }
        }
        plans.insert(digest, plan.as_bytes())?;
    }
    touch(&mut seen, digest, at)
}

fn prune_plans(transaction: &WriteTransaction, oldest: u64) -> Result<(), redb::Error> {
    let mut gone = Vec::new();
    transaction.open_table(PLANS_SEEN)?.retain(|key, last| {
        let stays = last >= oldest;
        if !stays {
            gone.push(key.to_vec());
        }
        stays
    })?;
    let mut plans = transaction.open_table(PLANS)?;
    for key in &gone {
        plans.remove(key.as_slice())?;
    }
    Ok(())
}

fn touch(table: &mut Table<'_, &'static [u8], u64>, key: &[u8], at: u64) -> Result<(), redb::Error> {
    let before = table.get(key)?.map_or(0, |at| at.value());
    table.insert(key, before.max(at))?;
    Ok(())
}

/// Keeps an envelope once for each report and statement. One that was accepted
/// takes the place of one that was not: whoever showed a broken copy first must
/// not be what is kept of the report.
fn keep_envelope(
    transaction: &WriteTransaction,
    key: &EvidenceKey,
    envelope: &[u8],
    at: u64,
    accepted: bool,
) -> Result<(), redb::Error> {
    let mut seen = transaction.open_table(SEEN)?;
    let before = seen.get(key.key.as_slice())?.map(|seen| seen.value());
    let (first, last, was_accepted) = before.unwrap_or((at, at, false));
    if before.is_none() || (accepted && !was_accepted) {
        transaction
            .open_table(EVIDENCE)?
            .insert(key.key.as_slice(), envelope)?;
    }
    if let Some(statement) = key.statement {
        let mut statements = transaction.open_table(STATEMENTS)?;
        let known = statements.get(statement.as_slice())?.is_some();
        if accepted || !known {
            statements.insert(statement.as_slice(), key.key.as_slice())?;
        }
    }
    // The time of the first that was accepted, if one was: as of it, it can be appraised again.
    let first = if accepted && !was_accepted { at } else { first };
    seen.insert(
        key.key.as_slice(),
        (first, last.max(at), accepted || was_accepted),
    )?;
    Ok(())
}

fn number(transaction: &WriteTransaction, entry: &Entry) -> Result<u64, redb::Error> {
    let mut meta = transaction.open_table(META)?;
    let next = meta.get("next")?.map_or(1, |next| next.value());
    meta.insert("next", next.saturating_add(1))?;
    // Members are texts and numbers, which are JSON whatever they are.
    let bytes = serde_json::to_vec(entry).unwrap_or_default();
    transaction.open_table(ENTRIES)?.insert(next, bytes.as_slice())?;
    Ok(next)
}

/// Takes away what is too old or too much: entries from the front, and what no
/// entry that is left can need.
fn prune(transaction: &WriteTransaction, now: u64, bounds: Bounds) -> Result<(), redb::Error> {
    let mut meta = transaction.open_table(META)?;
    let pruned = meta.get("pruned")?.map_or(0, |pruned| pruned.value());
    let entries = transaction.open_table(ENTRIES)?.len()?;
    let envelopes = transaction.open_table(EVIDENCE)?.len()?;
    let over = entries > bounds.entries || envelopes > bounds.envelopes;
    if !over && now < pruned.saturating_add(PRUNE) {
        return Ok(());
    }
    meta.insert("pruned", now)?;
    let mut oldest = now.saturating_sub(bounds.days.saturating_mul(DAY));
    prune_entries(transaction, oldest, bounds.entries)?;
    prune_plans(transaction, oldest)?;
    if envelopes > bounds.envelopes {
        oldest = oldest.max(age_of_excess(transaction, bounds.envelopes)?);
    }
    let mut gone = Vec::new();
    transaction.open_table(SEEN)?.retain(|key, (_, last, _)| {
        let stays = last >= oldest;
        if !stays {
            gone.push(key.to_vec());
        }
        stays
    })?;
    let mut evidence = transaction.open_table(EVIDENCE)?;
    for key in &gone {
        evidence.remove(key.as_slice())?;
    }
    gone.sort();
    transaction
        .open_table(STATEMENTS)?
        .retain(|_, key| gone.binary_search_by(|gone| gone.as_slice().cmp(key)).is_err())?;
    let mut gone = Vec::new();
    transaction.open_table(GIVEN)?.retain(|key, last| {
        let stays = last >= oldest;
        if !stays {
            gone.push(key.to_vec());
        }
        stays
    })?;
    let mut verdicts = transaction.open_table(VERDICTS)?;
    for key in &gone {
        verdicts.remove(key.as_slice())?;
    }
    Ok(())
}

fn prune_entries(transaction: &WriteTransaction, oldest: u64, most: u64) -> Result<(), redb::Error> {
    let mut entries = transaction.open_table(ENTRIES)?;
    let mut receipts = transaction.open_table(RECEIPTS)?;
    loop {
        let excess = entries.len()? > most;
        let first = entries.first()?.map(|(number, bytes)| {
            let entry = serde_json::from_slice::<Entry>(bytes.value()).ok();
            (number.value(), entry)
        });
        let Some((number, entry)) = first else {
            return Ok(());
        };
        // One that can't be read goes when all before it have gone.
        let over = entry.as_ref().is_none_or(|entry| entry.at() < oldest);
        if !over && !excess {
            return Ok(());
        }
        entries.remove(number)?;
        if let Some(Entry::Receipt(kept)) = entry
            && let Ok(digest) = hex::decode(&kept.digest)
        {
            receipts.remove(digest.as_slice())?;
        }
    }
}

/// A time before which enough was last seen to make a tenth of the room free.
fn age_of_excess(transaction: &WriteTransaction, most: u64) -> Result<u64, redb::Error> {
    let seen = transaction.open_table(SEEN)?;
    let mut ages = Vec::new();
    for pair in seen.iter()? {
        let (_, value) = pair?;
        ages.push(value.value().1);
    }
    ages.sort_unstable();
    let keep = usize::try_from(most / 10 * 9).unwrap_or(usize::MAX);
    let at = ages.len().saturating_sub(keep);
    Ok(ages.get(at).copied().unwrap_or_default())
}

/// What the ledger holds at one moment. No other process writes meanwhile.
pub(crate) struct View {
    /// Keeps the file, and its lock, as long as it is read.
    _database: Database,
    entries: ReadOnlyTable<u64, &'static [u8]>,
    evidence: ReadOnlyTable<&'static [u8], &'static [u8]>,
    seen: ReadOnlyTable<&'static [u8], (u64, u64, bool)>,
    verdicts: ReadOnlyTable<&'static [u8], &'static [u8]>,
    statements: ReadOnlyTable<&'static [u8], &'static [u8]>,
    plans: Option<ReadOnlyTable<&'static [u8], &'static [u8]>>,
    path: std::path::PathBuf,
}

impl View {
    /// All entries with their numbers, oldest first.
    ///
    /// # Errors
    /// [`Fault`] if one can't be read.
    pub(crate) fn entries(&self) -> Result<Vec<(u64, Entry)>, Fault> {
        let raw = guarded(&self.path, || {
            let mut all = Vec::new();
            for pair in self.entries.iter()? {
                let (number, bytes) = pair?;
                all.push((number.value(), bytes.value().to_vec()));
            }
            Ok(all)
        })?;
        raw.into_iter()
            .map(|(number, bytes)| {
                let entry = serde_json::from_slice(&bytes)
                    .map_err(|error| corrupt(&self.path, format!("entry {number}: {error}")))?;
                Ok((number, entry))
            })
            .collect()
    }

    /// The envelope under a key, hex.
    ///
    /// # Errors
    /// [`Fault`] if it can't be read.
    pub(crate) fn envelope(&self, key: &str) -> Result<Option<Envelope>, Fault> {
        let Ok(key) = hex::decode(key) else {
            return Ok(None);
        };
        guarded(&self.path, || {
            let bytes = self
                .evidence
                .get(key.as_slice())?
                .map(|bytes| bytes.value().to_vec());
            let seen = self.seen.get(key.as_slice())?.map(|seen| seen.value());
            Ok(bytes.zip(seen).map(|(bytes, (first, _, accepted))| Envelope {
                bytes,
                first,
                accepted,
            }))
        })
    }

    /// Key, hex, of the evidence for a statement, hex.
    ///
    /// # Errors
    /// [`Fault`] if it can't be read.
    pub(crate) fn evidence_of(&self, statement: &str) -> Result<Option<String>, Fault> {
        let Ok(statement) = hex::decode(statement) else {
            return Ok(None);
        };
        guarded(&self.path, || {
            let key = self.statements.get(statement.as_slice())?;
            Ok(key.map(|key| hex::encode(key.value())))
        })
    }

    /// The signed plan of a pipeline, by its digest.
    ///
    /// # Errors
    /// [`Fault`] if it can't be read.
    pub(crate) fn plan(&self, digest: &PlanDigest) -> Result<Option<Vec<u8>>, Fault> {
        guarded(&self.path, || match &self.plans {
            Some(plans) => Ok(plans
                .get(digest.as_bytes().as_slice())?
                .map(|plan| plan.value().to_vec())),
            None => Ok(None),
        })
    }

    /// Keys, hex, of all evidence.
    ///
    /// # Errors
    /// [`Fault`] if they can't be read.
    pub(crate) fn evidence_keys(&self) -> Result<Vec<String>, Fault> {
        guarded(&self.path, || {
            let mut keys = Vec::new();
            for pair in self.seen.iter()? {
                keys.push(hex::encode(pair?.0.value()));
            }
            Ok(keys)
        })
    }

    /// The verdict under a digest, hex, with the time that an entry gives it.
    ///
    /// # Errors
    /// [`Fault`] if it can't be read.
    pub(crate) fn verdict(&self, digest: &str, at: u64) -> Result<Option<Value>, Fault> {
        let Ok(digest) = hex::decode(digest) else {
            return Ok(None);
        };
        let bytes = guarded(&self.path, || {
            Ok(self
                .verdicts
                .get(digest.as_slice())?
                .map(|bytes| bytes.value().to_vec()))
        })?;
        let Some(bytes) = bytes else { return Ok(None) };
        let mut value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| corrupt(&self.path, format!("a verdict: {error}")))?;
        if let Value::Object(members) = &mut value {
            let at = bastide_attestation::UnixTime::from_secs(at).to_string();
            members.insert("at".to_owned(), at.into());
        }
        Ok(Some(value))
    }
}
