//! The shape of a model, from `config.json`.
//!
//! Owns the parsing of the Hugging Face configuration into a [`DecoderSpec`]
//! whose every number has been checked. Refuses any architecture, scaling,
//! bias or activation that the forward pass does not compute: a model that is
//! silently computed wrongly is worse than one that does not start.

use serde::Deserialize;

use crate::error::LoadError;

/// The checked shape of a Llama decoder.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DecoderSpec {
    /// Width of the residual stream; a multiple of 16.
    pub hidden: usize,
    /// Transformer layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head; a multiple of 16.
    pub head_dim: usize,
    /// Width of the feed-forward network; a multiple of 16.
    pub ffn: usize,
    /// Entries of the vocabulary, that is logits per row.
    pub vocab: usize,
    /// Added to the mean square in every norm.
    pub norm_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Positions the model was trained for.
    pub max_positions: usize,
    /// Whether the head is the embedding.
    pub tied: bool,
    /// The token that begins a text, if there is one.
    pub bos: Option<u32>,
    /// Tokens that end a completion.
    pub eos: Vec<u32>,
}

impl DecoderSpec {
    /// Whether these are some of the model's layers, in order.
    pub(crate) fn check_range(&self, range: &std::ops::Range<usize>) -> Result<(), LoadError> {
        if range.start < range.end && range.end <= self.layers {
            return Ok(());
        }
        Err(LoadError::Layers {
            start: range.start,
            end: range.end,
            layers: self.layers,
        })
    }

    /// Rows of the fused query, key and value projection.
    pub(crate) fn qkv_rows(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }

    /// Values in one token's attention output.
    pub(crate) fn attention_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// The factor on attention scores.
    pub(crate) fn score_scale(&self) -> f32 {
        let width = f64::from(u32::try_from(self.head_dim).expect("checked to be small"));
        crate::math::narrow(1.0 / width.sqrt())
    }

    /// Parses and checks the bytes of a `config.json`.
    ///
    /// # Errors
    /// [`LoadError::ConfigSyntax`] if it is not JSON of the expected types or repeats a field,
    /// [`LoadError::Config`] if it asks for something else than a plain Llama model of sane size.
    pub fn parse(bytes: &[u8]) -> Result<Self, LoadError> {
        let raw: RawConfig = serde_json::from_slice(bytes).map_err(|error| LoadError::ConfigSyntax {
            line: error.line(),
            column: error.column(),
            reason: describe(&error),
        })?;
        raw.check()
    }
}

/// The reason alone: the position is in the error already.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ")
        .next()
        .unwrap_or("invalid JSON")
        .to_owned()
}

/// The fields of `config.json` that decide the arithmetic. Others are ignored.
#[derive(Deserialize)]
struct RawConfig {
    architectures: Option<Vec<String>>,
    model_type: Option<String>,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    vocab_size: usize,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<serde_json::Value>,
    rope_parameters: Option<RopeParameters>,
    max_position_embeddings: usize,
    tie_word_embeddings: Option<bool>,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    sliding_window: Option<usize>,
    quantization_config: Option<serde_json::Value>,
    bos_token_id: Option<u32>,
    eos_token_id: Option<OneOrMany>,
}

