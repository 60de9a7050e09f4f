//! What owner, stages and clients of a pipeline say: stage binders, signed
//! plans, signed parts, and the exchange for evidence; each with what to refuse.

use std::collections::BTreeSet;

use bastide_attestation::binding::stage_binder;
use bastide_attestation::codec::MapBuilder;
use bastide_attestation::link::{HardwareRules, LinkContext, Required};
use bastide_attestation::pipeline::{
    LayerRange, PartClaims, PipelineAnswer, PipelineRequest, Plan, PlanContents, PlanRules, SignedPart,
    SignedPlan, StagePlan,
};
use bastide_attestation::{
    ChipId, ManifestDigest, Nonce, PipelineId, PlanDigest, StatementDigest, ed25519_thumbprint,
};
use coset::{CoseSign1Builder, HeaderBuilder, TaggedCborSerializable as _, iana};
use serde_json::{Value, json};

use super::{ed25519, pattern, sign};

const OWNER: u8 = 0x71;
const STAGE: u8 = 0x72;
const PLAN_AAD: &[u8] = b"bastide-pipeline-plan-v1";
const PART_AAD: &[u8] = b"bastide-pipeline-part-v1";

pub(super) fn file() -> Value {
    super::with_head(
        "docs/spec/pipeline.md: binders of stages, signed plans, signed parts, the exchange for evidence",
        json!({
            "stage_binder": binders(),
            "plan": plans(),
            "plan_refused": plans_refused(),
            "part": [part()],
            "part_refused": parts_refused(),
            "evidence": [exchange()],
        }),
    )
}

fn context(stage: u16) -> LinkContext {
    LinkContext {
        pipeline: PipelineId::new([0x66; 16]),
        stage,
        model: ManifestDigest::new([0x77; 32]),
    }
}

fn binders() -> Vec<Value> {
    let (nonce, plan) = (Nonce::new(pattern(0x73)), PlanDigest::new(pattern(0x74)));
    [0, 3, 15]
        .map(|stage| {
            json!({
                "nonce": nonce.to_string(),
                "plan": plan.to_string(),
                "pipeline": hex::encode([0x66; 16]),
                "stage": stage,
                "model": hex::encode([0x77; 32]),
                "binder": stage_binder(&nonce, &plan, &context(stage).digest()).to_string(),
            })
        })
        .to_vec()
}

fn contents(cuts: &[u16], policies: &[&[u8]], draft: bool, required: Required) -> PlanContents {
    let mut first = 0;
    let stages = cuts.iter().enumerate().map(|(number, end)| {
        let layers = LayerRange::new(first, *end).expect("cuts rise");
        first = *end;
        StagePlan {
            layers,
            weights: pattern(u8::try_from(number).expect("few stages")),
            policy: u8::try_from(number % policies.len()).expect("few policies"),
        }
    });
    let hardware = HardwareRules {
        chips: BTreeSet::from([ChipId::new([7; 64]), ChipId::new([8; 64])]),
        csp_ids: BTreeSet::from(["CN=cc-us-east-2.example".to_owned()]),
    };
    PlanContents {
        pipeline: PipelineId::new([0x66; 16]),
        model: ManifestDigest::new([0x77; 32]),
        draft: draft.then(|| ManifestDigest::new([0x78; 32])),
        stages: stages.collect(),
        policies: policies.iter().map(|policy| policy.to_vec()).collect(),
        rules: PlanRules::new(&[pattern(0x76), pattern(0x75)], hardware, required)
            .expect("somebody is admitted"),
    }
}

fn plans() -> Vec<Value> {
    let (pair, public) = ed25519(pattern(OWNER));
    let many: Vec<u16> = (1..=16).map(|stage| stage * 256).collect();
    [
        contents(&[6], &[b"version = 1\n"], false, Required::Either),
        contents(
            &[2, 5, 6],
            &[b"version = 1\n", b"version = 2\n"],
            true,
            Required::Both,
        ),
        contents(&many, &[b"version = 1\n"], true, Required::Either),
    ]
    .map(|contents| {
        let plan = Plan::new(contents).expect("a good plan");
        let signed =
            SignedPlan::sign(&plan, &public, |message| Some(sign(&pair, message))).expect("the key signs");
        json!({
            "owner_seed": hex::encode(pattern::<32>(OWNER)),
            "owner": hex::encode(public),
            "pipeline": plan.pipeline().to_string(),
            "model": plan.model().to_string(),
            "draft": plan.draft().map(|draft| draft.to_string()),
            "layers": plan.layers(),
            "stages": plan.stages().iter().map(|stage| json!({
                "first": stage.layers.first(),
                "end": stage.layers.end(),
                "weights": hex::encode(stage.weights),
                "policy": stage.policy,
            })).collect::<Vec<_>>(),
            "policies": plan.policies().iter().map(hex::encode).collect::<Vec<_>>(),
            "cose": hex::encode(signed.as_bytes()),
            "digest": signed.digest().to_string(),
        })
    })
    .to_vec()
}

