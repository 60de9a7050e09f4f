//! Where an epoch log stands: how many entries it has and a digest over all of
//! them, statements and reports. It is attested as a leaf of its own type, for a
//! nonce: then nothing can have been appended that the page doesn't show, and what
//! a page says of reports is vouched for as its statements are.

use super::{EpochLogEntry, EpochLogError, EpochLogPage};
use crate::binding::{LeafType, log_entry_digest, log_head_binder, statement_digest};
use crate::codec::{CodecError, Fields};
use crate::digest::{BootId, Nonce};
use crate::evidence::{Evidence, EvidenceError, Omission, PartialEvidence, Untrusted, require_collection};
use crate::result::{AttestationResult, Verdict};
use crate::role::{Appraiser, SessionExpectation};
use crate::time::UnixTime;

/// Where evidence of the log's head is asked for, with an attest request.
pub const LOG_HEAD_PATH: &str = "/.well-known/bastide/epochs/head";

const LABEL: &str = "log-head";
const TYPE: &str = "application/octet-stream";
/// CMW indicator: the head is claimed by the evidence, and endorsed by nothing.
const EVIDENCE: u64 = 0b100;
/// As for evidence of a session.
const MAX_BYTES: usize = crate::evidence::MAX_ENVELOPE_BYTES;

/// How far a log goes, and what is in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogHead {
    epochs: u64,
    digest: [u8; 32],
}

impl LogHead {
    /// Bytes of a head: its number, big-endian, and its digest.
    pub const BYTES: usize = 8 + 32;
    /// Of a log without entries.
    pub const EMPTY: Self = Self {
        epochs: 0,
        digest: [0; 32],
    };

    /// How many entries there are: the number of the epoch that comes next.
    #[must_use]
    pub const fn epochs(&self) -> u64 {
        self.epochs
    }

    /// SHA-256 over the entries, one after the other.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The head when this entry has been appended.
    #[must_use]
    pub fn then(&self, entry: &EpochLogEntry) -> Self {
        let statement = statement_digest(&entry.statement);
        Self {
            // A boot doesn't live to see the largest number.
            epochs: self.epochs.saturating_add(1),
            digest: log_entry_digest(&self.digest, &statement, entry.report.as_ref()),
        }
    }

    /// The head after a page that begins where this one ends. The page has to be one
    /// chain: see [`EpochLogPage::verify`].
    ///
    /// # Errors
    /// [`EpochLogError`] if the page begins elsewhere, or is no chain.
    pub fn after(&self, page: &EpochLogPage) -> Result<Self, EpochLogError> {
        let Some(verified) = page.verify(None)? else {
            return Ok(*self);
        };
        if verified.first() != self.epochs {
            return Err(EpochLogError::Number {
                expected: self.epochs,
                got: verified.first(),
            });
        }
        Ok(page.entries.iter().fold(*self, |head, entry| head.then(entry)))
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (number, digest) = bytes.split_at_mut(8);
        number.copy_from_slice(&self.epochs.to_be_bytes());
        digest.copy_from_slice(&self.digest);
        bytes
    }

    /// Reads a head; `None` for any other number of bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (number, digest) = bytes.split_first_chunk()?;
        Some(Self {
            epochs: u64::from_be_bytes(*number),
            digest: digest.try_into().ok()?,
        })
    }
}

/// What an enclave answers where its log's head is asked for: an evidence envelope
/// with one record more. Nothing in it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHeadAnswer {
    /// The evidence; its leaf stands for the head and a nonce.
    pub evidence: Evidence,
    /// The head, as of when it was asked for.
    pub head: LogHead,
}

