"""Trains the target or the draft on the CPU and writes a Hugging Face style checkpoint.

The products run in bf16 with f32 sums (processors with AMX do that several times faster than f32); weights, norms,
softmax and optimiser stay in f32. Windows start at a record, because inference does too. The tokens of the questions
count less than those of the answers: nobody needs a model that predicts questions.

    python train.py target --corpus /tmp/corpus.txt --steps 3000 --state /tmp/target.npz --out ../models/bastide-5m
"""

import argparse
import functools
import math
import os
import time

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

import model

BATCH_TOKENS = 16 * 256
VALIDATION = 96  # windows of 256 tokens, taken from the end of the corpus and never trained on
QUESTION_WEIGHT = 0.2
B1, B2, DECAY, CLIP, WARM_UP, PEAK = 0.9, 0.98, 0.05, 1.0, 100, 2e-3
USER, ASSISTANT, EOT = 3, 4, 2


def read_corpus(path, tokenizer):
    """Token ids of the whole corpus, the start of each record, and 1 for each token that belongs to an answer."""
    tok = Tokenizer.from_file(tokenizer)
    lines = open(path, encoding="utf-8").read().splitlines()
    ids = np.array([i for e in tok.encode_batch(lines) for i in e.ids], np.int32)
    starts = np.concatenate([[0], np.flatnonzero(ids == EOT) + 1])[:-1]
    # An answer runs from its <|assistant|> to the next <|user|>; the role mark itself is given, not predicted.
    mark = np.where(ids == ASSISTANT, 1, np.where(ids == USER, -1, 0))
    last = np.maximum.accumulate(np.where(mark != 0, np.arange(len(ids)), 0))
    answer = (mark[last] == 1) & (ids != ASSISTANT)
    return ids, starts, answer


def shape(step):
    """Mostly 16 x 256; every eighth batch is longer, so that positions up to 1,023 are trained as well."""
    length = 1024 if step % 32 == 31 else 512 if step % 8 == 7 else 256
    return BATCH_TOKENS // length, length


def windows(ids, answer, at, length):
    rows = np.stack([ids[a:a + length + 1] for a in at])
    weight = np.stack([answer[a + 1:a + length + 1] for a in at])
    return rows, np.where(weight, 1.0, QUESTION_WEIGHT).astype(np.float32)


def losses(p, rows, cfg):
    x = model.forward(p, rows[:, :-1], cfg, jnp.bfloat16)
    logits = model.linear(x, p["model.embed_tokens.weight"], jnp.bfloat16)
    picked = jnp.take_along_axis(logits, rows[:, 1:].reshape(-1, 1), -1)[:, 0]
    return (jax.nn.logsumexp(logits, -1) - picked).reshape(rows.shape[0], -1)


def make_step(cfg, steps):
    def loss_fn(p, rows, weight):
        return jnp.sum(losses(p, rows, cfg) * weight) / jnp.sum(weight)

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def step(p, m, v, t, rows, weight):
        loss, g = jax.value_and_grad(loss_fn)(p, rows, weight)
        norm = jnp.sqrt(sum(jnp.sum(x * x) for x in jax.tree.leaves(g)))
        scale = jnp.minimum(1.0, CLIP / (norm + 1e-6))
        rate = PEAK * jnp.minimum(1.0, (t + 1) / WARM_UP)
        done = jnp.clip((t - WARM_UP) / (steps - WARM_UP), 0.0, 1.0)
        rate = rate * (0.5 * (1 + jnp.cos(math.pi * done)) * 0.995 + 0.005)

        def update(w, m, v, g):
            g = g * scale
            m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g * g
            d = (m / (1 - B1 ** (t + 1))) / (jnp.sqrt(v / (1 - B2 ** (t + 1))) + 1e-8)
            return w - rate * (d + (DECAY * w if w.ndim > 1 else 0.0)), m, v

        new = {k: update(p[k], m[k], v[k], g[k]) for k in p}
        return *({k: x[i] for k, x in new.items()} for i in range(3)), loss

    return step


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("kind", choices=model.SHAPES)
    a.add_argument("--corpus", required=True)
    a.add_argument("--steps", type=int, required=True)
    a.add_argument("--until", type=int, help="stop here; a later run goes on from the state, with another corpus if so wished")
    a.add_argument("--state", required=True, help="where to keep the state between runs (outside the repository)")
    a.add_argument("--out", required=True, help="model folder; tokenizer.json must be there already")
    a.add_argument("--seed", type=int, default=1)
    a = a.parse_args()

    cfg = model.config(a.kind)
    ids, starts, answer = read_corpus(a.corpus, os.path.join(a.out, "tokenizer.json"))
    cut = len(ids) - VALIDATION * 257 * 2
    held = starts[starts > cut][:: max(1, int((starts > cut).sum() // VALIDATION))]
    held = held[held + 257 <= len(ids)][:VALIDATION]
    starts = starts[starts < cut - 1025]
    print(f"{len(ids)} tokens, {len(starts)} records, {sum(x.size for x in model.init(cfg, 0).values())} parameters", flush=True)

    p = model.init(cfg, a.seed)
    m, v, first = jax.tree.map(np.zeros_like, p), jax.tree.map(np.zeros_like, p), 0
    if os.path.exists(a.state):
        with np.load(a.state) as z:
            first = int(z["step"])
            p, m, v = ({k: z[f"{x}/{k}"] for k in p} for x in "pmv")
    else:
        model.save(p, cfg, a.out)  # right shapes at once, for whoever waits for the files
    p, m, v = jax.tree.map(jnp.asarray, (p, m, v))
    step, evaluate = make_step(cfg, a.steps), jax.jit(functools.partial(losses, cfg=cfg))

    def validate():
        per_token, weights = [], []
        for i in range(0, len(held) - 15, 16):
            rows, w = windows(ids, answer, held[i:i + 16], 256)
            per_token.append(np.asarray(evaluate(p, rows)))
            weights.append(w)
        per_token, weights = np.concatenate(per_token), np.concatenate(weights)
        return per_token.mean(), per_token[weights == 1.0].mean()

    begin, total, end = time.time(), 0.0, a.until or a.steps
    for t in range(first, end):
        rows_n, length = shape(t)
        at = np.random.default_rng([a.seed, t]).choice(starts, rows_n)  # by step, so that a resumed run sees the same
        p, m, v, loss = step(p, m, v, jnp.float32(t), *windows(ids, answer, at, length))
        total += float(loss)
        n = t + 1
        if n % 20 == 0:
            print(f"step {n} loss {total / 20:.4f} {(n - first) / (time.time() - begin):.2f} steps/s", flush=True)
            total = 0.0
        if n % 100 == 0 or n == end:
            every, answers = validate()
            print(f"step {n} validation {every:.4f} answers {answers:.4f} after {time.time() - begin:.0f} s", flush=True)
            state = {f"{x}/{k}": np.asarray(y) for x, d in zip("pmv", (p, m, v)) for k, y in d.items()}
            np.savez(a.state + ".part.npz", step=n, **state)
            os.replace(a.state + ".part.npz", a.state)
            model.save(p, cfg, a.out)


if __name__ == "__main__":
    main()
