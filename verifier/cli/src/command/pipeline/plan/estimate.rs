//! What a plan that is being made comes to: how fast it would be, by the latency
//! model, and what a person and a program see of it.

use bastide_attestation::pipeline::latency::{MAX_K, Ring, StageCost};
use serde_json::{Value, json};

use super::{Node, Placed};
use crate::escape::brief;
use crate::tree::Tree;

/// How often a draft is right, for the estimate: prose, code, and what it knows well.
const ACCEPTANCES: [f64; 3] = [0.7, 0.8, 0.9];
/// Tokens of a frame in the pipelined form, for the estimate.
const RUN: u32 = 4;
/// Tokens under way in it.
const WINDOW: u32 = 64;

/// The latency model's ring: between two nodes half of each one's round trip.
pub(super) fn ring(placed: &[Placed<'_>], hop_ms: Option<f64>) -> Ring {
    let half = |placed: &Placed<'_>| placed.node.round_trip.as_secs_f64() / 2.0;
    let costs: Vec<StageCost> = placed
        .iter()
        .enumerate()
        .map(|(number, stage)| {
            let before = number.checked_sub(1).unwrap_or(placed.len() - 1);
            let measured = placed.get(before).map_or(0.0, half) + half(stage);
            let row_s = f64::from(stage.layers.count()) * stage.node.capacity.row_us_per_layer / 1e6;
            StageCost {
                hop_s: match (placed.len(), hop_ms) {
                    // Stage 0 is the tail, too: nothing goes over a wire.
                    (1, _) => 0.0,
                    (_, Some(ms)) => ms / 1e3,
                    (_, None) => measured,
                },
                row_s,
                // Nothing better is known: rows that are computed together may cost less.
                further_row_s: row_s,
            }
        })
        .collect();
    let draft_us = placed.first().and_then(|head| head.node.capacity.draft_us);
    Ring::new(&costs, draft_us.unwrap_or(0.0) / 1e6)
}

/// Mebibytes, for people.
#[expect(
    clippy::cast_precision_loss,
    reason = "a size for people, in tenths of a mebibyte"
)]
pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// The estimate as a program sees it.
pub(super) fn estimate(ring: &Ring, drafts: bool) -> Value {
    let with_draft: Vec<Value> = ACCEPTANCES
        .iter()
        .filter(|_| drafts)
        .map(|acceptance| {
            let k = ring.best_k(MAX_K, *acceptance);
            json!({
                "acceptance": acceptance,
                "k": k,
                "synchronous": ring.synchronous(k, *acceptance),
                "pipelined": ring.pipelined(RUN, WINDOW, *acceptance),
            })
        })
        .collect();
    json!({"lap_s": ring.lap_s(), "plain": ring.plain(), "speculation": with_draft})
}

impl Placed<'_> {
    pub(super) fn object(&self) -> Value {
        json!({
            "node": self.node.address.to_string(),
            "layers": [self.layers.first(), self.layers.end()],
            "bytes": self.bytes,
            "weights": hex::encode(self.weights),
            "row_us": f64::from(self.layers.count()) * self.node.capacity.row_us_per_layer,
            "round_trip_ms": self.node.round_trip.as_secs_f64() * 1e3,
            "max_sequences": self.node.capacity.max_sequences,
        })
    }
}

/// The plan and the estimate as a person sees them.
pub(super) fn shown(placed: &[Placed<'_>], spares: &[Node], ring: &Ring, drafts: bool) -> Tree {
    let mut under: Vec<Tree> = placed
        .iter()
        .enumerate()
        .map(|(number, stage)| {
            Tree::leaf(format!(
                "stage {number:<2}  layers {:<9}  {:>8.1} MiB  {:>7.2} ms a row  {:>6.1} ms away  {}",
                stage.layers.to_string(),
                mebibytes(stage.bytes),
                f64::from(stage.layers.count()) * stage.node.capacity.row_us_per_layer / 1e3,
                stage.node.round_trip.as_secs_f64() * 1e3,
                brief(&stage.node.address.to_string())
            ))
        })
        .collect();
    for spare in spares {
        under.push(Tree::leaf(format!(
            "spare     {}",
            brief(&spare.address.to_string())
        )));
    }
    let mut rates = vec![Tree::leaf(format!(
        "without a draft       {:>6.1} tokens/s",
        ring.plain()
    ))];
    for acceptance in ACCEPTANCES.iter().filter(|_| drafts) {
        let k = ring.best_k(MAX_K, *acceptance);
        rates.push(Tree::leaf(format!(
            "{:>2.0} % of drafts right  {:>6.1} tokens/s with K = {k}, {:.1} pipelined",
            acceptance * 100.0,
            ring.synchronous(k, *acceptance),
            ring.pipelined(RUN, WINDOW, *acceptance)
        )));
    }
    under.push(Tree::new(
        format!(
            "one answer, estimated; once around takes {:.1} ms",
            ring.lap_s() * 1e3
        ),
        rates,
    ));
    Tree::new(
        "pipeline   PLANNED   every node proved itself; nothing is signed",
        under,
    )
}
