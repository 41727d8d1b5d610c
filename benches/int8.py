#!/usr/bin/env python3
"""Compares `precision: int8` of `predict` with f32, and with ONNX Runtime's dynamic quantization of the same model.

    python3 -m venv venv && venv/bin/pip install torch transformers onnx onnxruntime
    cargo build --release
    python3 benches/int8.py --python venv/bin/python --model DIR --data DIR --work DIR [--rounds 5] [--out FILE]

`--model` is MiniLM, `--data` holds train.jsonl and test.jsonl of FigLang 2020. The model is fine-tuned once, on 9 of
10 training tweets, and stays in the cache of `--work`. Time is taken over the test tweets, without loading and tokenizing, in batches
of 32 of similar length on both sides; the sides take turns. Labels are compared on the test tweets and on the other tenth, where
`score` compares int8 with f32.
"""

import argparse
import datetime
import json
import platform
import statistics
from pathlib import Path

import speed
from speed import LABELS, measured, objects

PEERS = {"ONNX Runtime, f32": "model.onnx", "ONNX Runtime, int8": "int8.onnx"}
SIDES = {"f32": "exact", "int8": "rounded"}


def pipeline(options):
    """The pipeline as JSON, which is also YAML."""
    inputs = {"test": "tokenize:test", "valid": "tokenize:valid", "model": "finetune:model"}
    stages = {
        "ingest": {
            "inputs": {name: str(options.data / f"{name}.jsonl") for name in ("train", "test")},
            "params": {"labels": LABELS, "remove": ["@USER"]},
        },
        "split": {"inputs": {"examples": "ingest:train"}, "params": {"share": 0.9, "seed": 1}},
        "tokenize": {
            "inputs": {"train": "split:train", "valid": "split:valid", "test": "ingest:test", "model": str(options.model)},
            "params": {"labels": LABELS, "context": 0},
        },
        "finetune": {
            "inputs": {"train": "tokenize:train", "valid": "tokenize:valid", "model": str(options.model)},
            "params": {"epochs": 4, "batch_size": 32, "learning_rate": 5e-5, "seed": 1},
            "publish": {"model": "model"},
        },
        "score": {"inputs": {"valid": "rounded:valid", "against": "exact:valid"}, "publish": {"scores": "scores.json"}},
    }
    for precision, name in SIDES.items():
        publish = {output: f"{name}-{output}.jsonl" for output in ("predictions", "valid")}
        stages[name] = {"uses": "predict", "inputs": inputs, "params": {"precision": precision}, "publish": publish}
    return {"stages": stages}


class Bench(speed.Bench):
    def predict(self, stage):
        """The rate of the stage over the test tweets."""
        run = self.pipe(self.scratch, "--only", stage, "--force", "--device", "cpu")
        files = [said["values"]["examples_per_second"] for said in run["said"] if said["event"] == "progress" and said["total"] == self.count]
        return {"rate": files[-1], "memory": run["memory"]}

    def onnx(self, file, out):
        test = self.options.data / "test.jsonl"
        run = self.peer("predict", runtime="onnx", model=self.scratch / "model", file=test, onnx=self.scratch / file, out=self.scratch / out)
        return {"rate": self.count / run["seconds"], "memory": run["memory"]}


def rows(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def agreement(one, other):
    return f"{100 * sum(left == right for left, right in zip(one, other)) / len(one):.2f} %"


def compared(name, of):
    low, high = (f"{100 * it:+.1f}" for it in of["interval"])
    return f"- {name}: {100 * of['other']:.1f} in f32, {100 * of['this']:.1f} in int8, {100 * of['difference']:+.1f} [{low}, {high}]"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipe", type=Path, default=speed.ROOT / "target/release/pipe")
    parser.add_argument("--python", required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.quick = False
    options.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(options, options.work)
    (options.work / "pipeline.yaml").write_text(json.dumps(pipeline(options)))
    measured([options.pipe, "run", "-C", options.work, "--device", "cpu"])
    exact = rows(options.work / "exact-predictions.jsonl")
    bench.count = len(exact)
    bench.peer("export", model=options.work / "model", out=options.work / "model.onnx")
    bench.peer("quantize", onnx=options.work / "model.onnx", out=options.work / "int8.onnx")

    runs = {}
    for _ in range(options.rounds):
        for precision, stage in SIDES.items():
            runs.setdefault(f"`precision: {precision}`", []).append(bench.predict(stage))
        for name, file in PEERS.items():
            runs.setdefault(name, []).append(bench.onnx(file, f"{file}.json"))

    labels = {f"`precision: {precision}`": [row["label"] for row in rows(options.work / f"{stage}-predictions.jsonl")] for precision, stage in SIDES.items()}
    for name, file in PEERS.items():
        found = json.loads((options.work / f"{file}.json").read_text())
        labels[name] = [LABELS[value[1] > value[0]] for value in found]
    reference = labels["`precision: f32`"]
    median = lambda name, what: statistics.median(run[what] for run in runs[name])
    lines = ["| | texts/s, median | best | against f32 | labels as f32 gives them | peak memory |", "|---|---|---|---|---|---|"]
    for name in runs:
        rate, best = median(name, "rate"), max(run["rate"] for run in runs[name])
        share = rate / median("`precision: f32`", "rate")
        lines.append(f"| {name} | {rate:,.0f} | {best:,.0f} | {share:.2f} | {agreement(labels[name], reference)} | {speed.mega(median(name, 'memory'))} |")
    valid = {precision: rows(options.work / f"{stage}-valid.jsonl") for precision, stage in SIDES.items()}
    same = agreement(*[[row["label"] for row in found] for found in valid.values()])
    apart = max(abs(one["probabilities"][LABELS[1]] - other["probabilities"][LABELS[1]]) for one, other in zip(*valid.values()))
    lines += ["", f"On the {len(valid['f32'])} validation tweets {same} of the labels are equal, and probabilities at most {apart:.3f} apart.", ""]
    lines += [compared(name, json.loads((options.work / "scores.json").read_text())["against"][name]) for name in ("accuracy", "f1")]
    versions = bench.peer("versions")
    head = f"{datetime.date.today()}, {platform.processor() or platform.machine()}, {bench.count:,} tweets; " + ", ".join(
        f"{name} {versions[name]}" for name in ("torch", "transformers", "onnxruntime")
    )
    text = "\n".join([head, "", *lines])
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
