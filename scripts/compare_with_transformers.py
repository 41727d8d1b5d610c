#!/usr/bin/env python3
"""Loads the model that `finetune` wrote into transformers, and compares its predictions with those of `pipe`.

    python3 -m venv venv && venv/bin/pip install torch transformers safetensors
    cargo run --release -- run
    venv/bin/python scripts/compare_with_transformers.py target/release/pipe [OPTIONS OF PIPE]

Reads `finetune:model`, `tokenize:test` and `predict:predictions` from the store. Compares the logarithms of
the probabilities. Prints the largest difference, and exits with 1 if it is greater than 1e-4.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.numpy import load
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def cat(what):
    return subprocess.run([sys.argv[1], "cache", "cat", what, *sys.argv[2:]], check=True, stdout=subprocess.PIPE).stdout


tokens = load(cat("tokenize:test"))
predictions = [json.loads(line) for line in cat("predict:predictions").decode().splitlines()]
with tempfile.TemporaryDirectory() as folder:
    for line in cat("finetune:model").decode().splitlines()[1:]:
        name = line.split(maxsplit=2)[2]
        (Path(folder) / name).write_bytes(cat(f"finetune:model/{name}"))
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    AutoTokenizer.from_pretrained(folder)

worst, flipped = 0.0, 0
with torch.no_grad():
    for row, prediction in enumerate(predictions):
        start, end = tokens["offsets"][row:row + 2]
        ids = torch.tensor(tokens["ids"][start:end]).long().unsqueeze(0)
        kinds = {}
        if "types" in tokens:
            kinds["token_type_ids"] = torch.tensor(tokens["types"][start:end]).long().unsqueeze(0)
        theirs = torch.log_softmax(model(input_ids=ids, **kinds).logits[0].double(), 0)
        names = [model.config.id2label[index] for index in range(len(theirs))]
        ours = torch.tensor([prediction["probabilities"][name] for name in names]).double().log()
        worst = max(worst, (theirs - ours).abs().max().item())
        flipped += names[theirs.argmax()] != prediction["label"]
print(f"{len(predictions)} examples: largest difference {worst:.2e}, {flipped} different labels")
sys.exit(worst > 1e-4)
