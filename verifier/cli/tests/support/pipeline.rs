//! A pipeline of simulated guests: their evidence, their plan, and the receipt
//! of an answer that each had a part in. Everything is as enclaves make it.

use std::time::Duration;

use bastide_attestation::binding::{LeafType, leaf, stage_binder};
use bastide_attestation::link::{HardwareRules, Required};
use bastide_attestation::pipeline::{
    LayerRange, PartClaims, PipelineAnswer, PipelineClaims, Plan, PlanContents, PlanRules, Replan,
    SignedPart, SignedPlan, Speculation, StagePlan,
};
use bastide_attestation::{
    Attester as _, Binder, BootId, ChipId, Commitment, EpochStatement, Evidence, FinishReason, GpuSeedKind,
    ManifestDigest, Nonce, PipelineId, PolicyDigest, Receipt, ReceiptClaims, Salt, StatementDigest,
    TimeSource, Tree, UnixTime, binding, ed25519_thumbprint,
};
use bastide_attester::simulator::{Generation, Simulator, SimulatorOptions};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// March 2026.
pub(crate) const AT: u64 = 1_772_323_200;
pub(crate) const MODEL: ManifestDigest = ManifestDigest::new([0x60; 32]);

/// The key of a small number, and its public half.
pub(crate) fn key(seed: u8) -> (Ed25519KeyPair, [u8; 32]) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    (pair, public)
}

/// The shipped policy for simulated machines, without GPUs.
pub(crate) fn policy() -> String {
    let mut policy: toml::Table = bastide_verifier::shipped::by_name("development")
        .unwrap()
        .parse()
        .unwrap();
    policy.remove("gpu").unwrap();
    policy["roots"].as_table_mut().unwrap().remove("gpu_extra");
    let ignored = policy["ignore"].as_array_mut().unwrap();
    ignored.retain(|check| !check.as_str().unwrap().starts_with("gpu."));
    toml::to_string(&policy).unwrap()
}

/// One enclave of a pipeline.
pub(crate) struct Guest {
    simulator: Simulator,
    /// Seed of its receipt key.
    pub(crate) seed: u8,
    /// What it says that it computes.
    pub(crate) model: ManifestDigest,
}

impl Guest {
    pub(crate) fn new(seed: u8) -> Self {
        let mut options = SimulatorOptions::new(Generation::Genoa, UnixTime::from_secs(AT));
        options.latency = Duration::ZERO;
        options.chip = seed;
        Self {
            simulator: Simulator::new(options).unwrap(),
            seed,
            model: MODEL,
        }
    }

    /// Evidence bound to `binder`, in an epoch of its own.
    pub(crate) fn attest(&self, kind: LeafType, binder: &Binder, epoch: u64) -> Evidence {
        let salt = Salt::new([0x77; 32]);
        let tree = Tree::new(&[leaf(kind, &salt, binder)]).unwrap();
        let statement = EpochStatement {
            boot_id: BootId::new([self.seed; 16]),
            epoch,
            previous: StatementDigest::new([0; 32]),
            depth: tree.depth(),
            root: tree.root(),
            gpu_epoch: 0,
            gpu_digest: None,
            gpu_seed: GpuSeedKind::PreviousStatement,
            session_key: [4; 32],
            receipt_key: ed25519_thumbprint(&key(self.seed).1),
            sealed_key: None,
            model: self.model,
            configuration: PolicyDigest::new([7; 32]),
            time_ms: AT * 1000,
            time_source: TimeSource::Host,
            debug: false,
            pipeline: false,
        }
        .encode();
        let attestation = self.simulator.attest(&statement).unwrap();
        Evidence {
            statement: statement.as_bytes().to_vec(),
            proof: tree.prove(0, salt).unwrap(),
            platform: attestation.platform,
            endorsements: attestation.endorsements,
            gpu: None,
        }
    }
}

/// Three guests, and the plan that their owner signed.
pub(crate) struct Pipeline {
    pub(crate) guests: Vec<Guest>,
    pub(crate) plan: SignedPlan,
}

