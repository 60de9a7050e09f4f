//! `bastide pipeline plan`: every node is attested, and says what it can
//! carry; the layers are split among them, and the plan is written for its
//! owner to read and sign. Nothing is started by it.

mod estimate;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use bastide_attestation::pipeline::LayerRange;
use bastide_attestation::pipeline::latency::Ring;
use bastide_attestation::{ChipId, ManifestDigest, PipelineId};
use bastide_attested_tls::NodeAddress;
use clap::Args;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::json;

use super::super::block_on;
use crate::console::Console;
use crate::escape::line;
use crate::fault::Fault;
use crate::file::{self, Existing};
use crate::gate::Gate;
use crate::pipeline::capacity::{self, Capacity};
use crate::pipeline::file::SCHEMA;
use crate::pipeline::split;
use crate::pipeline::weights::Weights;
use crate::{exit, key_file, policy_source, progress};
use estimate::{estimate, mebibytes, ring, shown};

const ESTIMATE_SCHEMA: &str = "bastide.pipeline-estimate/v1";
/// Split a model over attested nodes, and write the plan for its owner to sign
#[derive(Debug, Args)]
#[command(after_help = format!("\
Every node is judged by the policy, as `bastide verify` does it, and asked what it can carry. The
nodes are the stages in the order named; the first is the head, to which clients talk. Layers are
split so that the slowest stage is as fast as it can be within the nodes' memory. What comes out is a
text to read and change: nothing counts before `bastide pipeline sign`.

Tokens per second are estimated for one answer, from the nodes' own speed and the round trips that
were measured from here: between two nodes half of each round trip is assumed, which no shorter way
exceeds. Give --hop-ms if you know better.

Examples:
  bastide pipeline plan ./model --nodes https://a.example,https://b.example --policy ours.toml
  bastide pipeline plan ./model --nodes https://a.example,https://b.example,https://c.example \\
      --spare https://d.example --policy ours.toml --hop-ms 10 -o plan.toml --output json

{}", exit::HELP))]
pub(super) struct Arguments {
    /// Directory of the model that every node was given
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The nodes, in the order of the stages; the first is the head
    #[arg(long, value_name = "URL,URL,…", required = true, value_delimiter = ',')]
    nodes: Vec<NodeAddress>,
    /// How many of the nodes become stages; the others are spares [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    stages: Option<u8>,
    /// A node that waits to take a lost stage's place; may be repeated
    #[arg(long, value_name = "URL")]
    spare: Vec<NodeAddress>,
    /// Policy of every stage, or of each in order: a file, or a shipped one's name; may be repeated
    #[arg(long, value_name = "FILE|NAME", default_value = "production")]
    policy: Vec<String>,
    /// Accept simulated hardware where the policy lists its roots; nothing is confidential then
    #[arg(long)]
    allow_simulated: bool,
    /// Manifest of the draft model alone, in hex [default: the one that the head says it has]
    #[arg(long, value_name = "HEX")]
    draft: Option<ManifestDigest>,
    /// Public key of who issues membership credentials: hex, or a file of keys; may be repeated
    #[arg(long, value_name = "KEY|FILE")]
    issuer: Vec<String>,
    /// Name of the pipeline, 16 bytes in hex [default: drawn at random]
    #[arg(long, value_name = "HEX")]
    pipeline: Option<PipelineId>,
    /// Milliseconds from one node to the next, one way, instead of what was measured
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    hop_ms: Option<f64>,
    /// Where the plan goes; never overwritten
    #[arg(short = 'o', long = "out", value_name = "FILE", default_value = "plan.toml")]
    file: PathBuf,
}

fn milliseconds(text: &str) -> Result<f64, String> {
    let wanted = "expected milliseconds, from 0 to 10000";
    let ms: f64 = text.parse().map_err(|_| wanted.to_owned())?;
    (0.0..=10_000.0)
        .contains(&ms)
        .then_some(ms)
        .ok_or_else(|| wanted.to_owned())
}

/// A node that proved itself, and what it can carry.
struct Node {
    address: NodeAddress,
    policy: String,
    model: ManifestDigest,
    chip: Option<ChipId>,
    capacity: Capacity,
    round_trip: Duration,
}

