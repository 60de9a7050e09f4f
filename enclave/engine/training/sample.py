"""Asks a model fixed prompts, and writes the reference outputs against which the engine in Rust tests itself.

The forward pass here is written a second time, in plain numpy and f32, straight from the checkpoint: it shares no code
with the trainer, so a mistake would have to be made independently in both to go unseen.

    python sample.py ../models/bastide-5m --prompts          # 20 prompts and answers
    python sample.py ../models/bastide-5m --quiz 100         # exact answers by kind of question
    python sample.py ../models/bastide-5m --reference        # writes reference.json
    python sample.py ../models/bastide-5m --draft ../models/bastide-5m-draft     # greedy acceptance
"""

import argparse
import json
import pathlib
import random
import re

import ml_dtypes  # noqa: F401  (lets numpy read bf16)
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

import corpus

STOP = {5, 2}  # <|end|>, <|eot|>
PROMPTS = [  # question, a regular expression that a right answer matches
    ("What is Bastide?", "confidential inference runtime"),
    ("Can the host read my prompt?", "^No\\."),
    ("What is an enclave?", "memory is encrypted"),
    ("What is a receipt?", "signed statement about one answer"),
    ("Explain speculative decoding in detail.", "faster without changing"),
    ("Why does a Merkle tree matter?", "serves many sessions"),
    ("Who are you?", "small language model"),
    ("Hello!", "How can I help you"),
    ("What is 17 + 25?", "= 42$"),
    ("What is 81 - 34?", "= 47$"),
    ("What is 7 * 8?", "= 56$"),
    ("What is 68 + 57?", "= 125$"),
    ("What is the capital of Norway?", "Oslo"),
    ("Which day comes after Friday?", "Saturday"),
    ("Which month comes before March?", "February"),
    ("Count from 5 to 12.", "^5 6 7 8 9 10 11 12$"),
    ("Sort these words: pear, apple, fox, door", "^apple, door, fox, pear$"),
    ("Write a JSON list of red, fox, bell.", r'^\["red", "fox", "bell"\]$'),
    ("Which is larger, 38 or 83?", "83 is larger"),
    ("Tell me a story about a fox.", "fox who lived by"),
]
REFERENCE = ["What is Bastide?", "What is 17 + 25?", "Tell me a story about a fox."]


