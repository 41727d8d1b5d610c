#!/usr/bin/env python3
"""Compares the graphs of a trained model with transformers, and in 8 bits with f32 and with `quantize_dynamic` of ONNX Runtime.

    python3 -m venv venv && venv/bin/pip install torch transformers onnx onnxruntime
    venv/bin/python benches/onnx_models.py --model DIR --texts FILE [--pipe FILE]

`DIR` is a model that `finetune` published, `FILE` has JSON objects with `response` and `label`, one on a line, that the model was
not trained on. Prints the largest difference of a logit from transformers, on batches with padding and up to 512 tokens, and for
each graph its size, in how many texts the largest logit is that of f32, and how many labels are right.
"""
import argparse
import itertools
import json
import subprocess
import tempfile
from pathlib import Path

import numpy
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AutoModelForSequenceClassification, AutoTokenizer

ROOT = Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--pipe", default=str(ROOT / "target/release/pipe"))
parser.add_argument("--model", type=Path, required=True)
parser.add_argument("--texts", type=Path, required=True)
parser.add_argument("--rows", type=int, default=1800)
options = parser.parse_args()


def session(path):
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    return onnxruntime.InferenceSession(path, quiet, providers=["CPUExecutionProvider"])


def logits(graph, tokens):
    inputs = {it.name: numpy.int64(tokens[it.name]) for it in graph.get_inputs()}
    return graph.run(["logits"], inputs)[0]


with tempfile.TemporaryDirectory(prefix="pipe-onnx-") as scratch:
    folder = Path(scratch) / "onnx"
    for name, more in (("f32", []), ("int8", ["--int8"])):
        command = [Path(options.pipe).resolve(), "export", options.model.resolve(), "--onnx", folder / f"{name}.onnx", *more]
        subprocess.run(command, cwd=scratch, check=True, capture_output=True)
    for name, more in (("quantize_dynamic by output", {"per_channel": True}), ("quantize_dynamic", {})):
        quantize_dynamic(folder / "f32.onnx", folder / f"{name}.onnx", weight_type=QuantType.QInt8, **more)
    graphs = {path.stem: session(path) for path in sorted(folder.iterdir(), key=lambda path: (-path.stat().st_size, path.stem))}
    sizes = {path.stem: path.stat().st_size for path in folder.iterdir()}
    tokenizer = AutoTokenizer.from_pretrained(scratch)
    model = AutoModelForSequenceClassification.from_pretrained(options.model).eval()

rows = [json.loads(line) for line in itertools.islice(open(options.texts, encoding="utf-8"), options.rows)]
texts = [row["response"] for row in rows]
long = " ".join(texts[:200])
worst = 0.0
for batch in ([long], [long, texts[0], long[:700]], texts[:32]):
    tokens = tokenizer(batch, padding=True, truncation=True, max_length=512, return_tensors="np")
    with torch.no_grad():
        expected = model(**{name: torch.tensor(value) for name, value in tokens.items()}).logits.numpy()
    worst = max(worst, float(numpy.abs(logits(graphs["f32"], tokens) - expected).max()))
print(f"transformers and f32: {worst:.1e}")

names = [model.config.id2label[index] for index in range(model.config.num_labels)]
found = {name: [] for name in graphs}
for text in texts:
    tokens = tokenizer([text], truncation=True, max_length=96, return_tensors="np")
    for name, graph in graphs.items():
        found[name].append(int(logits(graph, tokens).argmax()))
for name, classes in found.items():
    same = sum(one == other for one, other in zip(classes, found["f32"])) / len(rows)
    right = sum(names[one] == row["label"] for one, row in zip(classes, rows)) / len(rows)
    print(f"{name}: {sizes[name] / 1e6:.1f} MB, as f32 {same:.1%}, right {right:.1%}", flush=True)
