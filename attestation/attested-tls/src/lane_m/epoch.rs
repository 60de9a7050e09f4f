//! One batch of sessions made into one epoch: salts, padding, permutation,
//! tree and statement; and, when the report has come, each session's share.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bastide_attestation::binding::{LeafType, leaf};
use bastide_attestation::{
    Attestation, Binder, EnvelopeFrame, EpochStatement, Evidence, GpuEpoch, GpuPart, GpuSeedKind,
    GpuSnapshot, InclusionProof, LeafHash, MAX_DEPTH, Omission, Salt, StatementBytes, StatementDigest,
    TimeSource, Tree, TreeHash,
};

use crate::lane_m::recent::Sent;
use crate::lane_m::{Attested, EnclaveFacts, LaneError, Standing};
use crate::provider::{NoRandomness, fill_random};

/// The most leaves of one epoch.
pub(super) const MAX_LEAVES: usize = 1 << MAX_DEPTH;

/// Random bytes for one leaf: its salt, or its hash if it is padding.
const SALT_BYTES: usize = 32;
/// Random bytes that decide a leaf's position.
const RANK_BYTES: usize = 16;

/// What a session's leaf is made of, but for its salt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf {
    pub(super) kind: LeafType,
    pub(super) binder: Binder,
}

/// A batch as a tree, before anything is signed.
pub(super) struct Batch {
    tree: Tree,
    /// For each session, in the order they came: position and salt of its leaf.
    seats: Vec<(usize, Salt)>,
}

impl Batch {
    /// Gives each session a leaf with a salt of its own, fills up with random
    /// leaves to the next permitted size, of one at least, and permutes, so that neither a
    /// sibling hash nor a position tells a client anything about others.
    ///
    /// # Errors
    /// [`LaneError::NoRandomness`]; [`LaneError::Busy`] for more than [`MAX_LEAVES`].
    pub(super) fn new(sessions: &[Leaf]) -> Result<Self, LaneError> {
        let depth = Tree::depth_for(sessions.len()).ok_or(LaneError::Busy)?;
        let size = 1_usize << depth;
        let mut random = vec![0; size * (SALT_BYTES + RANK_BYTES)];
        fill_random(&mut random).map_err(|NoRandomness| LaneError::NoRandomness)?;
        let (draws, _) = random.as_chunks::<{ SALT_BYTES + RANK_BYTES }>();

        let mut leaves: Vec<Draw<'_>> = draws
            .iter()
            .enumerate()
            .filter_map(|(session, draw)| Draw::new(session, draw, sessions.get(session)))
            .collect();
        // Sorting by 16 random bytes is a permutation without bias but for the
        // odds of two being equal, about 2^-101 for the largest tree.
        leaves.sort_unstable_by_key(|leaf| leaf.rank);

        let hashes: Vec<LeafHash> = leaves.iter().map(|leaf| leaf.hash).collect();
        let tree = Tree::new(&hashes).map_err(|_| LaneError::Busy)?;
        let mut seats: Vec<(usize, usize, Salt)> = leaves
            .iter()
            .enumerate()
            .filter(|(_, leaf)| leaf.session < sessions.len())
            .map(|(position, leaf)| (leaf.session, position, leaf.salt))
            .collect();
        seats.sort_unstable_by_key(|(session, ..)| *session);
        Ok(Self {
            tree,
            seats: seats
                .into_iter()
                .map(|(_, position, salt)| (position, salt))
                .collect(),
        })
    }

    /// Root of the tree.
    pub(super) fn root(&self) -> TreeHash {
        self.tree.root()
    }

    /// The statement over this tree, which names the evidence of `gpus`.
    pub(super) fn statement(
        &self,
        facts: &EnclaveFacts,
        epoch: u64,
        previous: StatementDigest,
        gpus: &GpuSnapshot,
    ) -> StatementBytes {
        EpochStatement {
            boot_id: facts.boot_id,
            epoch,
            previous,
            depth: self.tree.depth(),
            root: self.tree.root(),
            gpu_epoch: gpus.number,
            gpu_digest: gpus.epoch.as_ref().map(|epoch| *epoch.digest()),
            gpu_seed: gpus
                .epoch
                .as_ref()
                .map_or(GpuSeedKind::PreviousStatement, |epoch| epoch.seed_kind()),
            session_key: *facts.session_key.public(),
            receipt_key: facts.receipt_key,
            sealed_key: facts.sealed_key,
            model: facts.model,
            configuration: facts.configuration,
            time_ms: host_time_ms(),
            time_source: TimeSource::Host,
            debug: facts.debug,
            pipeline: facts.pipeline,
        }
        .encode()
    }

