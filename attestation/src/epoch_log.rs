//! The epoch log: an enclave's statements of one boot in their order, each with
//! the digest of the report over it, and the check that they are one chain. What
//! is in a page proves nothing by itself: a statement that a client has appraised
//! vouches for every statement before it, by the digests in them; a head of the
//! log that was attested vouches for reports as well, and that nothing is withheld.

mod head;

use crate::binding::statement_digest;
use crate::codec::{CodecError, decode_pairs, encode_pairs};
use crate::digest::{BootId, StatementDigest};
use crate::evidence::PlatformEvidence;
use crate::hash::sha256;
use crate::snp::SnpReport;
use crate::statement::{EpochStatement, MAX_STATEMENT_BYTES};

pub use head::{AttestedLogHead, LOG_HEAD_PATH, LogHead, LogHeadAnswer, LogHeadError};

/// Path at which an enclave answers pages of its log, with `?from=N&count=M`.
pub const EPOCHS_PATH: &str = "/.well-known/bastide/epochs";
/// Media type of a page.
pub const EPOCH_LOG_MEDIA_TYPE: &str = "application/cbor";
/// Most entries of a page.
pub const MAX_EPOCH_LOG_PAGE: usize = 256;
/// Most bytes of a page: as many entries of the largest statement, a digest, and
/// at most seven bytes of CBOR around them, and the array's head.
pub const MAX_EPOCH_LOG_PAGE_BYTES: usize = MAX_EPOCH_LOG_PAGE * (MAX_STATEMENT_BYTES + 32 + 7) + 3;

/// Why a page can't be read, or is not one chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EpochLogError {
    /// Not the CBOR that was expected.
    #[error("epoch log: {0}")]
    Codec(#[from] CodecError),
    /// Too many entries.
    #[error("a page of the epoch log has at most {MAX_EPOCH_LOG_PAGE} entries, got {got}")]
    Entries {
        /// How many came.
        got: usize,
    },
    /// A report's digest of another length.
    #[error(
        "entry {entry} of the epoch log: a report's digest has 32 bytes, or none if no report came; got {got}"
    )]
    ReportDigest {
        /// Which entry, from 0.
        entry: usize,
        /// Bytes that came.
        got: usize,
    },
    /// A statement that is none.
    #[error("entry {entry} of the epoch log is no epoch statement: {fault}")]
    Statement {
        /// Which entry, from 0.
        entry: usize,
        /// The first fault.
        fault: CodecError,
    },
    /// Statements of two boots.
    #[error("epoch {epoch} is of boot {got}, those before it of boot {expected}")]
    Boot {
        /// The epoch.
        epoch: u64,
        /// Boot of those before.
        expected: BootId,
        /// Its own.
        got: BootId,
    },
    /// A number is left out, or comes twice.
    #[error("epoch {expected} was expected in the log, got epoch {got}")]
    Number {
        /// One more than the number before.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// The pages lead to another head than the one that was attested.
    #[error("the pages lead to a head after {got} epochs that is not the attested one, of {expected}")]
    Head {
        /// Entries that the attested head counts.
        expected: u64,
        /// Entries that the pages lead to.
        got: u64,
    },
    /// A statement does not name the one before it.
    #[error("epoch {epoch} does not name the digest of the statement before it")]
    Link {
        /// The epoch.
        epoch: u64,
    },
}

impl EpochLogError {
    /// The stable dotted code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Codec(_) | Self::Entries { .. } | Self::ReportDigest { .. } => "epochs.malformed",
            Self::Statement { .. } => "epochs.statement",
            Self::Boot { .. } => "epochs.boot",
            Self::Number { .. } => "epochs.number",
            Self::Link { .. } => "epochs.link",
            Self::Head { .. } => "epochs.head",
        }
    }
}

/// One statement of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochLogEntry {
    /// Exact bytes of the statement.
    pub statement: Vec<u8>,
    /// SHA-256 over what the hardware signed, see [`EpochLogEntry::report_digest`];
    /// `None` if no report came: the number is spent all the same, since the
    /// security processor may have signed a report that was lost on its way.
    pub report: Option<[u8; 32]>,
}

impl EpochLogEntry {
    /// What identifies a report: SHA-256 over the bytes that are signed, never
    /// over the signature, since (r, n−s) also verifies. On Azure those of the quote.
    #[must_use]
    pub fn report_digest(platform: &PlatformEvidence) -> [u8; 32] {
        match platform {
            PlatformEvidence::Snp(report) => SnpReport::parse(report.as_slice()).map_or_else(
                // Nothing that a verifier accepts: by all of its bytes.
                |_| sha256(&[report.as_slice()]),
                |report| sha256(&[report.signed_bytes()]),
            ),
            PlatformEvidence::AzureVtpm { quote, .. } => sha256(&[&quote.message]),
        }
    }
}

/// A part of an enclave's log, in its order. Nothing in it is verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EpochLogPage {
    /// The entries, by rising epoch.
    pub entries: Vec<EpochLogEntry>,
}

/// What differs between a statement and the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochChange {
    /// The later epoch.
    pub epoch: u64,
    /// Another lane-K key.
    pub session_key: bool,
    /// Another receipt key.
    pub receipt_key: bool,
    /// Another sealed-mode key configuration.
    pub sealed_key: bool,
    /// Another model.
    pub model: bool,
    /// Another configuration.
    pub configuration: bool,
    /// Another GPU epoch, or GPU evidence that came or went.
    pub gpus: bool,
}

