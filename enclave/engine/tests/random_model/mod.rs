//! Model directories with random weights, for tests.
//!
//! Owns the writing of a small, valid Llama model: byte-level tokenizer
//! without merges, role marks as special tokens, a template, bf16 weights from
//! a seed. Refuses nothing; tests break what they want broken afterwards.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// The shape of a random model.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) ffn: usize,
    pub(crate) tied: bool,
    pub(crate) positions: usize,
}

/// Large enough that single tokens are shared between threads.
pub(crate) const SMALL: Shape = Shape {
    hidden: 128,
    layers: 6,
    heads: 4,
    kv_heads: 2,
    head_dim: 32,
    ffn: 384,
    tied: true,
    positions: 96,
};

/// Special tokens, after the 256 bytes.
const MARKS: [&str; 4] = ["<|user|>", "<|assistant|>", "<|end|>", "<|system|>"];
pub(crate) const END: u32 = 258;
/// Not a multiple of 16, so that padding is exercised.
pub(crate) const VOCAB: usize = 260;

const TEMPLATE: &str = "{% for m in messages %}{{ '<|' ~ m.role ~ '|>' ~ m.content ~ '<|end|>' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

pub(crate) fn write(dir: &Path, shape: &Shape, seed: u64) {
    let text = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    text("config.json", &config(shape));
    text("tokenizer.json", &tokenizer());
    text("chat_template.jinja", TEMPLATE);
    std::fs::write(dir.join("model.safetensors"), safetensors(&tensors(shape, seed))).unwrap();
}

pub(crate) fn config(shape: &Shape) -> String {
    serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads, "head_dim": shape.head_dim, "intermediate_size": shape.ffn,
        "vocab_size": VOCAB, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "max_position_embeddings": shape.positions, "tie_word_embeddings": shape.tied,
        "hidden_act": "silu", "eos_token_id": END,
    })
    .to_string()
}

fn tokenizer() -> String {
    let mut vocab = BTreeMap::new();
    let mut substitutes = 256u32..;
    for byte in 0..=255u32 {
        let own = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = if own { byte } else { substitutes.next().unwrap() };
        vocab.insert(char::from_u32(code).unwrap().to_string(), byte);
    }
    let added: Vec<_> = MARKS
        .iter()
        .zip(256u32..)
        .map(|(content, id)| {
            serde_json::json!({"id": id, "content": content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    let pre = serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
        "use_regex": true});
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": pre, "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": []},
    })
    .to_string()
}

/// A tensor's shape and bf16 bytes, by name.
pub(crate) type Tensors = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

pub(crate) fn tensors(shape: &Shape, seed: u64) -> Tensors {
    let (query, kv) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
    let mut wanted = vec![
        ("model.embed_tokens.weight".to_owned(), vec![VOCAB, shape.hidden]),
        ("model.norm.weight".to_owned(), vec![shape.hidden]),
    ];
    if !shape.tied {
        wanted.push(("lm_head.weight".to_owned(), vec![VOCAB, shape.hidden]));
    }
    for layer in 0..shape.layers {
        for (name, dimensions) in [
            ("input_layernorm", vec![shape.hidden]),
            ("post_attention_layernorm", vec![shape.hidden]),
            ("self_attn.q_proj", vec![query, shape.hidden]),
            ("self_attn.k_proj", vec![kv, shape.hidden]),
            ("self_attn.v_proj", vec![kv, shape.hidden]),
            ("self_attn.o_proj", vec![shape.hidden, query]),
            ("mlp.gate_proj", vec![shape.ffn, shape.hidden]),
            ("mlp.up_proj", vec![shape.ffn, shape.hidden]),
            ("mlp.down_proj", vec![shape.hidden, shape.ffn]),
        ] {
            wanted.push((format!("model.layers.{layer}.{name}.weight"), dimensions));
        }
    }
    let mut state = seed;
    let mut noise = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(state >> 48).unwrap()) / 32_768.0 - 1.0
    };
    wanted
        .into_iter()
        .map(|(name, dimensions)| {
            let count: usize = dimensions.iter().product();
            let is_norm = dimensions.len() == 1;
            let bytes = (0..count)
                .flat_map(|_| {
                    let value = if is_norm {
                        1.0 + 0.2 * noise()
                    } else {
                        0.25 * noise()
                    };
                    u16::try_from(value.to_bits() >> 16).unwrap().to_le_bytes()
                })
                .collect();
            (name, (dimensions, bytes))
        })
        .collect()
}

pub(crate) fn safetensors(tensors: &Tensors) -> Vec<u8> {
    let mut header = String::from("{");
    let mut at = 0;
    for (name, (shape, bytes)) in tensors {
        let comma = if at == 0 { "" } else { "," };
        let end = at + bytes.len();
        write!(
            header,
            r#"{comma}"{name}":{{"dtype":"BF16","shape":{shape:?},"data_offsets":[{at},{end}]}}"#
        )
        .unwrap();
        at = end;
    }
    header.push('}');
    let mut file = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    for (_, bytes) in tensors.values() {
        file.extend_from_slice(bytes);
    }
    file
}
