#!/usr/bin/env python3
"""Compares training, predicting and tokenizing with PyTorch, ONNX Runtime and `tokenizers`, and measures growth.

    python3 -m venv venv && venv/bin/pip install torch transformers scikit-learn onnx onnxscript onnxruntime
    cargo build --release
    python3 benches/speed.py --python venv/bin/python --model DIR --data DIR --tweets FILE --peer FILE [--quick] [--rows finetune,predict] [--out FILE]

The two sides of a row take turns. The table holds medians; a ratio above 1 means that `pipe` is better. Each
row checks that both sides did the same work, and says what it compared. The rows:

    finetune   one epoch in f32, MiniLM and a 12 x 768 encoder, with the peer's batches grouped by length
    reduced    the same in bf16
    families   the same in f32 for each family at its published size, with random weights
    whole      from the files to the answer, with the peer padding all texts to the longest, as notebooks do
    predict    class probabilities in f32 against PyTorch and ONNX Runtime, without and with start-up
    tokenize   many tweets against the batch call of `tokenizers`, including reading the file
    growth     increasing numbers of rows through ingest, split, tokenize and predict
    start      size of the binary, time of the smallest stage; without `--quick` also a build from scratch

Needs `--model` (MiniLM), `--data`, `--tweets` and `--peer`; see `--help`.
"""

import argparse
import datetime
import itertools
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LABELS = ["NOT_SARCASM", "SARCASM"]
FAMILIES = ["distilbert-base", "xlm-roberta-base", "deberta-v3-base", "ModernBERT-base"]


def say(text):
    print(text, file=sys.stderr, flush=True)


def measured(command, environment=None):
    """The seconds, the peak memory in bytes of the process or any of its children, and the output."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=errors, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), errors.seek(0)
        text = out.read()
        if process.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))}: {text[-1500:]}{errors.read()[-1500:]}")
    return seconds, usage.ru_maxrss * 1024, text


def objects(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


class Bench:
    def __init__(self, options, scratch):
        self.options, self.scratch = options, Path(scratch)
        self.quick = options.quick
        self.models = {}
        self.memory = []

    def times(self, full, quick=1):
        return self.options.rounds or (quick if self.quick else full)

    def peer(self, what, **values):
        script = ROOT / "benches/speed_peers.py"
        command = [self.options.python, script, what, *(f"{name}={value}" for name, value in values.items())]
        seconds, memory, text = measured(command)
        return objects(text)[-1] | {"wall": seconds, "memory": memory}

    def model(self, name):
        """A classifier's folder that all sides read: MiniLM, or random weights of another size."""
        sizes = {"mini": {}, "base": dict(layers=12, hidden=768, heads=12), "tiny": dict(layers=2, hidden=64, heads=2)}
        if name not in self.models:
            self.models[name] = self.scratch / name
            how = sizes.get(name, dict(family=name))
            self.peer("prepare", source=self.options.model, out=self.models[name], labels=",".join(LABELS), **how)
        return self.models[name]

    def examples(self, count):
        """`count` labelled tweets in an order that mixes the labels."""
        path = self.scratch / f"examples-{count}.jsonl"
        lines = [line for line in open(self.options.data / "train.jsonl", encoding="utf-8") if line.strip()]
        random.Random(1).shuffle(lines)
        path.write_text("".join(line.rstrip("\r\n") + "\n" for line in lines[:count]), encoding="utf-8")
        return path

    def project(self, name, stages):
        """A folder with this pipeline as JSON, which is also YAML."""
        folder = self.scratch / name
        folder.mkdir(exist_ok=True)
        (folder / "pipeline.yaml").write_text(json.dumps({"stages": stages}))
        return folder

    def pipe(self, folder, *arguments):
        command = [self.options.pipe, "run", "--json", "-C", folder, *arguments]
        seconds, memory, text = measured(command)
        events = objects(text)
        finished = {event["stage"]: event for event in events if event.get("event") == "stage_finished"}
        said = [event["said"] | {"stage": event["stage"]} for event in events if "said" in event]
        return {"wall": seconds, "memory": memory, "finished": finished, "said": said}

    def hf(self, *arguments):
        """Runs the peer script; returns its first epoch (or the median of the later ones) and its summary."""
        command = [self.options.python, self.options.peer, *arguments]
        environment = dict(os.environ, TOKENIZERS_PARALLELISM="true")
        seconds, memory, text = measured(command, environment)
        epochs = [row for row in objects(text) if "epoch" in row]
        return {"wall": seconds, "memory": memory, "epochs": epochs, "rows": objects(text)}