impl EpochChange {
    fn between(before: &EpochStatement, after: &EpochStatement) -> Option<Self> {
        let change = Self {
            epoch: after.epoch,
            session_key: before.session_key != after.session_key,
            receipt_key: before.receipt_key != after.receipt_key,
            sealed_key: before.sealed_key != after.sealed_key,
            model: before.model != after.model,
            configuration: before.configuration != after.configuration,
            gpus: (before.gpu_epoch, before.gpu_digest) != (after.gpu_epoch, after.gpu_digest),
        };
        let any = change.session_key
            || change.receipt_key
            || change.sealed_key
            || change.model
            || change.configuration
            || change.gpus;
        any.then_some(change)
    }
}

/// A page that is one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedEpochs {
    first: u64,
    digests: Vec<StatementDigest>,
    last: EpochStatement,
    changes: Vec<EpochChange>,
    unreported: Vec<u64>,
}

impl VerifiedEpochs {
    /// Number of the first statement.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The last statement: where the next page goes on.
    #[must_use]
    pub const fn last(&self) -> &EpochStatement {
        &self.last
    }

    /// SHA-256 of the last statement.
    #[must_use]
    pub fn head(&self) -> Option<&StatementDigest> {
        self.digests.last()
    }

    /// Whether the statement with this digest is in the chain: if it was appraised,
    /// it vouches for all before it.
    #[must_use]
    pub fn contains(&self, statement: &StatementDigest) -> bool {
        self.digests.contains(statement)
    }

    /// What changed, and in which epochs.
    #[must_use]
    pub fn changes(&self) -> &[EpochChange] {
        &self.changes
    }

    /// Epochs for which no report came.
    #[must_use]
    pub fn unreported(&self) -> &[u64] {
        &self.unreported
    }
}

impl EpochLogPage {
    /// Deterministic CBOR: `[[statement, report digest]…]`, the digest empty where
    /// no report came.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode_pairs(self.entries.iter().map(|entry| {
            let report = entry.report.as_ref().map_or(&[][..], <[u8; 32]>::as_slice);
            [entry.statement.as_slice(), report]
        }))
    }

    /// Reads a page strictly. Statements are kept as they came; [`Self::verify`]
    /// reads them.
    ///
    /// # Errors
    /// [`EpochLogError`] names the first fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, EpochLogError> {
        let pairs = decode_pairs(bytes, MAX_EPOCH_LOG_PAGE_BYTES)?;
        if pairs.len() > MAX_EPOCH_LOG_PAGE {
            return Err(EpochLogError::Entries { got: pairs.len() });
        }
        let entries = pairs.into_iter().enumerate().map(|(entry, [statement, report])| {
            let report = match report.len() {
                0 => None,
                got => Some(
                    report
                        .try_into()
                        .map_err(|_| EpochLogError::ReportDigest { entry, got })?,
                ),
            };
            Ok(EpochLogEntry { statement, report })
        });
        Ok(Self {
            entries: entries.collect::<Result<_, EpochLogError>>()?,
        })
    }

    /// Checks that the page is one chain of one boot with no number left out, and
    /// goes on where `after` ended, if there is a page before. `None` for a page
    /// without entries.
    ///
    /// # Errors
    /// [`EpochLogError`] names the first break.
    pub fn verify(&self, after: Option<&EpochStatement>) -> Result<Option<VerifiedEpochs>, EpochLogError> {
        let mut before = after.map(|statement| (statement.clone(), statement.encode().digest()));
        let mut first = None;
        let mut digests = Vec::with_capacity(self.entries.len());
        let (mut changes, mut unreported) = (Vec::new(), Vec::new());
        for (entry, logged) in self.entries.iter().enumerate() {
            let statement = EpochStatement::decode(&logged.statement)
                .map_err(|fault| EpochLogError::Statement { entry, fault })?;
            let epoch = statement.epoch;
            match &before {
                Some((before, digest)) => {
                    follow(before, digest, &statement)?;
                    changes.extend(EpochChange::between(before, &statement));
                }
                // The first of a boot names nothing.
                None if epoch == 0 && statement.previous != StatementDigest::new([0; 32]) => {
                    return Err(EpochLogError::Link { epoch });
                }
                None => {}
            }
            if logged.report.is_none() {
                unreported.push(epoch);
            }
            let digest = statement_digest(&logged.statement);
            first.get_or_insert(epoch);
            digests.push(digest);
            before = Some((statement, digest));
        }
        let (Some(first), Some((last, _))) = (first, before) else {
            return Ok(None);
        };
        Ok(Some(VerifiedEpochs {
            first,
            digests,
            last,
            changes,
            unreported,
        }))
    }
}

/// Whether `next` is the statement right after `before`.
fn follow(
    before: &EpochStatement,
    digest: &StatementDigest,
    next: &EpochStatement,
) -> Result<(), EpochLogError> {
    if before.boot_id != next.boot_id {
        return Err(EpochLogError::Boot {
            epoch: next.epoch,
            expected: before.boot_id,
            got: next.boot_id,
        });
    }
    // A boot doesn't live to see the largest number.
    let expected = before.epoch.saturating_add(1);
    if expected != next.epoch || next.epoch == before.epoch {
        return Err(EpochLogError::Number {
            expected,
            got: next.epoch,
        });
    }
    if &next.previous == digest {
        Ok(())
    } else {
        Err(EpochLogError::Link { epoch: next.epoch })
    }
}

#[cfg(test)]
pub(crate) mod tests;
