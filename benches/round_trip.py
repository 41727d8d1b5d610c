#!/usr/bin/env python3
"""Checks that transformers and onnxruntime load what `pipe` writes, for every family but MPNet, whose padding token word pieces of
BERT do not have, and give the same probabilities.

    python3 -m venv venv && venv/bin/pip install torch transformers onnx onnxruntime
    cargo build --release
    venv/bin/python benches/round_trip.py --tokenizer DIR --data DIR [--pipe FILE]

For each family a small model with random weights is fine-tuned for an epoch on 64 tweets, and classifies 64 others.
The model is calibrated, and a second one has its threshold folded into the head. The published folders are loaded with
`AutoModelForSequenceClassification`, which classifies the same tweets, and onnxruntime runs the graph of `pipe export --onnx` on
them in padded batches. Prints the largest difference of a probability between `pipe` and transformers, that of a logit between
transformers and onnxruntime, and how often the graphs of `pipe export --int8` and of `quantize_dynamic` decide as that in f32. Fails
above 1e-5 and 1e-4, or if a decision of the threshold is not that of the folded head in transformers.
"""
import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import onnx
import onnxruntime
import torch
import transformers
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AutoModelForSequenceClassification, AutoTokenizer

ROOT = Path(__file__).resolve().parent.parent
LABELS = ["NOT_SARCASM", "SARCASM"]
SMALL = dict(vocab_size=30_522, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=128)
DISTIL = dict(vocab_size=30_522, dim=64, n_layers=3, n_heads=4, hidden_dim=128)
DEBERTA = SMALL | dict(relative_attention=True, position_buckets=32, norm_rel_ebd="layer_norm", share_att_key=True,
                       pos_att_type=["p2c", "c2p"], position_biased_input=False, type_vocab_size=0)
FAMILIES = {
    "Bert": SMALL, "Roberta": SMALL, "XLMRoberta": SMALL, "Camembert": SMALL, "DistilBert": DISTIL,
    "Electra": SMALL | dict(embedding_size=32), "DebertaV2": DEBERTA,
    "ModernBert": SMALL | dict(local_attention=16, cls_token_id=101, sep_token_id=102, bos_token_id=101, eos_token_id=102),
}
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--pipe", default=str(ROOT / "target/release/pipe"))
parser.add_argument("--tokenizer", required=True, help="a model folder whose word pieces all families take")
parser.add_argument("--data", type=Path, required=True, help="a folder with train.jsonl")
options = parser.parse_args()


def made(prefix, out):
    torch.manual_seed(1)
    maps = {"id2label": dict(enumerate(LABELS)), "label2id": {name: index for index, name in enumerate(LABELS)}}
    config = getattr(transformers, f"{prefix}Config")(**FAMILIES[prefix], pad_token_id=0, initializer_range=0.2, **maps)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(out)
    tokenizer(prefix).save_pretrained(out)


def tokenizer(prefix):
    found = AutoTokenizer.from_pretrained(options.tokenizer)
    if prefix not in ("Bert", "Electra"):
        found.model_input_names = ["input_ids", "attention_mask"]
    return found