/// One stage of a map of stages.
fn stage(first: u64, end: u64, policy: u64) -> MapBuilder {
    MapBuilder::new()
        .uint(1, first)
        .uint(2, end)
        .bytes(3, &[1; 32])
        .uint(4, policy)
}

/// The members of a good plan, to be changed.
fn map() -> MapBuilder {
    let (_, public) = ed25519(pattern(OWNER));
    MapBuilder::new()
        .uint(1, 1)
        .bytes(2, &[0x66; 16])
        .bytes(3, &[0x77; 32])
        .bytes_or_null(4, None)
        .uint(5, 6)
        .text(6, "f32")
        .map(7, MapBuilder::new().map(0, stage(0, 2, 0)).map(1, stage(2, 6, 0)))
        .map(8, MapBuilder::new().bytes(0, b"version = 1\n"))
        .map(9, rules())
        .bytes(10, &public)
}

fn rules() -> MapBuilder {
    MapBuilder::new()
        .hashes(1, &[pattern(0x75)])
        .bytes(2, &[7; 64])
        .texts(3, &[])
        .uint(4, 0)
}

/// Validly signed by the owner, whatever it says.
fn signed(map: &MapBuilder, aad: &[u8]) -> Vec<u8> {
    let (pair, public) = ed25519(pattern(OWNER));
    let kid = ed25519_thumbprint(&public).as_bytes().to_vec();
    let header = HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).key_id(kid);
    CoseSign1Builder::new()
        .protected(header.build())
        .payload(map.encode())
        .create_signature(aad, |message| sign(&pair, message).to_vec())
        .build()
        .to_tagged_vec()
        .expect("a COSE_Sign1 encodes")
}

fn refused(why: &str, bytes: &[u8], error: &dyn core::fmt::Display) -> Value {
    json!({"why": why, "cose": hex::encode(bytes), "error": error.to_string()})
}

fn plans_refused() -> Vec<Value> {
    let good = signed(&map(), PLAN_AAD);
    assert!(SignedPlan::verify(&good).is_ok(), "what is changed below is good");
    let stages = |stages: MapBuilder| signed(&map().map(7, stages), PLAN_AAD);
    let ruled = |rules: MapBuilder| signed(&map().map(9, rules), PLAN_AAD);
    let mut flipped = good.clone();
    *flipped.last_mut().expect("a plan has bytes") ^= 1;
    let (stranger, two) = (
        ed25519(pattern(STAGE)).1,
        MapBuilder::new().map(0, stage(0, 6, 0)),
    );
    [
        ("a flipped bit of the signature", flipped),
        ("a byte after the end", [&good[..], &[0]].concat()),
        ("signed for another purpose", signed(&map(), PART_AAD)),
        (
            "another owner in the payload than in the header",
            signed(&map().bytes(10, &stranger), PLAN_AAD),
        ),
        ("another version", signed(&map().uint(1, 2), PLAN_AAD)),
        ("an unknown key", signed(&map().uint(11, 1), PLAN_AAD)),
        ("other arithmetic", signed(&map().text(6, "bf16"), PLAN_AAD)),
        ("no stages", stages(MapBuilder::new())),
        (
            "a layer that nobody has",
            stages(two.clone().map(0, stage(0, 2, 0)).map(1, stage(3, 6, 0))),
        ),
        (
            "a layer that two have",
            stages(two.clone().map(0, stage(0, 3, 0)).map(1, stage(2, 6, 0))),
        ),
        ("layers from 1 on", stages(two.clone().map(0, stage(1, 6, 0)))),
        (
            "fewer layers than the model",
            stages(two.clone().map(0, stage(0, 5, 0))),
        ),
        (
            "a stage without layers",
            stages(two.clone().map(1, stage(6, 6, 0))),
        ),
        (
            "a gap in the numbers of stages",
            stages(two.clone().map(2, stage(6, 7, 0))),
        ),
        ("a policy that there isn't", stages(two.map(0, stage(0, 6, 1)))),
        (
            "a policy that nobody is held to",
            signed(
                &map().map(8, MapBuilder::new().bytes(0, b"a").bytes(1, b"b")),
                PLAN_AAD,
            ),
        ),
        (
            "an empty policy",
            signed(&map().map(8, MapBuilder::new().bytes(0, b"")), PLAN_AAD),
        ),
        ("a CHIP_ID of zeros", ruled(rules().bytes(2, &[0; 64]))),
        (
            "CHIP_IDs that descend",
            ruled(rules().bytes(2, &[[8_u8; 64], [7; 64]].concat())),
        ),
        ("an issuer twice", ruled(rules().hashes(1, &[[1; 32], [1; 32]]))),
        ("nobody is admitted", ruled(rules().hashes(1, &[]).bytes(2, &[]))),
    ]
    .map(|(why, bytes)| {
        let error = SignedPlan::verify(&bytes).expect_err(why);
        refused(why, &bytes, &error)
    })
    .to_vec()
}

