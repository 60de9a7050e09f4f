//! The tensors of a Llama model.
//!
//! Owns their names, shapes and places. Refuses a tensor that the model does
//! not have, has already or has in another shape, and a model of which one is
//! missing: also those of layers that are not loaded, so that every range of a
//! model accepts the same files.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::LoadError;
use crate::safetensors::TensorEntry;
use crate::spec::DecoderSpec;

/// Where a tensor of a range goes.
#[derive(Clone, Copy)]
pub(super) enum Slot {
    Embedding,
    Head,
    FinalNorm,
    AttentionNorm(usize),
    FfnNorm(usize),
    Query(usize),
    Key(usize),
    Value(usize),
    Output(usize),
    Gate(usize),
    Up(usize),
    Down(usize),
}

struct Wanted {
    shape: Vec<usize>,
    /// `None` if it belongs to the model but not to this range.
    slot: Option<Slot>,
    seen: bool,
}

/// Every tensor of a model, with its place in one range.
pub(super) struct Inventory {
    tied: bool,
    with_embedding: bool,
    wanted: BTreeMap<String, Wanted>,
}

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

impl Inventory {
    pub(super) fn new(spec: &DecoderSpec, range: &Range<usize>) -> Self {
        let tail = range.end == spec.layers;
        let with_embedding = range.start == 0 || (tail && spec.tied);
        let mut wanted = BTreeMap::new();
        let mut want = |name: String, shape: &[usize], slot: Option<Slot>| {
            let shape = shape.to_vec();
            let seen = false;
            wanted.insert(name, Wanted { shape, slot, seen });
        };
        let (hidden, query, kv) = (spec.hidden, spec.attention_width(), spec.kv_heads * spec.head_dim);
        let matrix = [spec.vocab, hidden];
        want(
            EMBEDDING.to_owned(),
            &matrix,
            with_embedding.then_some(Slot::Embedding),
        );
        if !spec.tied {
            want(HEAD.to_owned(), &matrix, tail.then_some(Slot::Head));
        }
        want(
            "model.norm.weight".to_owned(),
            &[hidden],
            tail.then_some(Slot::FinalNorm),
        );
        for layer in 0..spec.layers {
            let local = range.contains(&layer).then(|| layer - range.start);
            let mut want = |suffix: &str, shape: &[usize], slot: fn(usize) -> Slot| {
                want(
                    format!("model.layers.{layer}.{suffix}.weight"),
                    shape,
                    local.map(slot),
                );
            };
            want("input_layernorm", &[hidden], Slot::AttentionNorm);
            want("post_attention_layernorm", &[hidden], Slot::FfnNorm);
            want("self_attn.q_proj", &[query, hidden], Slot::Query);
            want("self_attn.k_proj", &[kv, hidden], Slot::Key);
            want("self_attn.v_proj", &[kv, hidden], Slot::Value);
            want("self_attn.o_proj", &[hidden, query], Slot::Output);
            want("mlp.gate_proj", &[spec.ffn, hidden], Slot::Gate);
            want("mlp.up_proj", &[spec.ffn, hidden], Slot::Up);
            want("mlp.down_proj", &[hidden, spec.ffn], Slot::Down);
        }
        Self {
            tied: spec.tied,
            with_embedding,
            wanted,
        }
    }

    /// Whether the range has the embedding: to begin with, or as the output matrix of a tied model.
    pub(super) const fn has_embedding(&self) -> bool {
        self.with_embedding
    }

    /// Where a tensor goes; `None` if not into this range.
    pub(super) fn admit(
        &mut self,
        name: &str,
        entry: &TensorEntry,
        file: &str,
    ) -> Result<Option<Slot>, LoadError> {
        let (name, file) = (name.to_owned(), file.to_owned());
        let Some(wanted) = self.wanted.get_mut(&name) else {
            return if ignorable(&name, self.tied) {
                Ok(None)
            } else {
                Err(LoadError::UnknownTensor { name, file })
            };
        };
        if std::mem::replace(&mut wanted.seen, true) {
            return Err(LoadError::RepeatedTensor { name, file });
        }
        let same = entry.shape.len() == wanted.shape.len()
            && entry
                .shape
                .iter()
                .zip(&wanted.shape)
                .all(|(got, want)| usize::try_from(*got) == Ok(*want));
        if !same {
            return Err(LoadError::Shape {
                name,
                file,
                got: entry.shape.clone(),
                expected: wanted.shape.clone(),
            });
        }
        Ok(wanted.slot)
    }

    /// Whether every tensor of the model was found.
    pub(super) fn finish(self) -> Result<(), LoadError> {
        match self.wanted.into_iter().find(|(_, wanted)| !wanted.seen) {
            None => Ok(()),
            Some((name, wanted)) => Err(LoadError::MissingTensor {
                name,
                expected: wanted.shape,
            }),
        }
    }

    /// The names of the tensors of the range, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let here = self.wanted.iter().filter(|(_, wanted)| wanted.slot.is_some());
        here.map(|(name, _)| name.as_str())
    }
}

/// Tensors that exporters write although the model does not use them: copies and tables.
fn ignorable(name: &str, tied: bool) -> bool {
    (tied && name == HEAD) || name.ends_with(".self_attn.rotary_emb.inv_freq")
}
