//! A plan for people and for scripts. Texts in it come from a file: they are
//! escaped here, digests are cut for people and whole in JSON.

use bastide_attestation::ed25519_thumbprint;
use bastide_attestation::link::Required;
use bastide_attestation::pipeline::{Plan, SignedPlan};
use bastide_attestation::sha256;
use bastide_verifier::Policy;
use serde_json::{Value, json};

use crate::escape::{brief, line};
use crate::tree::Tree;

/// What a plan says, as a tree under `title`.
pub(crate) fn tree(title: String, plan: &Plan, signed: Option<&SignedPlan>) -> Tree {
    let leaf = |name: &str, value: &str| Tree::leaf(format!("{name:<9}  {}", brief(value)));
    let mut under = vec![
        leaf("pipeline", &plan.pipeline().to_string()),
        leaf("model", &plan.model().to_string()),
        leaf(
            "draft",
            &plan
                .draft()
                .map_or_else(|| "none".to_owned(), |draft| draft.to_string()),
        ),
        leaf("layers", &plan.layers().to_string()),
    ];
    if let Some(signed) = signed {
        under.push(leaf("owner", &owner(signed)));
        under.push(leaf("digest", &signed.digest().to_string()));
    }
    for (number, stage) in plan.stages().iter().enumerate() {
        under.push(Tree::leaf(format!(
            "stage {number:<3}  layers {:<9}  weights {}  policy {}",
            stage.layers.to_string(),
            brief(&hex::encode(stage.weights)),
            stage.policy
        )));
    }
    for (number, bytes) in plan.policies().iter().enumerate() {
        under.push(leaf(&format!("policy {number}"), &policy(bytes)));
    }
    under.push(admitted(plan));
    Tree::new(title, under)
}

fn owner(signed: &SignedPlan) -> String {
    ed25519_thumbprint(signed.owner()).to_string()
}

fn policy(bytes: &[u8]) -> String {
    let digest = hex::encode(sha256(&[bytes]));
    match Policy::parse(bytes) {
        Ok(policy) => format!("{}@sha256:{digest}", line(policy.name())),
        Err(_) => format!("no policy that this program understands, sha256:{digest}"),
    }
}

fn admitted(plan: &Plan) -> Tree {
    let rules = plan.rules().peer_rules();
    let mut under: Vec<Tree> = Vec::new();
    for issuer in rules.issuers() {
        under.push(Tree::leaf(format!(
            "credentials of  {}",
            brief(&hex::encode(issuer))
        )));
    }
    for chip in &rules.hardware().chips {
        under.push(Tree::leaf(format!(
            "CHIP_ID         {}",
            brief(&chip.to_string())
        )));
    }
    for csp_id in &rules.hardware().csp_ids {
        under.push(Tree::leaf(format!("CSP_ID          {}", brief(csp_id))));
    }
    Tree::new(format!("admitted by {}", required(plan)), under)
}

fn required(plan: &Plan) -> &'static str {
    match plan.rules().peer_rules().required() {
        Required::Either => "hardware or credential",
        Required::Both => "hardware and credential",
    }
}

/// What a signed plan says, for JSON.
pub(crate) fn object(signed: &SignedPlan) -> Value {
    let plan = signed.plan();
    let rules = plan.rules().peer_rules();
    let stages: Vec<Value> = plan
        .stages()
        .iter()
        .enumerate()
        .map(|(number, stage)| {
            json!({
                "stage": number,
                "layers": [stage.layers.first(), stage.layers.end()],
                "weights": hex::encode(stage.weights),
                "policy": stage.policy,
            })
        })
        .collect();
    let policies: Vec<Value> = plan
        .policies()
        .iter()
        .map(|bytes| {
            json!({
                "name": Policy::parse(bytes).ok().map(|policy| policy.name().to_owned()),
                "digest": hex::encode(sha256(&[bytes])),
            })
        })
        .collect();
    json!({
        "digest": signed.digest().to_string(),
        "owner": hex::encode(signed.owner()),
        "owner_id": owner(signed),
        "pipeline": plan.pipeline().to_string(),
        "model": plan.model().to_string(),
        "draft": plan.draft().map(|draft| draft.to_string()),
        "layers": plan.layers(),
        "stages": stages,
        "policies": policies,
        "admit": {
            "issuers": rules.issuers().iter().map(hex::encode).collect::<Vec<_>>(),
            "chips": rules.hardware().chips.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "csp_ids": rules.hardware().csp_ids,
            "required": match rules.required() {
                Required::Either => "either",
                Required::Both => "both",
            },
        },
    })
}