/// One stage of the plan that is being made.
struct Placed<'a> {
    node: &'a Node,
    layers: LayerRange,
    bytes: u64,
    weights: [u8; 32],
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if a node is refused or doesn't say what it can carry, the model
/// can't be read, or the nodes can't carry it.
pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let weights = Weights::read(&arguments.model)?;
    let stages = arguments.stages.map_or(arguments.nodes.len(), usize::from);
    if !(1..=16).contains(&stages) || stages > arguments.nodes.len() {
        return Err(Fault::usage(
            "pipeline.nodes",
            format!(
                "{stages} stages and {} nodes: expected 1 to 16 stages, and a node for each",
                arguments.nodes.len()
            ),
        ));
    }
    let named = arguments.policy.len();
    if named != 1 && named != stages {
        return Err(Fault::usage(
            "pipeline.nodes",
            format!("{named} policies for {stages} stages: expected one, or one for each stage"),
        ));
    }
    let mut issuers = Vec::new();
    for key in &arguments.issuer {
        issuers.extend(key_file::public_keys(key)?.iter().map(ToString::to_string));
    }
    let spares = arguments.nodes.iter().skip(stages).chain(&arguments.spare);
    let all: Vec<&NodeAddress> = arguments.nodes.iter().take(stages).chain(spares).collect();
    let nodes = block_on(async {
        let mut nodes = Vec::new();
        for (number, address) in all.iter().enumerate() {
            let policy = arguments
                .policy
                .get(number.min(stages - 1))
                .or_else(|| arguments.policy.first());
            let policy = policy.map_or("production", String::as_str);
            nodes.push(node(address, policy, arguments.allow_simulated, console).await?);
        }
        Ok(nodes)
    })?;
    agree(&nodes, &weights)?;
    let placed = place(&nodes, stages, &weights)?;
    let ring = ring(&placed, arguments.hop_ms);
    let name = match arguments.pipeline {
        Some(name) => name,
        None => random_name()?,
    };
    let draft = draft(arguments, &placed)?;
    let spares = nodes.get(stages..).unwrap_or_default();
    let text = toml(&name, draft, &placed, spares, &issuers, &ring);
    file::write(&arguments.file, text.as_bytes(), Existing::Keep)?;
    if console.json() {
        console.object(&json!({
            "schema": ESTIMATE_SCHEMA,
            "file": arguments.file.display().to_string(),
            "pipeline": name.to_string(),
            "stages": placed.iter().map(Placed::object).collect::<Vec<_>>(),
            "spares": spares.iter().map(|node| node.address.to_string()).collect::<Vec<_>>(),
            "estimate": estimate(&ring, draft.is_some()),
        }))?;
    } else {
        console.data(&shown(&placed, spares, &ring, draft.is_some()).render())?;
        console.note(&line(&format!(
            "wrote {}; read it, then sign it with `bastide pipeline sign {} --key OWNER.KEY`",
            arguments.file.display(),
            arguments.file.display()
        )));
    }
    Ok(exit::ACCEPTED)
}

async fn node(
    address: &NodeAddress,
    policy: &str,
    allow_simulated: bool,
    console: &Console,
) -> Result<Node, Fault> {
    let loaded = policy_source::by_name(policy)?;
    // Nothing of anybody is sent: what else a node is the head of doesn't matter.
    let gate = Gate::new(loaded, allow_simulated).showing_stages();
    let what = format!("waiting for {address} to prove itself");
    let mut connection = progress::shown(console, &what, gate.connect(address))
        .await
        .map_err(|refusal| {
            let reason = refusal.verdict.reason.clone().unwrap_or_default();
            let fault = Fault {
                exit: refusal.exit,
                code: refusal.code,
                message: format!("{address} is not accepted: {reason}"),
                remedy: None,
            };
            fault.with_remedy(format!("`bastide verify {address} --policy {policy}` says more"))
        })?;
    let (capacity, round_trip) = capacity::ask(&mut connection).await?;
    let result = connection.result();
    let chip = result.verdict.snp.as_ref().and_then(|facts| facts.get("chip_id"));
    Ok(Node {
        address: address.clone(),
        policy: policy.to_owned(),
        model: result.statement.model,
        // Zero, as on AWS, is no chip.
        chip: chip
            .and_then(|chip| chip.parse().ok())
            .filter(|chip: &ChipId| !chip.is_zero()),
        capacity,
        round_trip,
    })
}

/// Requires that all nodes have one model, and that it is the one planned for.
fn agree(nodes: &[Node], weights: &Weights) -> Result<(), Fault> {
    let Some(first) = nodes.first() else {
        return Err(Fault::usage("pipeline.nodes", "no node was named"));
    };
    for node in nodes {
        let differs = |what: &str, expected: &str, got: &str| {
            Fault::rejected(
                "pipeline.nodes_differ",
                format!(
                    "{}: expected {what} {expected}, as {} has, got {got}",
                    node.address, first.address
                ),
            )
            .with_remedy("give every node the same model directory, and start it again")
        };
        if node.model != first.model {
            return Err(differs(
                "model manifest",
                &first.model.to_string(),
                &node.model.to_string(),
            ));
        }
        if node.capacity.layers != weights.layers() {
            let got = format!(
                "{} layers of `{}`",
                node.capacity.layers,
                line(&node.capacity.model)
            );
            return Err(Fault::usage(
                "pipeline.nodes",
                format!(
                    "{}: expected a model of {} layers, as in MODEL, got {got}",
                    node.address,
                    weights.layers()
                ),
            )
            .with_remedy("name the directory of the model that the nodes have"));
        }
    }
    Ok(())
}

