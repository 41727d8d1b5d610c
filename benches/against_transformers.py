#!/usr/bin/env python3
"""Runs the same fine-tuning with `pipe` and with PyTorch and transformers, one after the other.

    python3 -m venv venv && venv/bin/pip install torch transformers safetensors scikit-learn
    cargo build --release
    python3 benches/against_transformers.py --python venv/bin/python --peer hf_finetune.py \
        --model DIR --train train.jsonl --test test.jsonl [--seeds 42,1,2] [--epochs 4]

The peer is a script that fine-tunes with PyTorch and transformers. Each side splits the data 9:1 with its own generator and the same seed. Equal texts are not kept together, because the
peer does not keep them together. Prints the validation figures of the last epoch, the training speed
(medians over epochs), and the ratio of the speeds.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--python", default=sys.executable)
parser.add_argument("--pipe", default=str(ROOT / "target/release/pipe"))
parser.add_argument("--peer", required=True, help="the script that fine-tunes with transformers")
parser.add_argument("--model", required=True)
parser.add_argument("--train", required=True)
parser.add_argument("--test", required=True)
parser.add_argument("--seeds", default="42,1,2")
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--learning-rate", default="5e-5")
options = parser.parse_args()
if not Path(options.peer).exists():
    sys.exit(f"skipped: there is no peer script at {options.peer}")


def absolute(path):
    return str(Path(path).resolve())


def ours(seed, cache):
    command = [
        options.pipe, "run", "--json", "-C", str(ROOT), "--cache", cache, "--profile", "figlang",
        *[argument for setting in (
            f"train={absolute(options.train)}", f"test={absolute(options.test)}", f"model={absolute(options.model)}",
            f"seed={seed}", f"finetune.epochs={options.epochs}", f"finetune.learning_rate={options.learning_rate}",
            "split.group_duplicates=false",
        ) for argument in ("--set", setting)],
    ]
    rows, seconds = [], 0.0
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        event = json.loads(line)
        said = event.get("said", {})
        if event.get("stage") == "finetune" and said.get("event") == "metrics" and "step" in said:
            rows.append(said["values"])
        if event.get("event") == "stage_finished":
            seconds += event["seconds"]
    return dict(accuracy=rows[-1]["valid_accuracy"], f1=rows[-1]["valid_f1"], seconds=seconds,
                speed=statistics.median(row["tokens_per_second"] for row in rows))


def peers(seed):
    command = [options.python, options.peer, "--model", options.model, "--train", options.train, "--test", options.test,
               "--epochs", str(options.epochs), "--lr", options.learning_rate, "--seed", str(seed)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    epochs = [row for row in rows if "epoch" in row]
    return dict(accuracy=epochs[-1]["valid_accuracy"], f1=epochs[-1]["valid_f1"], seconds=rows[-1]["total_seconds"],
                speed=statistics.median(row["tokens_per_second"] for row in epochs))


print("| seed | side | valid accuracy | valid F1 | tokens/s, training | seconds, whole job |\n|---|---|---|---|---|---|")
results = {"pipe": [], "transformers": []}
with tempfile.TemporaryDirectory() as cache:
    for seed in options.seeds.split(","):
        for side, result in (("pipe", ours(seed, cache)), ("transformers", peers(seed))):
            results[side].append(result)
            print(f"| {seed} | {side} | {result['accuracy']:.3f} | {result['f1']:.3f} | {result['speed']:.0f} | {result['seconds']:.0f} |", flush=True)
for side, rows in results.items():
    for name in ("accuracy", "f1"):
        values = [row[name] for row in rows]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{side}: {name} {statistics.mean(values):.3f} ± {spread:.3f}")
ratios = [a["speed"] / b["speed"] for a, b in zip(results["pipe"], results["transformers"])]
print(f"training speed, pipe / transformers: median {statistics.median(ratios):.2f} of {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