def tokenized(train, test, model):
    return {
        "ingest": {"inputs": {"train": str(train), "test": str(test)}, "params": {"labels": LABELS, "remove": ["@USER"]}},
        "tokenize": {
            "inputs": {"train": "ingest:train", "valid": "ingest:test", "model": str(model)},
            "params": {"labels": LABELS, "context": 0},
        },
    }


def finetune(bench, precision="f32", shapes=("mini", "base")):
    """Returns rows of (what, ours, theirs, ratio, proof of the same work)."""
    counts = {"mini": 640, "base": 96} if bench.quick else {"mini": 5_000, "base": 480}
    counts |= {family: 96 if bench.quick else 500 for family in FAMILIES}
    # The base shape has random weights: with a higher rate the first losses depend on the order of rows.
    rates = {"mini": "5e-5", "base": "2e-6"} | {family: "2e-6" for family in FAMILIES}
    for shape in shapes:
        count, model = counts[shape], bench.model(shape)
        file = bench.examples(count)
        train, valid = bench.scratch / f"train-{count}.jsonl", bench.scratch / f"valid-{count}.jsonl"
        work = bench.peer("split", model=model, file=file, train=train, valid=valid, seed=42)
        params = {"epochs": 1, "batch_size": 32, "learning_rate": float(rates[shape]), "precision": precision}
        stages = tokenized(train, valid, model)
        inputs = {"train": "tokenize:train", "valid": "tokenize:valid", "model": str(model)}
        stages["finetune"] = {"inputs": inputs, "params": params}
        folder = bench.project(f"finetune-{shape}-{precision}", stages)
        bench.pipe(folder, "--until", "tokenize")
        flags = ["--pad", "grouped", "--epochs", 1, "--lr", rates[shape], "--seed", 42]
        flags += ["--bf16"] if precision == "bf16" else []
        ours, theirs = [], []
        for _ in range(bench.times(3)):
            run = bench.pipe(folder, "--only", "finetune", "--force", "--device", "cpu")
            rows = [said["values"] for said in run["said"] if said["event"] == "metrics" and "step" in said]
            ours.append(run | {"row": rows[-1]})
            theirs.append(bench.hf("--model", model, "--train", file, *flags))
        speed = statistics.median(run["row"]["tokens_per_second"] for run in ours)
        peers = statistics.median(run["epochs"][-1]["tokens_per_second"] for run in theirs)
        row, last = ours[0]["row"], theirs[0]["epochs"][-1]
        tokens = row["tokens_per_second"] * row["train_seconds"]
        steps = -(-work["rows"] // 32)
        same = [
            ("tokens", abs(tokens - work["tokens"]) < 0.5, f"{work['tokens']:,}"),
            ("steps", row["steps"] == steps, f"{steps}"),
            ("loss", abs(row["train_loss"] - last["train_loss"]) < 0.05, f"{row['train_loss']:.3f} and {last['train_loss']:.3f}"),
        ]
        name = f"fine-tuning {shape}, {precision}"
        yield name, f"{speed:,.0f} tokens/s", f"{peers:,.0f} tokens/s", f"{speed / peers:.2f}", told(same)
        memory = [statistics.median(run["memory"] for run in side) for side in (ours, theirs)]
        yield f"its peak memory", mega(memory[0]), mega(memory[1]), f"{memory[1] / memory[0]:.2f}", "the same runs"


def told(checks):
    wrong = [f"{name} DIFFER" for name, right, _ in checks if not right]
    return "; ".join(wrong + [f"{name} {value}" for name, _, value in checks])


def mega(size):
    return f"{size / 1e6:,.0f} MB"


def families(bench):
    yield from finetune(bench, shapes=FAMILIES)


def reduced(bench):
    yield from finetune(bench, precision="bf16")


def whole(bench):
    model, epochs = bench.model("mini"), bench.times(2)
    train, test = bench.options.data / "train.jsonl", bench.options.data / "test.jsonl"
    if bench.quick:
        short = bench.scratch / "test.jsonl"
        short.write_text("".join(open(test, encoding="utf-8").readlines()[:200]), encoding="utf-8")
        train, test = bench.examples(320), short
    stages = tokenized(train, test, model)
    stages["split"] = {"inputs": {"examples": "ingest:train"}, "params": {"share": 0.9, "group_duplicates": False}}
    stages["tokenize"]["inputs"] |= {"train": "split:train", "valid": "split:valid", "test": "ingest:test"}
    inputs = {"train": "tokenize:train", "valid": "tokenize:valid", "model": str(model)}
    stages["finetune"] = {"inputs": inputs, "params": {"epochs": epochs, "learning_rate": 5e-5}}
    stages["predict"] = {"inputs": {"test": "tokenize:test", "model": "finetune:model"}, "publish": {"answer": "answer.txt"}}
    folder = bench.project("whole", stages)
    ours, theirs, answer = [], [], bench.scratch / "answer.txt"
    for _ in range(bench.times(2)):
        shutil.rmtree(folder / "cache", ignore_errors=True)
        ours.append(bench.pipe(folder, "--device", "cpu"))
        arguments = ["--model", model, "--train", train, "--test", test, "--out", answer, "--epochs", epochs]
        theirs.append(bench.hf(*arguments, "--lr", "5e-5", "--pad", "fixed"))
    seconds = [statistics.median(run["wall"] for run in side) for side in (ours, theirs)]
    lines = [len(path.read_text().splitlines()) for path in (folder / "answer.txt", answer)]
    rows = [said["values"] for said in ours[0]["said"] if said["event"] == "metrics" and "step" in said]
    losses = rows[-1]["train_loss"], theirs[0]["epochs"][-1]["train_loss"]
    same = [
        ("answers", lines[0] == lines[1], f"{lines[0]:,}"),
        ("epochs", len(rows) == len(theirs[0]["epochs"]), f"{len(rows)}"),
        ("loss", abs(losses[0] - losses[1]) < 0.05, f"{losses[0]:.3f} and {losses[1]:.3f}"),
    ]
    yield "whole job, peer padding to the longest", f"{seconds[0]:.1f} s", f"{seconds[1]:.1f} s", f"{seconds[1] / seconds[0]:.2f}", told(same)


def predict(bench):
    model, count = bench.model("mini"), 400 if bench.quick else 1_800
    lines = open(bench.options.data / "test.jsonl", encoding="utf-8").readlines()
    file = bench.scratch / f"test-{count}.jsonl"
    file.write_text("".join(itertools.islice(itertools.cycle(lines), count)), encoding="utf-8")
    stages = tokenized(file, file, model)
    stages["ingest"] = {"inputs": {"test": str(file)}, "params": {"labels": LABELS, "remove": ["@USER"]}}
    stages["tokenize"]["inputs"] = {"test": "ingest:test", "model": str(model)}
    stages["predict"] = {"inputs": {"test": "tokenize:test", "model": str(model)}, "publish": {"predictions": "predictions.jsonl"}}
    folder = bench.project("predict", stages)
    bench.pipe(folder, "--device", "cpu")
    onnx = bench.scratch / "mini.onnx"
    runtimes = ["torch", "onnx"]
    bench.peer("export", model=model, out=onnx)
    found = {side: [] for side in ["pipe", *runtimes]}
    for _ in range(bench.times(5, 2)):
        run = bench.pipe(folder, "--only", "predict", "--force", "--device", "cpu")
        rates = [said["values"]["examples_per_second"] for said in run["said"] if said["event"] == "progress"]
        found["pipe"].append(run | {"seconds": count / rates[-1], "wall": run["finished"]["predict"]["seconds"]})
        for runtime in runtimes:
            out = bench.scratch / f"{runtime}.json"
            found[runtime].append(bench.peer("predict", runtime=runtime, model=model, file=file, onnx=onnx, out=out))
    median = {side: {what: statistics.median(run[what] for run in runs) for what in ("seconds", "wall", "memory")} for side, runs in found.items()}
    rows = [json.loads(line) for line in open(folder / "predictions.jsonl", encoding="utf-8")]
    for runtime in runtimes:
        theirs = json.loads((bench.scratch / f"{runtime}.json").read_text())
        differences = [abs(row["probabilities"][LABELS[1]] - value[1]) for row, value in zip(rows, theirs)]
        same = [("rows", len(rows) == len(theirs), f"{count:,}"), ("probabilities", max(differences) < 1e-4, f"{max(differences):.0e} apart at most")]
        one, other = median["pipe"], median[runtime]
        yield f"predict against {runtime}", f"{one['seconds']:.2f} s", f"{other['seconds']:.2f} s", f"{other['seconds'] / one['seconds']:.2f}", told(same)
        yield "with its start and files", f"{one['wall']:.2f} s", f"{other['wall']:.2f} s", f"{other['wall'] / one['wall']:.2f}", "the same runs; the peer also tokenizes"
        yield "its peak memory", mega(one["memory"]), mega(other["memory"]), f"{other['memory'] / one['memory']:.2f}", "the same runs"


def tweets(bench, count):
    """Makes `count` labelled rows by repeating the unlabelled tweets, each with a number."""
    path = bench.scratch / f"tweets-{count}.jsonl"
    if not path.exists():
        # Written line by line: `wait4` reports at least this process's own memory for its children.
        again = itertools.chain.from_iterable(open(bench.options.tweets, encoding="utf-8") for _ in itertools.count())
        with open(path, "w", encoding="utf-8") as out:
            for number, line in enumerate(itertools.islice(again, count)):
                text = f"{line.rstrip()} {number}"
                row = {"id": f"t{number}", "response": text, "label": LABELS[number % 2]}
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def tokenize(bench):
    model, count = bench.model("mini"), 50_000 if bench.quick else 1_000_000
    file = tweets(bench, count)
    stages = {
        "ingest": {"inputs": {"train": str(file)}, "params": {"labels": LABELS, "remove": ["@USER"]}},
        "tokenize": {"inputs": {"train": "ingest:train", "model": str(model)}, "params": {"labels": LABELS, "context": 0}},
    }
    folder = bench.project("tokenize", stages)
    bench.pipe(folder, "--until", "ingest")
    ours, theirs = [], []
    for _ in range(bench.times(3, 2)):
        ours.append(bench.pipe(folder, "--only", "tokenize", "--force"))
        theirs.append(bench.peer("tokenize", model=model, file=file))
    seconds = statistics.median(run["finished"]["tokenize"]["seconds"] for run in ours)
    peers = statistics.median(run["seconds"] for run in theirs)
    tokens = ours[0]["finished"]["tokenize"]["metrics"]["train_tokens"], theirs[0]["tokens"]
    same = [("tokens", tokens[0] == tokens[1], f"{tokens[0]:,.0f} and {tokens[1]:,}")]
    yield f"tokenize {count:,} tweets", f"{seconds:.2f} s", f"{peers:.2f} s", f"{peers / seconds:.2f}", told(same)
    memory = [statistics.median(run["memory"] for run in side) for side in (ours, theirs)]
    yield "its peak memory", mega(memory[0]), mega(memory[1]), f"{memory[1] / memory[0]:.2f}", "the same runs"


def growth(bench):
    model = bench.model("tiny")
    found = {}
    counts = [5_000, 50_000] if bench.quick else [5_000, 50_000, 500_000]
    for count in counts:
        file = tweets(bench, count)
        stages = tokenized(file, file, model)
        stages["ingest"]["inputs"] = {"train": str(file)}
        stages["split"] = {"inputs": {"examples": "ingest:train"}, "params": {"share": 0.9}}
        stages["tokenize"]["inputs"] = {"train": "split:train", "valid": "split:valid", "model": str(model)}
        stages["predict"] = {"inputs": {"test": "tokenize:train", "model": str(model)}}
        folder = bench.project(f"growth-{count}", stages)
        for stage in ("ingest", "split", "tokenize", "predict"):
            run = bench.pipe(folder, "--only", stage, "--force", "--device", "cpu")
            found[stage, count] = run["finished"][stage]["seconds"], run["memory"]
        shutil.rmtree(folder)
    for stage in ("ingest", "split", "tokenize", "predict"):
        for small, large in itertools.pairwise(counts):
            (few, little), (many, much) = found[stage, small], found[stage, large]
            per_row = (few / small) / (many / large)
            yield (f"growth of {stage}", f"{small:,} rows: {few:.2f} s, {mega(little)}",
                   f"{large:,} rows: {many:.2f} s, {mega(much)}", f"{per_row:.2f}", "time a row, fewer to more")


def start(bench):
    size = Path(bench.options.pipe).stat().st_size
    yield "binary", mega(size), "-", "-", bench.options.pipe
    model = bench.model("tiny")
    file = bench.scratch / "two.jsonl"
    file.write_text("".join(json.dumps({"id": f"{n}", "response": "a tweet", "label": LABELS[n]}) + "\n" for n in range(2)))
    stages = tokenized(file, file, model)
    stages["predict"] = {"inputs": {"test": "tokenize:train", "model": str(model)}}
    folder = bench.project("start", stages)
    bench.pipe(folder, "--device", "cpu")
    for stage in ("ingest", "tokenize", "predict"):
        runs = [bench.pipe(folder, "--only", stage, "--force", "--device", "cpu")["finished"][stage]["seconds"] for _ in range(9)]
        yield f"start of {stage}, two rows", f"{statistics.median(runs) * 1e3:.1f} ms", "target 50 ms", f"{0.05 / statistics.median(runs):.2f}", "the stage's process, files included"
    if bench.quick:
        return
    with tempfile.TemporaryDirectory(dir=bench.options.build_folder) as target:
        environment = dict(os.environ, CARGO_TARGET_DIR=target)
        say("building from nothing …")
        seconds, _, _ = measured(["cargo", "build", "--release", "--manifest-path", ROOT / "Cargo.toml"], environment)
        built = (Path(target) / "release/pipe").stat().st_size
        yield "build from nothing", f"{seconds:.0f} s", "-", "-", f"downloads not counted; binary {mega(built)}"


ROWS = {"finetune": finetune, "reduced": reduced, "families": families, "whole": whole, "predict": predict, "tokenize": tokenize, "growth": growth, "start": start}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipe", default=str(ROOT / "target/release/pipe"))
    parser.add_argument("--python", default=sys.executable, help="the Python that has the peers installed")
    parser.add_argument("--peer", type=Path, required=True, help="the script that fine-tunes with transformers")
    parser.add_argument("--data", type=Path, required=True, help="a folder with train.jsonl and test.jsonl")
    parser.add_argument("--tweets", type=Path, required=True, help="plain tweets, one a line")
    parser.add_argument("--model", default=str(Path.home() / ".cache/pipe-models/all-MiniLM-L6-v2"))
    parser.add_argument("--rows", default=",".join(ROWS), help="only these rows, separated by commas")
    parser.add_argument("--quick", action="store_true", help="less work: under five minutes in all")
    parser.add_argument("--rounds", type=int, help="how often each side runs; default: 3 or so, once with `--quick`")
    parser.add_argument("--build-folder", help="where to build from scratch")
    parser.add_argument("--out", help="also write the tables to this file")
    options = parser.parse_args()
    options.pipe = str(Path(options.pipe).resolve())
    rows = options.rows.split(",")
    if unknown := [row for row in rows if row not in ROWS]:
        sys.exit(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    for needed in (options.pipe, options.peer, options.data, options.tweets, options.model):
        if not Path(needed).exists():
            sys.exit(f"skipped: {needed} is not there")
    with tempfile.TemporaryDirectory(prefix="pipe-speed-") as scratch:
        bench = Bench(options, scratch)
        bench.versions = bench.peer("versions")
        lines = [header(bench), "", "| what | pipe | peer | ratio | the same work |", "|---|---|---|---|---|"]
        print("\n".join(lines), flush=True)
        for row in rows:
            began = time.perf_counter()
            for cells in ROWS[row](bench):
                lines.append(f"| {' | '.join(cells)} |")
                print(lines[-1], flush=True)
            say(f"{row}: {time.perf_counter() - began:.0f} s")
    if options.out:
        Path(options.out).write_text("\n".join(lines) + "\n")


def header(bench):
    models = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=False).stdout.split()[1:2]
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    versions = [f"{name} {value}" for name, value in bench.versions.items() if name in ("torch", "transformers", "tokenizers", "onnxruntime")]
    form = "quick form" if bench.quick else "full form"
    return (f"{datetime.date.today()}, {form}, {len(models)} cores of {models[0] if models else platform.machine()}, {memory:.0f} GiB, "
            f"load {os.getloadavg()[0]:.1f}; commit {commit.stdout.strip()}, rustc {''.join(rustc)}, {', '.join(versions)}.")


if __name__ == "__main__":
    main()