def difference(prefix, scratch):
    model, lines = scratch / "start", open(options.data / "train.jsonl", encoding="utf-8")
    made(prefix, model)
    for name in ("train", "test"):
        (scratch / f"{name}.jsonl").write_text("".join(itertools.islice(lines, 32)) + "".join(itertools.islice(lines, 2_600, 2_632)))
    tokens = {"train": "ingest:train", "test": "ingest:test", "model": "start"}
    inputs = {"train": "tokenize:train", "valid": "tokenize:test", "model": "start"}
    decided = {"epochs": 1, "calibrate": "temperature", "threshold": "f1", "learning_rate": 1e-3}
    stages = {
        "ingest": {"inputs": {"train": "train.jsonl", "test": "test.jsonl"}},
        "tokenize": {"inputs": tokens, "params": {"context": 0, "max_length": 128}},
        "finetune": {"inputs": inputs, "params": decided, "publish": {"model": "trained"}},
        "fold": {"uses": "finetune", "inputs": inputs | {"model": "finetune:model"}, "params": {"epochs": 0, "fold": True},
                 "publish": {"model": "folded"}},
        "predict": {"inputs": {"test": "tokenize:test", "model": "finetune:model"}, "publish": {"predictions": "rows.jsonl"}},
    }
    (scratch / "pipeline.yaml").write_text(json.dumps({"stages": stages}))
    done = subprocess.run([Path(options.pipe).resolve(), "run", "-C", scratch], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{prefix}: {done.stderr[-2000:]}")
    trained, folded = (AutoModelForSequenceClassification.from_pretrained(scratch / name).eval() for name in ("trained", "folded"))
    # Not `AutoTokenizer`, which takes the class of the family, and not the word pieces that all take here.
    encode = tokenizer(prefix)
    examples = [json.loads(line) for line in open(scratch / "test.jsonl", encoding="utf-8")]
    texts = [example["response"] for example in examples]
    found = [json.loads(line) for line in open(scratch / "rows.jsonl", encoding="utf-8")]
    worst = 0.0
    for text, row in zip(texts, found, strict=True):
        tokens = encode(text, truncation=True, max_length=128, return_tensors="pt")
        with torch.no_grad():
            logits, decision = trained(**tokens).logits[0], folded(**tokens).logits[0].argmax().item()
        if LABELS[decision] != row["label"]:
            sys.exit(f"{prefix}: `{text}` is {LABELS[decision]} by the folded head, and {row['label']} by the threshold")
        expected = dict(zip(LABELS, logits.softmax(0).tolist()))
        worst = max(worst, *(abs(expected[name] - row["probabilities"][name]) for name in LABELS))
    return worst, *graphs(trained, encode, texts, scratch)


def graphs(trained, encode, texts, scratch):
    """The largest difference of a logit in f32, and in 8 bits of how many texts the larger logit is that of f32."""
    folder = scratch / "exported" / "onnx"
    for name, more in (("model", []), ("model_int8", ["--int8"])):
        command = [Path(options.pipe).resolve(), "export", "-C", scratch, "finetune:model", "--onnx", folder / f"{name}.onnx", *more]
        subprocess.run(command, capture_output=True, check=True)
        onnx.checker.check_model(folder / f"{name}.onnx", full_check=True)
    quantize_dynamic(folder / "model.onnx", folder / "model_theirs.onnx", per_channel=True, weight_type=QuantType.QInt8)
    sessions = [session(folder / f"{name}.onnx") for name in ("model", "model_int8", "model_theirs")]
    worst, ours, theirs = 0.0, 0, 0
    for size in (1, 7, 64):
        for start in range(0, len(texts), size):
            batch = texts[start : start + size]
            tokens = encode(batch, truncation=True, max_length=128, padding=True, return_tensors="pt")
            with torch.no_grad():
                expected = trained(**tokens).logits.numpy()
            inputs = {name: value.numpy() for name, value in tokens.items()}
            exact, int8, other = (it.run(["logits"], {one.name: inputs[one.name] for one in it.get_inputs()})[0] for it in sessions)
            worst = max(worst, float(numpy.abs(exact - expected).max()))
            if size == 1:
                ours += int((int8.argmax(1) == exact.argmax(1)).sum())
                theirs += int((other.argmax(1) == exact.argmax(1)).sum())
    return worst, ours / len(texts), theirs / len(texts)


def session(path):
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    return onnxruntime.InferenceSession(path, quiet, providers=["CPUExecutionProvider"])


for prefix in FAMILIES:
    with tempfile.TemporaryDirectory(prefix="pipe-round-trip-") as scratch:
        worst, logit, ours, theirs = difference(prefix, Path(scratch))
    print(f"{prefix}: {worst:.1e}, ONNX {logit:.1e}, 8 bits {ours:.0%} (quantize_dynamic {theirs:.0%})", flush=True)
    if not worst <= 1e-5:
        sys.exit(f"{prefix}: transformers gives other probabilities")
    if not logit <= 1e-4:
        sys.exit(f"{prefix}: onnxruntime gives other logits")
