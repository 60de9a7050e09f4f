//! Of a pipeline's receipt, every link that was changed is found, by its code.

use super::*;
use crate::credential::tests::issuer;
use crate::digest::{BootId, ManifestDigest, Nonce, PlanDigest, PolicyDigest, Salt, TreeHash};
use crate::pipeline::plan::tests::contents;
use crate::pipeline::signed_plan::tests::signed as signed_plan;
use crate::pipeline::{LayerRange, Replan, SignedPlan, Speculation};
use crate::receipt::{Commitment, FinishReason, ReceiptClaims, ed25519_thumbprint};
use crate::statement::{GpuSeedKind, TimeSource};

/// Seed of the receipt key of a stage; the head's is stage 0's.
const fn seed(stage: u8) -> u8 {
    0x40 + stage
}

fn statement(stage: u8) -> EpochStatement {
    EpochStatement {
        boot_id: BootId::new([stage; 16]),
        epoch: 3,
        previous: StatementDigest::new([0; 32]),
        depth: 0,
        root: TreeHash::new([0; 32]),
        gpu_epoch: 0,
        gpu_digest: None,
        gpu_seed: GpuSeedKind::PreviousStatement,
        session_key: [0; 32],
        receipt_key: ed25519_thumbprint(&issuer(seed(stage)).1),
        sealed_key: None,
        model: contents().model,
        configuration: PolicyDigest::new([0; 32]),
        time_ms: 0,
        time_source: TimeSource::Host,
        debug: false,
        pipeline: false,
    }
}

/// A pipeline of three that answered well, and everything that can be changed.
#[derive(Clone)]
struct Answered {
    plan: SignedPlan,
    parts: Vec<PartClaims>,
    keys: Vec<u8>,
    claims: PipelineClaims,
    model: ManifestDigest,
    head: u8,
    statements: Vec<Option<(EpochStatement, StatementDigest)>>,
}

impl Answered {
    fn new() -> Self {
        let plan = signed_plan(1);
        let digest = |stage: u8| StatementDigest::new([0xd0 + stage; 32]);
        let parts = (0..3_u8)
            .map(|stage| {
                let of = plan.plan().stage(stage.into()).unwrap();
                PartClaims {
                    plan: plan.digest(),
                    stage: stage.into(),
                    layers: of.layers,
                    weights: of.weights,
                    statement: digest(stage),
                    input: [stage; 32],
                    output: [stage + 1; 32],
                    rows: 21,
                }
            })
            .collect();
        Self {
            claims: PipelineClaims {
                plan: plan.digest(),
                parts: Vec::new(),
                draft: plan.plan().draft(),
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
            },
            model: plan.plan().model(),
            plan,
            parts,
            keys: vec![seed(0), seed(1), seed(2)],
            head: seed(0),
            statements: (0..3)
                .map(|stage| Some((statement(stage), digest(stage))))
                .collect(),
        }
    }

    fn receipt(&self) -> Receipt {
        let salt = Salt::new([1; 32]);
        let parts = self.parts.iter().zip(&self.keys).map(|(claims, seed)| {
            crate::pipeline::part::tests::signed(claims, *seed)
                .as_bytes()
                .to_vec()
        });
        let mut pipeline = self.claims.clone();
        pipeline.parts.extend(parts);
        let claims = ReceiptClaims {
            issued_at: 1_764_000_000,
            nonce: Nonce::new([2; 32]),
            request: Commitment::request(&salt, b"question"),
            response: Commitment::response(&salt).finish(),
            model: self.model,
            statement: StatementDigest::new([4; 32]),
            sequence: 5,
            finish: FinishReason::Stop,
            sampling: [6; 32],
            usage: [7, 8],
            previous: [0; 32],
            pipeline: Some(pipeline),
        };
        let (pair, public) = issuer(self.head);
        Receipt::sign(claims, &public, |bytes| pair.sign(bytes).as_ref().try_into().ok()).unwrap()
    }

    fn chain(&self) -> ReceiptChain {
        self.chain_of(&self.receipt())
    }

    fn chain_of(&self, receipt: &Receipt) -> ReceiptChain {
        let evidence: Vec<_> = self
            .statements
            .iter()
            .map(|attested| {
                let (statement, digest) = attested.as_ref()?;
                Some(AttestedStage { statement, digest })
            })
            .collect();
        ReceiptChain::of(receipt, &self.plan, &evidence).unwrap()
    }
}

#[test]
fn a_pipelines_receipt_whose_links_all_hold_passes_every_check() {
    let chain = Answered::new().chain();
    assert_eq!(chain.failed(), None);
    assert_eq!((chain.whole.len(), chain.stages.len()), (8, 3));
    let all = chain.whole.iter().chain(chain.stages.iter().flatten());
    assert!(all.clone().all(|check| check.status == Status::Pass));
    let joins = all.filter(|check| check.id == "receipt.joins").count();
    assert_eq!(joins, 2, "between three stages");
}

