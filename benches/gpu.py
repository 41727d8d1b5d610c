#!/usr/bin/env python3
"""Compares fine-tuning on an NVIDIA GPU with PyTorch on the same one, and with `pipe` on the CPU.

    cargo build --release --features cuda
    python3 benches/gpu.py --pipe target/release/pipe --data DIR --peer FILE [--rows small,train,…] [--out FILE]

Needs PyTorch with CUDA and transformers in the Python that runs it. The rows:

    doctor    what `pipe doctor` says
    small     the bundled encoder on the labelled tweets: losses on the GPU beside those on the CPU, whether a second
              training repeats to the bit, and how long the first and the second process take
    train     a 12 x 768 encoder with random weights: tokens per second of the last of three epochs, by precision
    peer      the same with PyTorch: SDPA, eager attention, and `torch.compile`
    kernels   the time of each kernel in a few steps, by Nsight Compute (`ncu`)
"""

import argparse
import collections
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIZES = dict(num_hidden_layers=12, hidden_size=768, intermediate_size=3072, num_attention_heads=12, vocab_size=50_265)
RATE = "2e-6"


class Bench:
    def __init__(self, options, work):
        self.options, self.work, self.rows = options, work, []
        self.train, self.test = options.data / "train.jsonl", options.data / "test.jsonl"

    def say(self, text):
        print(text, flush=True)

    def keep(self, **row):
        """Prints a figure and keeps it for `--out`."""
        self.rows.append(row)
        self.say(" ".join(f"{name}={value}" for name, value in row.items()))
        if self.options.out:
            self.options.out.write_text("".join(json.dumps(row) + "\n" for row in self.rows))

    def run(self, command, limit, cwd=None, environment=None):
        """The seconds and the objects that a command prints; `None` if it fails or takes too long."""
        began = time.perf_counter()
        command = [str(part) for part in command]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit, cwd=cwd,
                                  env=environment, check=False)
        except subprocess.TimeoutExpired:
            self.say(f"took more than {limit} s: {' '.join(command)}")
            return None
        if done.returncode != 0:
            self.say(f"failed: {' '.join(command)}\n{done.stdout[-1500:]}\n{done.stderr[-2500:]}")
            return None
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return time.perf_counter() - began, rows

    def project(self, name, train=None):
        """A project with the default pipeline on the labelled tweets."""
        folder = self.work / name
        if not folder.exists():
            shutil.copytree(ROOT / "models", folder / "models")
            text = (ROOT / "pipeline.yaml").read_text()
            text = text.replace("data/sample/train.jsonl", str(train or self.train))
            (folder / "pipeline.yaml").write_text(text.replace("data/sample/test.jsonl", str(self.test)))
        return folder

    def model(self, has_weights):
        """The folder of the large model, for the peer with weights."""
        folder = self.work / f"base-{has_weights}"
        if not folder.exists():
            small = ROOT / "models/tweet-encoder"
            folder.mkdir()
            for file in small.glob("tokenizer*"):
                shutil.copy(file, folder)
            config = json.loads((small / "config.json").read_text()) | SIZES
            # The bundled weights are half as precise, and transformers would train in what this says.
            config = {name: value for name, value in config.items() if "dtype" not in name}
            (folder / "config.json").write_text(json.dumps(config))
            if has_weights:
                import torch
                from transformers import AutoConfig, AutoModelForSequenceClassification
                torch.manual_seed(0)
                config = AutoConfig.from_pretrained(folder, num_labels=2)
                AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
        return folder

    def pipe(self, folder, *arguments, limit=150, cache="cache"):
        """Runs a pipeline; returns its seconds, the seconds of each stage, and finetune's figures by epoch."""
        command = [self.options.pipe, "run", "--json", "--offline", "--cache", cache, *arguments]
        found = self.run(command, limit, folder)
        if found is None:
            return None
        seconds, events = found
        finished = {it["stage"]: it for it in events if it.get("event") == "stage_finished"}
        said = [it["said"] for it in events if it.get("stage") == "finetune" and "said" in it]
        epochs = [it["values"] for it in said if it["event"] == "metrics" and "step" in it]
        return {"seconds": seconds, "finished": finished, "epochs": epochs}