impl Pipeline {
    pub(crate) fn new() -> Self {
        let stage = |first, end| StagePlan {
            layers: LayerRange::new(first, end).unwrap(),
            weights: [u8::try_from(end).unwrap(); 32],
            policy: 0,
        };
        let rules = HardwareRules {
            chips: [ChipId::new([7; 64])].into(),
            ..HardwareRules::default()
        };
        let plan = Plan::new(PlanContents {
            pipeline: PipelineId::new([0x66; 16]),
            model: MODEL,
            draft: Some(ManifestDigest::new([0x61; 32])),
            stages: vec![stage(0, 2), stage(2, 4), stage(4, 6)],
            policies: vec![policy().into_bytes()],
            rules: PlanRules::new(&[], rules, Required::Either).unwrap(),
        })
        .unwrap();
        Self {
            guests: (1..=3).map(Guest::new).collect(),
            plan: signed(&plan, 9),
        }
    }

    /// A stage's evidence for a client's nonce.
    pub(crate) fn stage(&self, guest: usize, number: u16, nonce: &Nonce) -> Vec<u8> {
        let context = self.plan.plan().context(number).unwrap().digest();
        let binder = stage_binder(nonce, &self.plan.digest(), &context);
        self.guests[guest].attest(LeafType::Stage, &binder, 5).encode()
    }

    /// What an honest head answers.
    pub(crate) fn answer(&self, nonce: &Nonce) -> PipelineAnswer {
        PipelineAnswer {
            plan: self.plan.as_bytes().to_vec(),
            stages: (0..3).map(|at| Some(self.stage(at.into(), at, nonce))).collect(),
        }
    }

    /// What the stages sign of an answer, by statement digests that are given.
    pub(crate) fn parts(&self, statements: &[StatementDigest]) -> Vec<PartClaims> {
        (0..)
            .zip(self.plan.plan().stages())
            .zip(statements)
            .map(|((number, stage), statement)| PartClaims {
                plan: self.plan.digest(),
                stage: number,
                layers: stage.layers,
                weights: stage.weights,
                statement: *statement,
                input: [u8::try_from(number).unwrap(); 32],
                output: [u8::try_from(number).unwrap() + 1; 32],
                rows: 21,
            })
            .collect()
    }

    /// The head's receipt over these parts, under a statement of the head's.
    pub(crate) fn receipt(&self, parts: &[PartClaims], statement: StatementDigest) -> Receipt {
        let signed = parts.iter().zip(&self.guests).map(|(part, guest)| {
            let (pair, public) = key(guest.seed);
            let part = SignedPart::sign(part, &public, |bytes| pair.sign(bytes).as_ref().try_into().ok());
            part.unwrap().as_bytes().to_vec()
        });
        let salt = Salt::new([1; 32]);
        let claims = ReceiptClaims {
            issued_at: AT,
            nonce: Nonce::new([2; 32]),
            request: Commitment::request(&salt, b"question"),
            response: Commitment::response(&salt).finish(),
            model: MODEL,
            statement,
            sequence: 5,
            finish: FinishReason::Stop,
            sampling: [6; 32],
            usage: [7, 15],
            previous: [0; 32],
            pipeline: Some(PipelineClaims {
                plan: self.plan.digest(),
                parts: signed.collect(),
                draft: self.plan.plan().draft(),
                speculation: Speculation {
                    drafted: 16,
                    accepted: 9,
                    rounds: 4,
                    largest: 4,
                },
                emitted: [3; 32],
                replans: vec![Replan {
                    position: 12,
                    stage: 1,
                    code: 2,
                }],
            }),
        };
        let (pair, public) = key(self.guests[0].seed);
        Receipt::sign(claims, &public, |bytes| pair.sign(bytes).as_ref().try_into().ok()).unwrap()
    }
}

/// A plan under the key of a small number.
pub(crate) fn signed(plan: &Plan, seed: u8) -> SignedPlan {
    let (pair, public) = key(seed);
    SignedPlan::sign(plan, &public, |bytes| pair.sign(bytes).as_ref().try_into().ok()).unwrap()
}

/// SHA-256 of the statement in an envelope.
pub(crate) fn statement_of(envelope: &[u8]) -> StatementDigest {
    let evidence = Evidence::decode(envelope).unwrap();
    binding::statement_digest(&evidence.as_unverified().statement)
}