type Change = fn(&mut Answered);

#[test]
fn every_link_that_was_changed_is_found_by_its_code() {
    let cases: [(&str, Change); 21] = [
        ("receipt.plan", |it| it.claims.plan = PlanDigest::new([9; 32])),
        ("receipt.plan", |it| it.plan = signed_plan(2)),
        ("receipt.plan_model", |it| it.model = ManifestDigest::new([9; 32])),
        ("receipt.stages", |it| {
            it.parts.pop();
        }),
        ("receipt.stages", |it| it.parts.push(it.parts[2])),
        ("receipt.draft", |it| {
            it.claims.draft = Some(ManifestDigest::new([9; 32]));
        }),
        ("receipt.draft", |it| it.claims.draft = None),
        ("receipt.speculation", |it| it.claims.speculation.accepted = 17),
        ("receipt.speculation", |it| it.claims.speculation.largest = 3),
        ("receipt.rows", |it| it.parts[1].rows = 22),
        ("receipt.emitted", |it| it.claims.emitted = [9; 32]),
        ("receipt.replans", |it| it.claims.replans[0].stage = 3),
        ("receipt.part_plan", |it| {
            it.parts[1].plan = PlanDigest::new([9; 32]);
        }),
        ("receipt.part_stage", |it| it.parts[1].stage = 2),
        ("receipt.part_layers", |it| {
            it.parts[1].layers = LayerRange::new(2, 4).unwrap();
        }),
        ("receipt.part_weights", |it| it.parts[1].weights = [9; 32]),
        ("receipt.joins", |it| it.parts[1].input = [9; 32]),
        ("receipt.head_key", |it| it.head = seed(7)),
        ("receipt.part_key", |it| it.keys[1] = seed(7)),
        ("receipt.stage_model", |it| {
            it.statements[1].as_mut().unwrap().0.model = ManifestDigest::new([9; 32]);
        }),
        ("receipt.stage_evidence", |it| it.statements[1] = None),
    ];
    for (code, change) in cases {
        let mut answered = Answered::new();
        change(&mut answered);
        while answered.keys.len() < answered.parts.len() {
            answered.keys.push(seed(2));
        }
        let chain = answered.chain();
        assert_eq!(chain.failed().map(|check| check.id), Some(code), "{chain:?}");
    }
}

#[test]
fn an_altered_or_swapped_part_fails_for_its_stage() {
    let answered = Answered::new();
    let mut altered = answered.clone();
    // The head signs over whatever it is given; the stages' signatures stand alone.
    altered.claims.parts = vec![
        crate::pipeline::part::tests::signed(&answered.parts[0], seed(0))
            .as_bytes()
            .to_vec(),
        {
            let part = crate::pipeline::part::tests::signed(&answered.parts[1], seed(1));
            let mut bytes = part.as_bytes().to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            bytes
        },
        crate::pipeline::part::tests::signed(&answered.parts[2], seed(2))
            .as_bytes()
            .to_vec(),
    ];
    altered.parts.clear();
    let chain = altered.chain();
    let failed: Vec<_> = chain.stages[1]
        .iter()
        .map(|check| (check.id, check.status))
        .collect();
    assert_eq!(failed, [("receipt.part", Status::Fail)]);
    assert!(
        chain.stages[2]
            .iter()
            .any(|check| check.id == "receipt.joins" && check.status == Status::Fail)
    );

    let mut swapped = answered;
    swapped.parts.swap(1, 2);
    swapped.keys.swap(1, 2);
    let chain = swapped.chain();
    assert_eq!(chain.failed().map(|check| check.id), Some("receipt.emitted"));
    assert!(
        chain.stages[1]
            .iter()
            .any(|check| check.id == "receipt.part_stage" && check.status == Status::Fail)
    );
}

#[test]
fn evidence_of_another_epoch_of_the_boot_is_skipped_and_said_so() {
    let mut answered = Answered::new();
    answered.parts[2].statement = StatementDigest::new([9; 32]);
    let chain = answered.chain();
    assert_eq!(chain.failed(), None);
    let statement = chain.stages[2]
        .iter()
        .find(|check| check.id == "receipt.part_statement");
    assert_eq!(statement.unwrap().status, Status::Skip);
}

#[test]
fn a_receipt_of_one_node_has_no_chain() {
    let answered = Answered::new();
    let mut claims = answered.receipt().claims().clone();
    claims.pipeline = None;
    let (pair, public) = issuer(seed(0));
    let receipt = Receipt::sign(claims, &public, |bytes| pair.sign(bytes).as_ref().try_into().ok()).unwrap();
    assert!(ReceiptChain::of(&receipt, &answered.plan, &[]).is_none());
}