def doctor(bench):
    for command in (["nvidia-smi"], [bench.options.pipe, "doctor", "--offline"]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        bench.say(done.stdout[-2500:] + done.stderr[-500:])


def small(bench):
    folder, found = bench.project("small"), {}
    settings = ["--set", "finetune.epochs=4", "--set", "finetune.batch_size=32"]
    for name, device in (("first", "cuda"), ("again", "cuda"), ("cpu", "cpu")):
        run = bench.pipe(folder, *settings, "--device", device, cache=f"cache-{name}")
        if run is None:
            continue
        (folder / "answer.txt").rename(folder / f"answer-{name}.txt")
        found[name] = run
        stages = {name: round(it["seconds"], 2) for name, it in run["finished"].items()}
        per_epoch = [round(epoch["train_seconds"], 2) for epoch in run["epochs"]]
        bench.keep(row="small", run=name, seconds=round(run["seconds"], 2), **stages, epochs=per_epoch)
    if len(found) == 3:
        content = [run["finished"]["finetune"]["outputs"]["model"]["content"] for run in found.values()]
        bench.keep(row="small", repeats=content[0] == content[1])
        for one, two in zip(found["first"]["epochs"], found["cpu"]["epochs"]):
            bench.keep(row="small", epoch=one["epoch"], **{name: [one[name], two[name]] for name in one if "loss" in name})
        answers = [(folder / f"answer-{name}.txt").read_text().splitlines() for name in ("first", "cpu")]
        bench.keep(row="small", answers_differ=sum(one != two for one, two in zip(*answers)), of=len(answers[0]))


def train(bench):
    folder, model = bench.project("base"), bench.model(False)
    base = ["--set", f"model={model}", "--set", "finetune.epochs=3", "--set", f"finetune.learning_rate={RATE}"]
    for precision, batch in (("bf16", 32), ("bf16", 64), ("tf32", 32), ("f32", 32)):
        own = ["--set", f"finetune.precision={precision}", "--set", f"finetune.batch_size={batch}"]
        run = bench.pipe(folder, *base, *own, "--device", "cuda")
        if run is None:
            continue
        for epoch in run["epochs"]:
            steps = epoch["steps"] / epoch["epoch"]
            bench.keep(row="train", precision=precision, batch=batch, epoch=int(epoch["epoch"]),
                       tokens_per_second=round(epoch["tokens_per_second"]), ms_per_step=round(1e3 * epoch["train_seconds"] / steps, 2),
                       train_loss=epoch["train_loss"], valid_loss=epoch["valid_loss"], valid_seconds=round(epoch["valid_seconds"], 3))
        bench.keep(row="train", precision=precision, batch=batch, finetune=round(run["finished"]["finetune"]["seconds"], 2),
                   predict=round(run["finished"]["predict"]["seconds"], 2), whole=round(run["seconds"], 2))


def peer(bench):
    model, text = bench.model(True), bench.options.peer.read_text()
    where = "from_pretrained(a.model, num_labels=2)"
    assert text.count(where) == 1, f"{bench.options.peer} is not as expected"
    cases = (("sdpa", 32, ["--bf16"]), ("sdpa", 64, ["--bf16"]), ("eager", 32, ["--bf16"]), ("sdpa", 32, []),
             ("sdpa", 32, ["--bf16", "--compile"]))
    for attention, batch, flags in cases:
        script = bench.work / f"peer-{attention}.py"
        script.write_text(text.replace(where, f'from_pretrained(a.model, num_labels=2, attn_implementation="{attention}")'))
        command = [sys.executable, script, "--model", model, "--train", bench.train, "--test", bench.test, "--epochs", 3,
                   "--lr", RATE, "--batch", batch, "--device", "cuda", "--pad", "grouped", *flags]
        found = bench.run(command, 150, environment=dict(os.environ, TOKENIZERS_PARALLELISM="true"))
        if found is None:
            continue
        for row in found[1]:
            bench.keep(row="peer", attention=attention, batch=batch, flags="".join(flags), **row)
        bench.keep(row="peer", attention=attention, batch=batch, flags="".join(flags), whole=round(found[0], 2))


def kernels(bench):
    ncu = shutil.which("ncu") or "/usr/local/cuda/bin/ncu"
    lines = bench.train.read_text().splitlines(keepends=True)
    few = bench.work / "few.jsonl"
    few.write_text("".join(lines[:72] + lines[-72:]))
    folder, model = bench.project("few", few), bench.model(False)
    settings = ["--set", f"model={model}", "--set", "finetune.epochs=1", "--set", f"finetune.learning_rate={RATE}"]
    for precision, batch in (("bf16", 64), ("bf16", 32), ("f32", 32)):
        log = bench.work / f"ncu-{precision}-{batch}.csv"
        own = ["--set", f"finetune.precision={precision}", "--set", f"finetune.batch_size={batch}", "--until", "finetune"]
        bench.pipe(folder, *settings, *own, "--until", "tokenize", "--device", "cpu")
        command = [ncu, "--clock-control", "none", "--metrics", "gpu__time_duration.sum", "--csv", "--target-processes", "all",
                   "--log-file", log, bench.options.pipe, "run", "--json", "--offline", *settings, *own, "--device", "cuda"]
        found = bench.run(command, 90, folder)
        if not log.exists():
            continue
        rows = [line for line in log.read_text(errors="replace").splitlines() if line.startswith('"')]
        times, counts = collections.Counter(), collections.Counter()
        for row in csv.DictReader(rows):
            if row.get("Metric Name") != "gpu__time_duration.sum":
                continue
            value = float(row["Metric Value"].replace(",", ""))
            scale = {"ns": 1e-3, "us": 1, "ms": 1e3, "nsecond": 1e-3, "usecond": 1, "msecond": 1e3}[row["Metric Unit"]]
            name = (row["Kernel Name"], row.get("Grid Size"), row.get("Block Size"))
            times[name] += value * scale
            counts[name] += 1
        steps = -(-129 // batch)
        total = sum(times.values())
        bench.keep(row="kernels", precision=precision, batch=batch, seconds=found and round(found[0], 1), steps=steps,
                   launches=sum(counts.values()), ms_in_all=round(total / 1e3, 3))
        if bench.options.out:
            file = bench.options.out.with_name(f"kernels-{precision}-{batch}.tsv")
            table = [f"{microseconds:.1f}\t{counts[name]}\t" + "\t".join(map(str, name)) for name, microseconds in times.most_common()]
            file.write_text("\n".join(table))
        for name, microseconds in times.most_common(14):
            bench.say(f"  {microseconds / total:6.1%} {microseconds:10.0f} µs {counts[name]:5} {name[0][:70]} {name[1]} {name[2]}")


ROWS = {"doctor": doctor, "small": small, "train": train, "peer": peer, "kernels": kernels}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipe", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train.jsonl and test.jsonl")
    parser.add_argument("--peer", type=Path, required=True, help="the script that fine-tunes with transformers")
    parser.add_argument("--rows", default=",".join(ROWS), help="only these rows, separated by commas")
    parser.add_argument("--out", type=Path, help="also write the figures to this file, a JSON object in each line")
    options = parser.parse_args()
    for name in ("pipe", "data", "peer"):
        setattr(options, name, getattr(options, name).resolve())
    with tempfile.TemporaryDirectory(prefix="pipe-gpu-") as work:
        bench = Bench(options, Path(work))
        for row in options.rows.split(","):
            began = time.perf_counter()
            ROWS[row](bench)
            bench.say(f"== {row}: {time.perf_counter() - began:.0f} s")


main()
