"""The Llama decoder in JAX, shared by training and by the reference outputs, and its checkpoint on disk.

Weights are kept in the layout of Hugging Face: `[out, in]`, one name per tensor, so that saving is a dump of the
dictionary and any other implementation can load the file.
"""

import functools
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from safetensors.numpy import load_file, save_file

SHAPES = {
    "target": dict(num_hidden_layers=6, hidden_size=256, intermediate_size=768, num_attention_heads=4, num_key_value_heads=2),
    "draft": dict(num_hidden_layers=2, hidden_size=128, intermediate_size=384, num_attention_heads=2, num_key_value_heads=1),
}


def config(kind):
    shape = SHAPES[kind]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 2048,
        **shape,
        "head_dim": shape["hidden_size"] // shape["num_attention_heads"],
        "max_position_embeddings": 1024,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "initializer_range": 0.02,
        "torch_dtype": "bfloat16",
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": [5, 2],
        "use_cache": True,
    }


def init(cfg, seed):
    """Normal with sigma 0.02; the two projections that write to the residual stream are scaled down with depth."""
    rng = np.random.default_rng(seed)
    h, f, layers = cfg["hidden_size"], cfg["intermediate_size"], cfg["num_hidden_layers"]
    q, kv = cfg["num_attention_heads"] * cfg["head_dim"], cfg["num_key_value_heads"] * cfg["head_dim"]
    out = 0.02 / math.sqrt(2 * layers)
    normal = lambda sigma, *shape: (rng.standard_normal(shape) * sigma).astype(np.float32)
    p = {"model.embed_tokens.weight": normal(0.02, cfg["vocab_size"], h), "model.norm.weight": np.ones(h, np.float32)}
    for i in range(layers):
        at = f"model.layers.{i}."
        p[at + "input_layernorm.weight"] = np.ones(h, np.float32)
        p[at + "post_attention_layernorm.weight"] = np.ones(h, np.float32)
        p[at + "self_attn.q_proj.weight"] = normal(0.02, q, h)
        p[at + "self_attn.k_proj.weight"] = normal(0.02, kv, h)
        p[at + "self_attn.v_proj.weight"] = normal(0.02, kv, h)
        p[at + "self_attn.o_proj.weight"] = normal(out, h, q)
        p[at + "mlp.gate_proj.weight"] = normal(0.02, f, h)
        p[at + "mlp.up_proj.weight"] = normal(0.02, f, h)
        p[at + "mlp.down_proj.weight"] = normal(out, h, f)
    return p


def _dot(a, b, over, dtype):
    return jax.lax.dot_general(a.astype(dtype), b.astype(dtype), (over, ((), ())), preferred_element_type=jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def linear(x, w, dtype):
    """`x · wᵀ`. The gradient is written out because XLA's own choice of layouts costs a tenth of a training step."""
    return _dot(x, w, ((1,), (1,)), dtype)


def _linear_fwd(x, w, dtype):
    return linear(x, w, dtype), (x, w)


def _linear_bwd(dtype, kept, g):
    x, w = kept
    return _dot(g, w, ((1,), (0,)), dtype), _dot(g.T, x, ((1,), (0,)), dtype)


linear.defvjp(_linear_fwd, _linear_bwd)


def rms_norm(x, w, eps):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + eps) * w


def rope(x, cos, sin):
    """Rotates the halves (not the pairs) of each head, as Hugging Face's checkpoints expect."""
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def forward(p, ids, cfg, dtype=jnp.float32):
    """Hidden states after the last norm, `[batch * time, hidden]`. `dtype` is that of the products only."""
    heads, kv_heads, d = cfg["num_attention_heads"], cfg["num_key_value_heads"], cfg["head_dim"]
    (batch, time), eps = ids.shape, cfg["rms_norm_eps"]
    angle = jnp.arange(time)[:, None] / (cfg["rope_theta"] ** (jnp.arange(0, d, 2) / d))[None]
    cos, sin = jnp.cos(angle)[None, :, None], jnp.sin(angle)[None, :, None]
    mask = jnp.where(jnp.arange(time)[:, None] >= jnp.arange(time)[None], 0.0, -1e30)
    x = p["model.embed_tokens.weight"][ids.reshape(-1)]
    dot = lambda x, w: linear(x, w, dtype)
    for i in range(cfg["num_hidden_layers"]):
        w = lambda name: p[f"model.layers.{i}.{name}.weight"]
        y = rms_norm(x, w("input_layernorm"), eps)
        q = rope(dot(y, w("self_attn.q_proj")).reshape(batch, time, heads, d), cos, sin) / math.sqrt(d)
        k = rope(dot(y, w("self_attn.k_proj")).reshape(batch, time, kv_heads, d), cos, sin)
        v = dot(y, w("self_attn.v_proj")).reshape(batch, time, kv_heads, d)
        q = q.reshape(batch, time, kv_heads, heads // kv_heads, d)
        s = jnp.einsum("btkgd,bskd->bkgts", q.astype(dtype), k.astype(dtype), preferred_element_type=jnp.float32)
        a = jax.nn.softmax(s + mask, -1)
        y = jnp.einsum("bkgts,bskd->btkgd", a.astype(dtype), v.astype(dtype), preferred_element_type=jnp.float32)
        x = x + dot(y.reshape(batch * time, heads * d), w("self_attn.o_proj"))
        y = rms_norm(x, w("post_attention_layernorm"), eps)
        x = x + dot(jax.nn.silu(dot(y, w("mlp.gate_proj"))) * dot(y, w("mlp.up_proj")), w("mlp.down_proj"))
    return rms_norm(x, p["model.norm.weight"], eps)


def save(p, cfg, folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: np.asarray(p[name]).astype(ml_dtypes.bfloat16) for name in sorted(p)}
    part = folder / "model.safetensors.part"
    save_file(tensors, str(part), metadata={"format": "pt"})
    part.chmod(0o644)
    part.rename(folder / "model.safetensors")  # a reader never sees half a file
    (folder / "config.json").write_text(json.dumps(cfg, indent=2) + "\n")
    generation = {k: cfg[k] for k in ("bos_token_id", "eos_token_id", "pad_token_id")} | {"do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")


def load(folder):
    """The bf16 weights widened to f32, which is exact."""
    folder = pathlib.Path(folder)
    p = {k: np.asarray(v).astype(np.float32) for k, v in load_file(str(folder / "model.safetensors")).items()}
    return p, json.loads((folder / "config.json").read_text())