fn claims() -> PartClaims {
    PartClaims {
        plan: PlanDigest::new(pattern(0x74)),
        stage: 2,
        layers: LayerRange::new(4, 6).expect("a range"),
        weights: pattern(0x79),
        statement: StatementDigest::new(pattern(0x7a)),
        input: pattern(0x7b),
        output: pattern(0x7c),
        rows: 77,
    }
}

fn part() -> Value {
    let (pair, public) = ed25519(pattern(STAGE));
    let claims = claims();
    let signed =
        SignedPart::sign(&claims, &public, |message| Some(sign(&pair, message))).expect("the key signs");
    json!({
        "seed": hex::encode(pattern::<32>(STAGE)),
        "public": hex::encode(public),
        "plan": claims.plan.to_string(),
        "stage": claims.stage,
        "first": claims.layers.first(),
        "end": claims.layers.end(),
        "weights": hex::encode(claims.weights),
        "statement": claims.statement.to_string(),
        "in": hex::encode(claims.input),
        "out": hex::encode(claims.output),
        "rows": claims.rows,
        "cose": hex::encode(signed.as_bytes()),
    })
}

fn parts_refused() -> Vec<Value> {
    let (pair, public) = ed25519(pattern(STAGE));
    let map = || {
        MapBuilder::new()
            .bytes(1, &pattern::<32>(0x74))
            .uint(2, 2)
            .uints(3, &[4, 6])
            .bytes(4, &pattern::<32>(0x79))
            .bytes(5, &pattern::<32>(0x7a))
            .bytes(6, &pattern::<32>(0x7b))
            .bytes(7, &pattern::<32>(0x7c))
            .uint(8, 77)
            .bytes(9, &public)
    };
    let signed = |map: MapBuilder, aad: &[u8]| {
        CoseSign1Builder::new()
            .protected(HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).build())
            .payload(map.encode())
            .create_signature(aad, |message| sign(&pair, message).to_vec())
            .build()
            .to_tagged_vec()
            .expect("a COSE_Sign1 encodes")
    };
    let good = signed(map(), PART_AAD);
    assert!(SignedPart::verify(&good).is_ok(), "what is changed below is good");
    let mut flipped = good.clone();
    *flipped.last_mut().expect("a part has bytes") ^= 1;
    [
        ("a flipped bit of the signature", flipped),
        ("signed for another purpose", signed(map(), b"bastide-receipt-v1")),
        ("a stage that there can't be", signed(map().uint(2, 16), PART_AAD)),
        ("no layers", signed(map().uints(3, &[6, 6]), PART_AAD)),
        (
            "more rows than 32 bits say",
            signed(map().uint(8, 1 << 32), PART_AAD),
        ),
        ("an unknown key", signed(map().uint(10, 1), PART_AAD)),
        (
            "another key than the one that signed",
            signed(map().bytes(9, &[9; 32]), PART_AAD),
        ),
    ]
    .map(|(why, bytes)| {
        let error = SignedPart::verify(&bytes).expect_err(why);
        refused(why, &bytes, &error)
    })
    .to_vec()
}

fn exchange() -> Value {
    let request = PipelineRequest {
        nonce: Nonce::new(pattern(0x73)),
    };
    let answer = PipelineAnswer {
        plan: pattern::<40>(0x7d).to_vec(),
        stages: vec![Some(pattern::<60>(0x7e).to_vec()), None, Some(vec![1])],
    };
    json!({
        "nonce": request.nonce.to_string(),
        "request": hex::encode(request.encode()),
        "plan": hex::encode(&answer.plan),
        "stages": answer.stages.iter().map(|stage| stage.as_ref().map(hex::encode)).collect::<Vec<_>>(),
        "answer": hex::encode(answer.encode()),
    })
}