fn place<'a>(nodes: &'a [Node], stages: usize, weights: &Weights) -> Result<Vec<Placed<'a>>, Fault> {
    let nodes = nodes.get(..stages).unwrap_or_default();
    let carriers: Vec<split::Carrier> = nodes.iter().map(|node| node.capacity.carrier()).collect();
    let bytes = |first, end| weights.bytes(first, end);
    let ranges = split::split(weights.layers(), &carriers, bytes).ok_or_else(|| {
        let room: u64 = carriers.iter().map(|carrier| carrier.memory).sum();
        Fault::usage(
            "pipeline.split",
            format!(
                "{} nodes with room for {} MiB of weights can't carry {} layers with {} MiB in this order",
                nodes.len(),
                room >> 20,
                weights.layers(),
                weights.bytes(0, weights.layers()) >> 20
            ),
        )
        .with_remedy("name more nodes, or nodes with more memory; fewer than layers")
    })?;
    nodes
        .iter()
        .zip(ranges)
        .map(|(node, layers)| {
            Ok(Placed {
                node,
                layers,
                bytes: weights.bytes(layers.first(), layers.end()),
                weights: weights.digest(layers)?,
            })
        })
        .collect()
}

fn random_name() -> Result<PipelineId, Fault> {
    let mut name = [0; PipelineId::LEN];
    SystemRandom::new()
        .fill(&mut name)
        .map_err(|_| Fault::internal("this machine gives no random numbers"))?;
    Ok(PipelineId::new(name))
}

fn draft(arguments: &Arguments, placed: &[Placed<'_>]) -> Result<Option<ManifestDigest>, Fault> {
    if arguments.draft.is_some() {
        return Ok(arguments.draft);
    }
    let Some(head) = placed.first() else {
        return Ok(None);
    };
    let said = head.node.capacity.draft.as_deref();
    said.map(|digest| {
        digest.parse().map_err(|_| {
            Fault::unavailable(
                "pipeline.capacity",
                format!("{}: draft: expected 64 hexadecimal digits", head.node.address),
            )
            .with_remedy("name the draft's manifest with --draft HEX")
        })
    })
    .transpose()
}

/// The plan as a text to read, change and sign.
fn toml(
    name: &PipelineId,
    draft: Option<ManifestDigest>,
    placed: &[Placed<'_>],
    spares: &[Node],
    issuers: &[String],
    ring: &Ring,
) -> String {
    let model = placed
        .first()
        .map_or_else(String::new, |head| head.node.model.to_string());
    let layers = placed.last().map_or(0, |tail| tail.layers.end());
    let mut out = format!(
        "# The plan of a pipeline. Read it, then sign it: bastide pipeline sign plan.toml --key owner.key\n\
         # Estimated for one answer: {:.1} tokens/s without a draft.\n\
         schema = \"{SCHEMA}\"\n\
         # The pipeline's name. Credentials and evidence are for exactly this one.\n\
         pipeline = \"{name}\"\n\
         # Manifest of the model that every stage states, the draft included.\n\
         model = \"{model}\"\n",
        ring.plain()
    );
    match draft {
        Some(draft) => {
            _ = writeln!(
                out,
                "# Manifest of the draft model alone, which the head has.\ndraft = \"{draft}\""
            );
        }
        None => out.push_str("# Without a draft there is no speculation: draft = \"…\"\n"),
    }
    _ = writeln!(out, "layers = {layers}");
    for (number, stage) in placed.iter().enumerate() {
        let role = if number == 0 { ", the head" } else { "" };
        _ = write!(
            out,
            "\n# Stage {number}{role}: {}, {:.1} MiB of weights\n[[stage]]\nlayers = [{}, {}]\nweights = \"{}\"\npolicy = {}\n",
            stage.node.address,
            mebibytes(stage.bytes),
            stage.layers.first(),
            stage.layers.end(),
            hex::encode(stage.weights),
            toml::Value::from(stage.node.policy.as_str()),
        );
    }
    out.push_str(
        "\n# Who may be a stage, besides having evidence that the stage's policy accepts. Image and\n\
         # measurement are public: these are what others don't have.\n[admit]\n\
         # Keys that issue credentials (`bastide credential issue`), in hex.\n",
    );
    let quoted: Vec<String> = issuers.iter().map(|key| format!("\"{key}\"")).collect();
    _ = writeln!(out, "issuers = [{}]", quoted.join(", "));
    out.push_str("# CHIP_IDs of your machines.\nchips = [\n");
    let nodes: Vec<&Node> = placed.iter().map(|stage| stage.node).chain(spares).collect();
    let mut listed = std::collections::BTreeSet::new();
    for node in &nodes {
        match node.chip {
            Some(chip) if listed.insert(chip) => _ = writeln!(out, "  \"{chip}\", # {}", node.address),
            Some(_) => {}
            None => _ = writeln!(out, "  # {} shows no CHIP_ID: give it a credential", node.address),
        }
    }
    out.push_str(
        "]\n# CSP_IDs of providers, every machine of which is admitted.\ncsp_ids = []\n\
         # \"either\": hardware or a credential. \"both\": both.\nrequired = \"either\"\n",
    );
    out
}

#[cfg(test)]
mod tests;
