#!/usr/bin/env python3
"""Measures how time and memory grow with the number of long texts: `ingest`, `tokenize` with windows, and `predict`.

    cargo build --release
    benches/long_texts.py [--pipe target/release/pipe] [--documents 500,1000,2000] [--words 5000] [--model DIR]

The texts are random words of the sample. Without `--model` the encoder is a tiny one (1 layer of 32) with random weights
and the tokenizer of `models/tweet-encoder`, so that what is measured is mostly `pipe` and not the network.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("ingest", "tokenize", "predict")


def tiny_model(folder):
    """A folder with the config of a tiny RoBERTa and the tokenizer of the bundled encoder."""
    source = ROOT / "models/tweet-encoder"
    config = json.loads((source / "config.json").read_text())
    config.update(hidden_size=32, num_hidden_layers=1, intermediate_size=64, num_attention_heads=2)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(source / name, folder / name)
    return folder


def write(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


def measured(command):
    """The seconds, and the peak memory in MB of the process or any of its children."""
    with tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        assert process.returncode == 0, errors.read()
    return seconds, usage.ru_maxrss / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipe", type=Path, default=ROOT / "target/release/pipe")
    parser.add_argument("--documents", default="500,1000,2000")
    parser.add_argument("--words", type=int, default=5000)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--stride", type=int, default=16)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    pipe = options.pipe.resolve()
    sample = (ROOT / "data/sample/train.jsonl").read_text()
    words = sorted(set(re.findall(r"[A-Za-z']+", sample)))
    text = lambda r: " ".join(r.choices(words, k=options.words))
    with tempfile.TemporaryDirectory(prefix="pipe-long-") as folder:
        folder = Path(folder)
        model = options.model.resolve() if options.model else tiny_model(folder / "tiny")
        few = [{"id": f"t{n}", "label": ["no", "yes"][n % 2], "text": "a text"} for n in range(4)]
        write(folder / "train.jsonl", few)
        tokenize = {"max_length": options.length, "window_stride": options.stride}
        print("| documents | stage | seconds | peak memory | per document |\n|---|---|---|---|---|")
        for count in map(int, options.documents.split(",")):
            r = random.Random(count)
            write(folder / "test.jsonl", ({"id": f"d{n}", "text": text(r)} for n in range(count)))
            stages = {
                "ingest": {"inputs": {"train": "train.jsonl", "test": "test.jsonl"}, "params": {"text_field": "text", "context_field": None}},
                "tokenize": {"inputs": {"train": "ingest:train", "test": "ingest:test", "model": str(model)}, "params": tokenize},
                "finetune": {"inputs": {"train": "tokenize:train", "model": str(model)}, "params": {"epochs": 1, "init": "random"}},
                "predict": {"inputs": {"test": "tokenize:test", "model": "finetune:model"}},
            }
            (folder / "pipeline.yaml").write_text(json.dumps({"stages": stages}))
            shutil.rmtree(folder / "cache", ignore_errors=True)
            for stage in ("ingest", "tokenize", "finetune", "predict"):
                seconds, memory = measured([pipe, "-C", folder, "run", "--only", stage, "--device", "cpu"])
                if stage in STAGES:
                    print(f"| {count:,} | {stage} | {seconds:.1f} | {memory:.0f} MB | {1000 * seconds / count:.2f} ms |", flush=True)


main()