/// The form that transformers 5 writes instead of `rope_theta` and `rope_scaling`.
#[derive(Deserialize)]
struct RopeParameters {
    rope_type: Option<String>,
    rope_theta: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

const MAX_HIDDEN: usize = 65_536;
const MAX_LAYERS: usize = 1_024;
const MAX_HEADS: usize = 1_024;
const MAX_HEAD_DIM: usize = 512;
const MAX_FFN: usize = 1 << 19;
const MAX_VOCAB: usize = 1 << 20;
const MAX_POSITIONS: usize = 1 << 24;
const MAX_EOS: usize = 16;

impl RawConfig {
    fn check(self) -> Result<DecoderSpec, LoadError> {
        self.check_architecture()?;
        let heads = within("num_attention_heads", self.num_attention_heads, MAX_HEADS)?;
        let kv_heads = within(
            "num_key_value_heads",
            self.num_key_value_heads.unwrap_or(heads),
            MAX_HEADS,
        )?;
        if !heads.is_multiple_of(kv_heads) {
            return Err(refuse(
                "num_key_value_heads",
                kv_heads,
                format!("a divisor of the {heads} heads"),
            ));
        }
        let hidden = sixteens(
            "hidden_size",
            within("hidden_size", self.hidden_size, MAX_HIDDEN)?,
        )?;
        if self.head_dim.is_none() && !hidden.is_multiple_of(heads) {
            return Err(refuse(
                "hidden_size",
                hidden,
                format!("a multiple of the {heads} heads"),
            ));
        }
        let head_dim = within("head_dim", self.head_dim.unwrap_or(hidden / heads), MAX_HEAD_DIM)?;
        let head_dim = sixteens("head_dim", head_dim)?;
        let ffn = sixteens(
            "intermediate_size",
            within("intermediate_size", self.intermediate_size, MAX_FFN)?,
        )?;
        let vocab = within("vocab_size", self.vocab_size, MAX_VOCAB)?;
        let eos = match self.eos_token_id {
            None => Vec::new(),
            Some(OneOrMany::One(id)) => vec![id],
            Some(OneOrMany::Many(ids)) => ids,
        };
        if eos.len() > MAX_EOS {
            return Err(refuse(
                "eos_token_id",
                eos.len(),
                format!("at most {MAX_EOS} ids"),
            ));
        }
        for (field, id) in self
            .bos_token_id
            .iter()
            .map(|id| ("bos_token_id", id))
            .chain(eos.iter().map(|id| ("eos_token_id", id)))
        {
            if usize::try_from(*id).map_or(true, |id| id >= vocab) {
                return Err(refuse(field, id, format!("an id below vocab_size {vocab}")));
            }
        }
        Ok(DecoderSpec {
            hidden,
            layers: within("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?,
            heads,
            kv_heads,
            head_dim,
            ffn,
            vocab,
            norm_eps: norm_eps(self.rms_norm_eps)?,
            rope_theta: rope_theta(self.rope_theta, self.rope_parameters.as_ref())?,
            max_positions: within(
                "max_position_embeddings",
                self.max_position_embeddings,
                MAX_POSITIONS,
            )?,
            tied: self.tie_word_embeddings.unwrap_or(false),
            bos: self.bos_token_id,
            eos,
        })
    }

    fn check_architecture(&self) -> Result<(), LoadError> {
        let architectures = self.architectures.as_deref().unwrap_or_default();
        match (architectures, self.model_type.as_deref()) {
            ([one], Some("llama") | None) if one == "LlamaForCausalLM" => {}
            ([], Some("llama")) => {}
            (_, Some(other)) if other != "llama" => return Err(refuse("model_type", other, "llama")),
            _ => {
                return Err(refuse(
                    "architectures",
                    format!("{architectures:?}"),
                    "[\"LlamaForCausalLM\"]",
                ));
            }
        }
        if let Some(act) = self.hidden_act.as_deref().filter(|act| *act != "silu") {
            return Err(refuse("hidden_act", act, "silu"));
        }
        if self.rope_scaling.as_ref().is_some_and(|value| !value.is_null()) {
            return Err(refuse(
                "rope_scaling",
                "set",
                "none: scaled rotary positions are not supported",
            ));
        }
        if self
            .quantization_config
            .as_ref()
            .is_some_and(|value| !value.is_null())
        {
            return Err(refuse(
                "quantization_config",
                "set",
                "none: weights must be bf16, f16 or f32",
            ));
        }
        for (field, value) in [
            ("attention_bias", self.attention_bias),
            ("mlp_bias", self.mlp_bias),
        ] {
            if value == Some(true) {
                return Err(refuse(field, true, "false: biases are not supported"));
            }
        }
        match self.sliding_window {
            Some(window) => Err(refuse("sliding_window", window, "none")),
            None => Ok(()),
        }
    }
}

fn norm_eps(value: f64) -> Result<f32, LoadError> {
    if !(1e-12..=1e-1).contains(&value) {
        return Err(refuse("rms_norm_eps", value, "between 1e-12 and 0.1"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range check keeps it a normal f32"
    )]
    let narrowed = value as f32;
    Ok(narrowed)
}

fn rope_theta(plain: Option<f64>, parameters: Option<&RopeParameters>) -> Result<f64, LoadError> {
    if let Some(kind) = parameters
        .and_then(|p| p.rope_type.as_deref())
        .filter(|kind| *kind != "default")
    {
        return Err(refuse("rope_parameters.rope_type", kind, "default"));
    }
    let theta = plain
        .or_else(|| parameters.and_then(|p| p.rope_theta))
        .unwrap_or(10_000.0);
    if !(1.0..=1e12).contains(&theta) {
        return Err(refuse("rope_theta", theta, "between 1 and 1e12"));
    }
    Ok(theta)
}

fn within(field: &'static str, value: usize, max: usize) -> Result<usize, LoadError> {
    if value == 0 || value > max {
        return Err(refuse(field, value, format!("between 1 and {max}")));
    }
    Ok(value)
}

fn sixteens(field: &'static str, value: usize) -> Result<usize, LoadError> {
    if !value.is_multiple_of(16) {
        return Err(refuse(field, value, "a multiple of 16"));
    }
    Ok(value)
}

fn refuse(field: &'static str, got: impl ToString, expected: impl Into<String>) -> LoadError {
    LoadError::Config {
        field,
        got: got.to_string(),
        expected: expected.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":256,
        "num_hidden_layers":6,"num_attention_heads":4,"num_key_value_heads":2,"intermediate_size":768,
        "vocab_size":2048,"rms_norm_eps":1e-5,"rope_theta":10000.0,"max_position_embeddings":1024,
        "tie_word_embeddings":true,"hidden_act":"silu","eos_token_id":[2,5],"bos_token_id":1}"#;

    fn refused(from: &str, to: &str) -> String {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD, "the edit must change something");
        DecoderSpec::parse(text.as_bytes())
            .expect_err("must be refused")
            .to_string()
    }

    #[test]
    fn a_plain_llama_configuration_is_accepted() {
        let spec = DecoderSpec::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(
            (spec.head_dim, spec.eos.clone(), spec.tied),
            (64, vec![2, 5], true)
        );
        let one = DecoderSpec::parse(GOOD.replace("[2,5]", "2").as_bytes()).unwrap();
        assert_eq!(one.eos, vec![2]);
    }

    #[test]
    fn what_the_engine_does_not_compute_is_refused_by_name() {
        assert!(refused("LlamaForCausalLM", "MistralForCausalLM").contains("architectures"));
        assert!(refused("\"llama\"", "\"qwen2\"").contains("qwen2"));
        assert!(refused("\"hidden_act\":\"silu\"", "\"hidden_act\":\"gelu\"").contains("gelu"));
        assert!(
            refused("\"bos_token_id\":1", "\"rope_scaling\":{\"type\":\"yarn\"}").contains("rope_scaling")
        );
        assert!(refused("\"bos_token_id\":1", "\"attention_bias\":true").contains("attention_bias"));
        assert!(refused("\"bos_token_id\":1", "\"sliding_window\":64").contains("sliding_window"));
        assert!(
            refused(
                "\"bos_token_id\":1",
                "\"rope_parameters\":{\"rope_type\":\"yarn\"}"
            )
            .contains("yarn")
        );
    }

    #[test]
    fn absurd_or_inconsistent_sizes_are_refused() {
        assert!(refused("\"hidden_size\":256", "\"hidden_size\":0").contains("hidden_size"));
        assert!(refused("\"hidden_size\":256", "\"hidden_size\":99999999").contains("65536"));
        assert!(refused("\"hidden_size\":256", "\"hidden_size\":250").contains("multiple of"));
        assert!(refused("\"num_key_value_heads\":2", "\"num_key_value_heads\":3").contains("divisor"));
        assert!(refused("\"vocab_size\":2048", "\"vocab_size\":4").contains("eos_token_id"));
        assert!(refused("1e-5", "-1.0").contains("rms_norm_eps"));
        assert!(refused("10000.0", "0.0").contains("rope_theta"));
        assert!(refused("\"hidden_size\":256", "\"hidden_size\":-1").contains("column"));
        assert!(refused("\"bos_token_id\":1", "\"hidden_size\":16").contains("duplicate"));
    }
}
