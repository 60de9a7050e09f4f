"""Trains the byte-level BPE and writes what an engine needs to turn chat messages into token ids.

Digits are split one by one, because a model this small can only learn arithmetic digit by digit. The role marks are
special tokens with ids of their own; an engine that encodes user text must not let that text spell one of them.

    python tokenizer.py --corpus /tmp/corpus.txt --out ../models/bastide-5m --out ../models/bastide-5m-draft
"""

import argparse
import json
import pathlib

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIALS = ["<|pad|>", "<|bos|>", "<|eot|>", "<|user|>", "<|assistant|>", "<|end|>"]  # ids 0 to 5
VOCAB = 2048

# A system message has no mark of its own: it goes in front of the next user message, separated by an empty line.
# No <|bos|>: training records start with <|user|>.
CHAT_TEMPLATE = (
    "{%- set ns = namespace(system='') -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}{%- set ns.system = ns.system ~ message['content'] ~ '\\n\\n' -%}"
    "{%- elif message['role'] == 'user' -%}{{- '<|user|>' ~ ns.system ~ message['content'] ~ '<|end|>' -}}{%- set ns.system = '' -%}"
    "{%- elif message['role'] == 'assistant' -%}{{- '<|assistant|>' ~ message['content'] ~ '<|end|>' -}}"
    "{%- else -%}{{- raise_exception('unknown role') -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def train(corpus):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=SPECIALS, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    marks = Regex("|".join(m.replace("|", "\\|") for m in SPECIALS))
    split = pre_tokenizers.Split(marks, behavior="removed")
    with open(corpus, encoding="utf-8") as f:
        # The marks are cut out first, so that no merge ever sees their spelling.
        texts = [piece for line in f for piece, _ in split.pre_tokenize_str(line.rstrip("\n"))]
    tok.train_from_iterator(texts, trainer)
    assert tok.get_vocab_size() == VOCAB, tok.get_vocab_size()
    assert [tok.token_to_id(s) for s in SPECIALS] == list(range(len(SPECIALS)))
    return tok


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--corpus", required=True)
    p.add_argument("--out", action="append", required=True)
    args = p.parse_args()
    tok = train(args.corpus)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": False,
        "add_eos_token": False,
        "bos_token": "<|bos|>",
        "eos_token": "<|end|>",
        "pad_token": "<|pad|>",
        "additional_special_tokens": ["<|eot|>", "<|user|>", "<|assistant|>"],
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1024,
        "chat_template": CHAT_TEMPLATE,
    }
    for out in map(pathlib.Path, args.out):
        out.mkdir(parents=True, exist_ok=True)
        tok.save(str(out / "tokenizer.json"), pretty=False)
        (out / "chat_template.jinja").write_text(CHAT_TEMPLATE)
        (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