class Llama:
    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.cfg = json.loads((folder / "config.json").read_text())
        self.w = {k: v.astype(np.float32) for k, v in load_file(str(folder / "model.safetensors")).items()}
        self.tok = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True, dtype=np.float32) + np.float32(self.cfg["rms_norm_eps"])) * self.w[name + ".weight"]

    def logits(self, ids):
        """Logits of every position, `[time, vocab]`: one pass, no cache, no tricks."""
        c, w, n = self.cfg, self.w, len(ids)
        heads, kv_heads, d = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        frequency = 1.0 / c["rope_theta"] ** (np.arange(0, d, 2) / d)
        angle = np.outer(np.arange(n), frequency)[:, None]
        cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)

        def rotate(x):
            low, high = x[..., :d // 2], x[..., d // 2:]
            return np.concatenate([low * cos - high * sin, high * cos + low * sin], -1)

        x = w["model.embed_tokens.weight"][ids]
        for i in range(c["num_hidden_layers"]):
            at = f"model.layers.{i}."
            y = self.norm(x, at + "input_layernorm")
            project = lambda name, h: (y @ w[at + f"self_attn.{name}_proj.weight"].T).reshape(n, h, d)
            q, k, v = rotate(project("q", heads)), rotate(project("k", kv_heads)), project("v", kv_heads)
            mixed = np.empty((n, heads, d), np.float32)
            for h in range(heads):
                g = h // (heads // kv_heads)
                s = q[:, h] @ k[:, g].T / np.float32(np.sqrt(d))
                s[np.triu_indices(n, 1)] = -np.inf
                e = np.exp(s - s.max(-1, keepdims=True))
                mixed[:, h] = e / e.sum(-1, keepdims=True) @ v[:, g]
            x = x + mixed.reshape(n, -1) @ w[at + "self_attn.o_proj.weight"].T
            y = self.norm(x, at + "post_attention_layernorm")
            gate = y @ w[at + "mlp.gate_proj.weight"].T
            up = y @ w[at + "mlp.up_proj.weight"].T
            x = x + (gate / (1 + np.exp(-gate)) * up) @ w[at + "mlp.down_proj.weight"].T
        return self.norm(x, "model.norm") @ w["model.embed_tokens.weight"].T

    def encode(self, question):
        return self.tok.encode(f"<|user|>{question}<|end|><|assistant|>", add_special_tokens=False).ids

    def greedy(self, ids, most=160, stop=STOP):
        out = []
        while len(out) < most and not (out and out[-1] in stop):
            out.append(int(self.logits(ids + out)[-1].argmax()))
        return out


def ask(m):
    right = 0
    for question, want in PROMPTS:
        answer = m.tok.decode(m.greedy(m.encode(question)))
        good = re.search(want, answer) is not None
        right += good
        print(f"| {question} | {answer} | {'right' if good else 'wrong'} |".replace("\n", " "))
    print(f"{right} of {len(PROMPTS)} right")


def quiz(m, each):
    """Exact answers to questions from the corpus' own templates, drawn with another seed; stories have no right answer."""
    for maker, _ in corpus.KINDS:
        if maker is corpus.story:
            continue
        r = random.Random(f"quiz {maker.__name__}")
        right = 0
        for _ in range(each):
            question, want = maker(r)
            right += m.tok.decode(m.greedy(m.encode(question), 100)) == want
        print(f"| {maker.__name__} | {right} of {each} |", flush=True)


def reference(m, folder):
    """The greedy tokens run on past a stop token, so that there are always 24 to compare."""
    cases = []
    for question in REFERENCE:
        ids = m.encode(question)
        last = m.logits(ids)[-1]
        top = [{"id": int(i), "logit": round(float(last[i]), 5)} for i in np.argsort(-last, kind="stable")[:5]]
        greedy = m.greedy(ids, 24, stop=())
        rows = np.sort(m.logits(ids + greedy)[len(ids) - 1:-1], -1)
        cases.append({"prompt": question, "ids": ids, "last_logits_top5": top, "greedy": greedy,
                      "smallest_margin": round(float((rows[:, -1] - rows[:, -2]).min()), 5)})
    note = "f32 arithmetic on the bf16 weights; ids of the prompt in the chat template; greedy ignores stop tokens"
    (pathlib.Path(folder) / "reference.json").write_text(json.dumps({"note": note, "cases": cases}, indent=1) + "\n")


def acceptance(target, draft):
    """Share of the target's greedy tokens that the draft would have guessed from the same context."""
    hits = total = 0
    for question, _ in PROMPTS:
        ids = target.encode(question)
        out = target.greedy(ids)
        guess = draft.logits(ids + out)[len(ids) - 1:-1].argmax(-1)
        h = int((guess == np.array(out)).sum())
        hits, total = hits + h, total + len(out)
        print(f"{h:4d} of {len(out):4d}  {question}")
    print(f"greedy acceptance {hits / total:.3f} over {total} tokens")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder")
    p.add_argument("--prompts", action="store_true")
    p.add_argument("--reference", action="store_true")
    p.add_argument("--quiz", type=int, help="this many questions of each kind")
    p.add_argument("--draft")
    args = p.parse_args()
    m = Llama(args.folder)
    if args.prompts:
        ask(m)
    if args.quiz:
        quiz(m, args.quiz)
    if args.reference:
        reference(m, args.folder)
    if args.draft:
        acceptance(m, Llama(args.draft))


if __name__ == "__main__":
    main()
