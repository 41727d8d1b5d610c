#!/usr/bin/env python3
"""Makes `models/small-roberta`: the configuration of a small RoBERTa, and a byte-level BPE tokenizer
trained on `data/sample/train.jsonl`. It has no weights: with `init: auto`, `finetune` starts from
random ones.

    python3 -m venv venv && venv/bin/pip install tokenizers
    venv/bin/python scripts/make_small_roberta.py
"""
import json
from pathlib import Path

from tokenizers import ByteLevelBPETokenizer

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "models" / "small-roberta"
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]

texts = []
for line in (ROOT / "data/sample/train.jsonl").read_text(encoding="utf-8").splitlines():
    row = json.loads(line)
    texts += [turn.replace("@USER", "") for turn in [row["response"], *row["context"]]]

tokenizer = ByteLevelBPETokenizer()
tokenizer.train_from_iterator(texts, vocab_size=2000, min_frequency=2, special_tokens=SPECIAL, show_progress=False)
MODEL.mkdir(parents=True, exist_ok=True)
tokenizer.save_model(str(MODEL))
config = {
    "architectures": ["RobertaForSequenceClassification"],
    "model_type": "roberta",
    "vocab_size": tokenizer.get_vocab_size(),
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "max_position_embeddings": 258,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
}
(MODEL / "config.json").write_text(json.dumps(config, indent=2) + "\n")
