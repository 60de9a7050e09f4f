//! Evidence made by the tests themselves: certificates, revocation lists,
//! reports and sessions under keys of `tests/keys`, each part open to change,
//! so that every way of being wrong can be had. Holds no expectation.

pub(crate) mod azure;
pub(crate) mod der;
pub(crate) mod gpu_pki;
pub(crate) mod gpu_policies;
pub(crate) mod gpu_signing;
pub(crate) mod gpu_vectors;
pub(crate) mod gpus;
pub(crate) mod keys;
pub(crate) mod nras;
pub(crate) mod pki;
pub(crate) mod policies;
pub(crate) mod report;
pub(crate) mod vectors;

use bastide_attestation::{
    Binder, BootId, Endorsements, EpochStatement, Evidence, GpuPart, GpuSeedKind, InclusionProof,
    KeyThumbprint, LeafHash, ManifestDigest, PlatformEvidence, PolicyDigest, Salt, SessionExpectation,
    StatementDigest, TimeSource, Tree, TreeHash, UnixTime, Untrusted, Verdict, binding, sha256,
};
use bastide_verifier::{Policy, RecordedSnp, Verifier};

use pki::{CertificateSpec, CrlSpec, Kind};
use report::ReportSpec;

/// 2026-03-01T00:00:00Z: inside every window that the tests make.
pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_772_323_200);

/// The binder of the test's session.
pub(crate) const BINDER: Binder = Binder::new([0x5a; 32]);
/// The boot in the test's statement.
pub(crate) const BOOT_ID: [u8; 16] = [1; 16];
/// The model in the test's statement.
pub(crate) const MANIFEST: ManifestDigest = ManifestDigest::new([0x3c; 32]);

/// Everything that evidence is made of, before it is signed.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) report: ReportSpec,
    pub(crate) leaf: CertificateSpec,
    pub(crate) ask: CertificateSpec,
    pub(crate) ark: CertificateSpec,
    pub(crate) crl: Option<CrlSpec>,
    pub(crate) statement: EpochStatement,
    /// Statement bytes to send instead of the statement's own.
    pub(crate) statement_bytes: Option<Vec<u8>>,
    pub(crate) proof: InclusionProof,
    /// What is sent of GPUs.
    pub(crate) gpu: Option<GpuPart>,
}

/// Evidence, signed.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) report: Vec<u8>,
    pub(crate) vek: Vec<u8>,
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) crl: Option<Vec<u8>>,
    pub(crate) statement: Vec<u8>,
    pub(crate) proof: InclusionProof,
    pub(crate) gpu: Option<GpuPart>,
}

impl Case {
    /// Good evidence of a processor.
    pub(crate) fn new(kind: Kind) -> Self {
        let proof_salt = Salt::new([0x77; 32]);
        let leaf = binding::leaf(binding::LeafType::ServerTls, &proof_salt, &BINDER);
        let mut leaves = vec![LeafHash::new([0x11; 32]); 16];
        leaves[5] = leaf;
        let tree = Tree::new(&leaves).expect("16 leaves are a permitted number");
        let statement = EpochStatement {
            boot_id: BootId::new(BOOT_ID),
            epoch: 7,
            previous: StatementDigest::new([2; 32]),
            depth: tree.depth(),
            root: tree.root(),
            gpu_epoch: gpus::GPU_EPOCH,
            gpu_digest: None,
            gpu_seed: GpuSeedKind::PreviousStatement,
            session_key: [4; 32],
            receipt_key: KeyThumbprint::new([5; 32]),
            sealed_key: None,
            model: MANIFEST,
            configuration: PolicyDigest::new([7; 32]),
            time_ms: NOW.as_secs() * 1000,
            time_source: TimeSource::Host,
            debug: false,
            pipeline: false,
        };
        Self {
            report: ReportSpec::new(kind),
            leaf: CertificateSpec::leaf(kind),
            ask: CertificateSpec::ask(kind),
            ark: CertificateSpec::ark(kind),
            crl: None,
            statement,
            statement_bytes: None,
            proof: tree.prove(5, proof_salt).expect("leaf 5 is in the tree"),
            gpu: None,
        }
    }

    /// Good evidence of a processor, signed by a provider's key: no chip is named.
    pub(crate) fn vlek(kind: Kind) -> Self {
        let mut case = Self::new(kind);
        case.report.bytes[0x48] = 1 << 2;
        case.report.put(0x1a0, &[0; 64]);
        Self {
            leaf: CertificateSpec::vlek(kind),
            ask: CertificateSpec::asvk(kind),
            ..case
        }
    }

    /// Good evidence of a processor, of a machine that vouches for these GPUs.
    pub(crate) fn with_gpus(kind: Kind, part: GpuPart) -> Self {
        let mut case = Self::new(kind);
        case.statement.gpu_digest = Some(sha256(&[&part.evidence]));
        case.gpu = Some(part);
        case
    }

    /// The same, changed.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Signs everything. REPORT_DATA is the statement's unless it was set.
    pub(crate) fn make(&self) -> Made {
        let statement = self
            .statement_bytes
            .clone()
            .unwrap_or_else(|| self.statement.encode().as_bytes().to_vec());
        let mut report = self.report.clone();
        report
            .report_data
            .get_or_insert_with(|| *binding::report_data(&statement).as_bytes());
        Made {
            report: report.sign(),
            vek: self.leaf.sign(),
            chain: vec![self.ask.sign(), self.ark.sign()],
            crl: self.crl.as_ref().map(CrlSpec::sign),
            statement,
            proof: self.proof.clone(),
            gpu: self.gpu.clone(),
        }
    }
}

impl Made {
    /// As a recorded report.
    pub(crate) fn recorded(&self) -> RecordedSnp<'_> {
        RecordedSnp {
            report: &self.report,
            vek: &self.vek,
            chain: &self.chain,
            crl: self.crl.as_deref(),
            report_data: None,
        }
    }

    /// As evidence of a session.
    pub(crate) fn evidence(&self) -> Untrusted<Evidence> {
        Untrusted::new(Evidence {
            statement: self.statement.clone(),
            proof: self.proof.clone(),
            platform: PlatformEvidence::Snp(Box::new(
                self.report
                    .as_slice()
                    .try_into()
                    .expect("a live report has its length"),
            )),
            endorsements: Endorsements {
                vek: self.vek.clone(),
                chain: self.chain.clone(),
                crl: self.crl.clone(),
            },
            gpu: self.gpu.clone(),
        })
    }

    /// The verdict of `policy` on it as a recorded report, at [`NOW`].
    pub(crate) fn verdict(&self, policy: &Policy) -> Verdict {
        Verifier::new(policy.clone()).appraise_recorded(&self.recorded(), NOW)
    }

    /// The verdict of `policy` on it as evidence of the test's session, at [`NOW`].
    pub(crate) fn live_verdict(&self, policy: &Policy) -> Verdict {
        use bastide_attestation::Appraiser;
        let verifier = Verifier::new(policy.clone());
        match verifier.appraise(&self.evidence(), &expectation(), NOW) {
            Ok(result) => result.verdict.into_verdict(),
            Err(verdict) => *verdict,
        }
    }
}

/// What the test's session requires.
pub(crate) fn expectation() -> SessionExpectation {
    SessionExpectation {
        binder: BINDER,
        leaf: binding::LeafType::ServerTls,
    }
}

/// A root that no leaf of the tests is under.
pub(crate) fn other_root() -> TreeHash {
    TreeHash::new([0xee; 32])
}