impl LogHeadAnswer {
    /// The envelope's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.evidence
            .collection(Omission::default())
            .record(LABEL, TYPE, &self.head.to_bytes(), EVIDENCE)
            .encode()
    }

    /// Reads an envelope: the evidence, and the head that came with it. Whether they
    /// belong together is for [`AttestedLogHead::appraise`] to say.
    ///
    /// # Errors
    /// [`EvidenceError`] names the first fault.
    pub fn decode(bytes: &[u8]) -> Result<(Untrusted<Evidence>, LogHead), EvidenceError> {
        let mut fields = Fields::decode(bytes, MAX_BYTES)?;
        require_collection(&mut fields)?;
        let head = fields
            .record_if_present(LABEL, TYPE, EVIDENCE)?
            .ok_or(EvidenceError::Missing { part: LABEL })?;
        let head = LogHead::from_bytes(head).ok_or_else(|| CodecError::Value {
            key: LABEL.into(),
            expected: "a log head of 40 bytes",
        })?;
        let evidence = PartialEvidence::read(fields)?.complete(None)?;
        Ok((evidence, head))
    }
}

/// Why a head is not vouched for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogHeadError {
    /// The evidence was refused: the verdict says why.
    #[error("the evidence of the log's head was refused")]
    Refused(Box<Verdict>),
    /// The statement that vouches for the head is one that the head counts already.
    #[error("the head is of {epochs} epochs, and epoch {statement} vouches for it: expected a later one")]
    Ahead {
        /// Entries that the head says it has.
        epochs: u64,
        /// Number of the statement.
        statement: u64,
    },
}

impl LogHeadError {
    /// The stable dotted code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(verdict) => verdict.code.unwrap_or("epochs.head"),
            Self::Ahead { .. } => "epochs.head",
        }
    }
}

/// A head that evidence vouches for, as of a nonce.
#[derive(Debug, Clone)]
pub struct AttestedLogHead {
    head: LogHead,
    result: AttestationResult,
}

impl AttestedLogHead {
    /// Has the evidence appraised, which has to be bound to this head and this nonce
    /// as a leaf of type 4, and to nothing else.
    ///
    /// # Errors
    /// [`LogHeadError`]: the verdict, or a head that can't be of this statement.
    pub fn appraise(
        evidence: &Untrusted<Evidence>,
        head: LogHead,
        nonce: &Nonce,
        appraiser: &dyn Appraiser,
        now: UnixTime,
    ) -> Result<Self, LogHeadError> {
        let expected = SessionExpectation {
            binder: log_head_binder(&head.to_bytes(), nonce),
            leaf: LeafType::LogHead,
        };
        let result = appraiser
            .appraise(evidence, &expected, now)
            .map_err(LogHeadError::Refused)?;
        let statement = result.statement.epoch;
        if statement < head.epochs {
            let epochs = head.epochs;
            return Err(LogHeadError::Ahead { epochs, statement });
        }
        Ok(Self { head, result })
    }

    /// The head: the log had these entries when it was asked for, and no others.
    #[must_use]
    pub const fn head(&self) -> &LogHead {
        &self.head
    }

    /// What the appraisal established.
    #[must_use]
    pub const fn result(&self) -> &AttestationResult {
        &self.result
    }

    /// The boot whose log it is.
    #[must_use]
    pub const fn boot_id(&self) -> &BootId {
        &self.result.statement.boot_id
    }

    /// Holds that pages lead from `known`, where they begin, to this head, of the
    /// same boot and with nothing left out: then all that they say is vouched for,
    /// and nothing came after it.
    ///
    /// # Errors
    /// [`EpochLogError`] names the first break; [`EpochLogError::Head`] if they lead
    /// to another head.
    pub fn vouches_for(&self, known: LogHead, pages: &[EpochLogPage]) -> Result<(), EpochLogError> {
        let mut head = known;
        let mut last = None;
        for page in pages {
            head = head.after(page)?;
            if let Some(verified) = page.verify(last.as_ref())? {
                let got = verified.last().boot_id;
                if &got != self.boot_id() {
                    return Err(EpochLogError::Boot {
                        epoch: verified.first(),
                        expected: *self.boot_id(),
                        got,
                    });
                }
                last = Some(verified.last().clone());
            }
        }
        if head == self.head {
            Ok(())
        } else {
            Err(EpochLogError::Head {
                expected: self.head.epochs,
                got: head.epochs,
            })
        }
    }
}

#[cfg(test)]
mod tests;