    /// Each session's share of the signed epoch, in the order they came.
    pub(super) fn signed(self, report: Report) -> impl Iterator<Item = Granted> {
        let epoch = Arc::new(SignedEpoch {
            tree: self.tree,
            report,
            frames: [const { OnceLock::new() }; 4],
        });
        self.seats.into_iter().map(move |(position, salt)| Granted {
            epoch: Arc::clone(&epoch),
            position,
            salt,
        })
    }
}

/// One leaf before its place is known.
struct Draw<'a> {
    rank: &'a [u8],
    /// Number of the session; padding is numbered after the sessions.
    session: usize,
    hash: LeafHash,
    salt: Salt,
}

impl<'a> Draw<'a> {
    fn new(session: usize, draw: &'a [u8], content: Option<&Leaf>) -> Option<Self> {
        let (salt, rank) = draw.split_first_chunk::<SALT_BYTES>()?;
        let salt = Salt::new(*salt);
        let hash = match content {
            Some(content) => leaf(content.kind, &salt, &content.binder),
            // A hash and 32 random bytes can't be told apart.
            None => LeafHash::new(*salt.as_bytes()),
        };
        Some(Self {
            rank,
            session,
            hash,
            salt,
        })
    }
}

/// The host's clock: a hint, which is what the statement calls it.
fn host_time_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |elapsed| {
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    })
}

/// A report that came for an epoch, and what belongs to it.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) statement: StatementBytes,
    /// Of the statement.
    pub(super) digest: StatementDigest,
    pub(super) attestation: Attestation,
    /// The evidence that the statement names.
    pub(super) gpu: Option<Arc<GpuEpoch>>,
    pub(super) standing: Standing,
    /// Of endorsements and GPU evidence.
    pub(super) sent: Sent,
}

/// What the sessions of an epoch share.
#[derive(Debug)]
pub(super) struct SignedEpoch {
    tree: Tree,
    report: Report,
    /// The envelope but for the proof, for each of the four things that may be left
    /// out. Made by the first session that needs it.
    frames: [OnceLock<EnvelopeFrame>; 4],
}

impl SignedEpoch {
    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    fn gpu(&self) -> Option<&GpuPart> {
        self.report.gpu.as_deref().map(GpuEpoch::part)
    }

    pub(super) fn evidence(&self, proof: InclusionProof) -> Evidence {
        Evidence {
            statement: self.report.statement.as_bytes().to_vec(),
            proof,
            platform: self.report.attestation.platform.clone(),
            endorsements: self.report.attestation.endorsements.clone(),
            gpu: self.gpu().cloned(),
        }
    }

    pub(super) fn envelope(&self, proof: &InclusionProof, omitted: Omission) -> Vec<u8> {
        let [whole, no_endorsements, no_gpu, neither] = &self.frames;
        let frame = match (omitted.endorsements, omitted.gpu) {
            (false, false) => whole,
            (true, false) => no_endorsements,
            (false, true) => no_gpu,
            (true, true) => neither,
        };
        let frame = frame.get_or_init(|| {
            let Attestation {
                platform,
                endorsements,
            } = &self.report.attestation;
            let statement = self.report.statement.as_bytes();
            EnvelopeFrame::new(statement, platform, endorsements, self.gpu(), omitted)
        });
        frame.envelope(proof)
    }
}

/// One session's share of an epoch.
#[derive(Debug)]
pub(super) struct Granted {
    epoch: Arc<SignedEpoch>,
    position: usize,
    salt: Salt,
}

impl Granted {
    /// What the session is given. Made by its own task, so that the PSP's thread
    /// makes no proofs.
    pub(super) fn redeem(self) -> Option<Attested> {
        let proof = self.epoch.tree.prove(self.position, self.salt)?;
        let Report { digest, standing, .. } = self.epoch.report();
        Some(Attested {
            statement_digest: *digest,
            standing: *standing,
            epoch: self.epoch,
            proof,
        })
    }
}

#[cfg(test)]
mod tests;
