//! The roles as object-safe traits, so that who produces evidence, who carries
//! it over TLS and who judges it need not know one another.

use std::sync::Arc;

use crate::binding::LeafType;
use crate::digest::{Binder, StatementDigest, TreeHash};
use crate::evidence::{Endorsements, Evidence, GpuPart, PlatformEvidence, Untrusted};
use crate::hash::sha256;
use crate::result::{AttestationResult, Verdict};
use crate::statement::{GpuSeedKind, StatementBytes};
use crate::time::UnixTime;

/// Fresh hardware evidence over one statement, with what endorses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// The platform's signed report.
    pub platform: PlatformEvidence,
    /// Certificates and revocation data, stapled so that the client needs no other network.
    pub endorsements: Endorsements,
}

/// Why no evidence could be produced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttesterError {
    /// There is no such device here.
    #[error("no attestation device: {reason}")]
    Unavailable {
        /// What was looked for.
        reason: String,
    },
    /// This attempt failed; another may succeed.
    #[error("the security processor did not answer: {reason}")]
    Transient {
        /// What came.
        reason: String,
    },
    /// The platform can't attest any more until it boots again (lost VMPCK, timeout).
    #[error("this guest can no longer attest: {reason}")]
    Unattestable {
        /// What came.
        reason: String,
    },
    /// There is a report, but nothing that endorses the key which signed it.
    #[error("no endorsement for the report: {reason}")]
    Unendorsed {
        /// What was looked at, and what to do.
        reason: String,
    },
    /// The device answered something that is no evidence over the statement.
    #[error("the security processor's answer is not usable: {reason}")]
    Unusable {
        /// What was wrong.
        reason: String,
    },
}

/// Produces evidence. Takes a statement's bytes, never a caller's REPORT_DATA.
pub trait Attester: Send + Sync {
    /// Asks the hardware for a report over REPORT_DATA of `statement`. Blocks,
    /// for 8 ms as a rule and more than a minute at worst: call it from a
    /// thread that may wait.
    ///
    /// # Errors
    /// [`AttesterError`] says whether another attempt makes sense.
    fn attest(&self, statement: &StatementBytes) -> Result<Attestation, AttesterError>;

    /// Which source this is, for logs: `sev-guest`, `configfs-tsm`, `simulator`.
    fn name(&self) -> &'static str;
}

/// What the GPUs of a machine said over one nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuEpoch {
    number: u64,
    digest: [u8; 32],
    part: GpuPart,
    seed_kind: GpuSeedKind,
}

impl GpuEpoch {
    /// Of the GPU epoch `number`, in whose nonce it is, over the digest of a
    /// statement before.
    #[must_use]
    pub fn new(number: u64, part: GpuPart) -> Self {
        Self::over(number, part, GpuSeedKind::PreviousStatement)
    }

    /// The same over the root of a tree that was computed first: for the one
    /// statement that has this root.
    #[must_use]
    pub fn strict(number: u64, part: GpuPart) -> Self {
        Self::over(number, part, GpuSeedKind::Strict)
    }

    fn over(number: u64, part: GpuPart, seed_kind: GpuSeedKind) -> Self {
        Self {
            number,
            digest: sha256(&[&part.evidence]),
            part,
            seed_kind,
        }
    }

    /// Where the seed of its nonce comes from.
    #[must_use]
    pub const fn seed_kind(&self) -> GpuSeedKind {
        self.seed_kind
    }

    /// Number of the GPU epoch in this boot, always rising.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// SHA-256 of the evidence as sent: the statement's `gpu_digest`.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// What is sent.
    #[must_use]
    pub const fn part(&self) -> &GpuPart {
        &self.part
    }
}

/// What a machine has of its GPUs at this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GpuSnapshot {
    /// Number of the latest GPU epoch, whether evidence came of it or not; 0 before
    /// the first.
    pub number: u64,
    /// Evidence, if it is current: `None` from an event until GPUs are attested again.
    pub epoch: Option<Arc<GpuEpoch>>,
}

/// Why GPUs gave no evidence over a root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GpuAttesterError {
    /// They are not attested, or not any more, or nobody asks them.
    #[error("the GPUs gave no evidence on demand: {reason}")]
    Unavailable {
        /// What came.
        reason: String,
    },
}

/// Holds the evidence of a machine's GPUs. An [`Attester`] of processors asks it
/// for nothing: who makes statements does.
pub trait GpuAttester: Send + Sync {
    /// What is current now. Must not block: statements wait for it.
    fn current(&self) -> GpuSnapshot;

    /// Learns of a statement that the hardware signed: the latest is the seed of
    /// the next GPU epoch's nonce.
    fn stated(&self, statement: &StatementDigest);

    /// Asks the GPUs now, with `root` as the seed of their nonce. Blocks as long as
    /// they do, for seconds: call it from a thread that may wait, one at a time.
    /// What comes is for the statement with this root and is nobody's
    /// [`current`](Self::current).
    ///
    /// # Errors
    /// [`GpuAttesterError`] if there is none to be had.
    fn strict(&self, root: &TreeHash) -> Result<Arc<GpuEpoch>, GpuAttesterError>;
}

/// What a session must be bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionExpectation {
    /// The verifier's own binder for this session.
    pub binder: Binder,
    /// Which kind of leaf the evidence must contain.
    pub leaf: LeafType,
}

/// Judges evidence for one session. Implemented by `bastide-verifier`.
pub trait Appraiser: Send + Sync {
    /// Appraises evidence that must be bound to `session`, at time `now`.
    ///
    /// # Errors
    /// The verdict, if it is anything but accepted.
    fn appraise(
        &self,
        evidence: &Untrusted<Evidence>,
        session: &SessionExpectation,
        now: UnixTime,
    ) -> Result<AttestationResult, Box<Verdict>>;
}
