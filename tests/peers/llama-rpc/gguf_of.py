"""Writes a committed model as GGUF, bit for bit: gguf_of.py MODEL_FOLDER OUT.gguf

Only what those models are: Llama, bf16, tied embeddings, a byte-level BPE that
splits digits (llama.cpp calls it "smollm").
"""

import json
import struct
import sys
from pathlib import Path

import gguf
import numpy

LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}


def tensors(path: Path):
    """Names, and bf16 values as the 16-bit words that they are."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    for name, entry in header.items():
        if entry["dtype"] != "BF16":
            sys.exit(f"{name}: expected BF16, got {entry['dtype']}")
        begin, end = entry["data_offsets"]
        words = numpy.frombuffer(data[8 + length + begin : 8 + length + end], dtype=numpy.uint16)
        yield name.removesuffix(".weight"), words.reshape(entry["shape"])


def name_of(name: str) -> str:
    if name in WHOLE:
        return WHOLE[name] + ".weight"
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{LAYER[rest]}.weight"


def interleaved(words, heads: int):
    """Rows of q and k in the order of llama.cpp's rotary embedding: pairs side by side."""
    rows, width = words.shape
    halves = words.reshape(heads, 2, rows // heads // 2, width)
    return halves.swapaxes(1, 2).reshape(rows, width)


def main(folder: Path, out: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    writer = gguf.GGUFWriter(out, "llama")
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer.add_name(folder.name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)

    special = {token["id"] for token in tokenizer["added_tokens"] if token["special"]}
    vocabulary = {id: text for text, id in tokenizer["model"]["vocab"].items()}
    vocabulary.update({token["id"]: token["content"] for token in tokenizer["added_tokens"]})
    ids = range(config["vocab_size"])
    kinds = gguf.TokenType
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([vocabulary.get(id, f"[unused {id}]") for id in ids])
    writer.add_token_types([
        kinds.CONTROL if id in special else kinds.NORMAL if id in vocabulary else kinds.UNUSED for id in ids
    ])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config["bos_token_id"])
    # It has one: answers end by the first. The other ends texts, which aren't asked for.
    writer.add_eos_token_id(config["eos_token_id"][0])
    writer.add_eot_token_id(config["eos_token_id"][1])
    writer.add_add_bos_token(False)

    for name, words in tensors(folder / "model.safetensors"):
        if name.endswith("q_proj"):
            words = interleaved(words, heads)
        elif name.endswith("k_proj"):
            words = interleaved(words, kv_heads)
        if words.ndim == 1:
            # Norms are f32 in llama.cpp; every bf16 value is one.
            values = (words.astype(numpy.uint32) << 16).view(numpy.float32)
            writer.add_tensor(name_of(name), values)
        else:
            # As bytes: two a value.
            writer.add_tensor(
                name_of(name),
                numpy.ascontiguousarray(words).view(numpy.uint8),
                raw_dtype=gguf.GGMLQuantizationType.BF16,
            )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main(Path(sys.argv[1]), Path(sys.argv[2]))
