#!/usr/bin/env python3
"""Measures how well `pipe` classifies, compared with PyTorch and transformers and with other settings of its own.

    python3 benches/quality.py train  --model DIR --train train.jsonl --work DIR [--variants base,peer]
    python3 benches/quality.py report --train train.jsonl --work DIR

`train` divides the examples 9:1 in five ways, the same ways as the peer does for seeds 1 to 5. It
trains each variant on each division, with the division's number as the seed. It skips results that exist,
so you can stop it at any time and start it again. `report` prints the tables of QUALITY.md.

The peer is the script given as `--peer`; without one, the variant `peer` is skipped with a message. The
divisions and the peer need torch and scikit-learn (`--python`); the report needs only the standard library.
"""
import argparse
import json
import math
import random
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SEEDS = range(1, 6)
# What each variant changes in the recipe: responses only, 4 epochs, batch 32, learning rate 5e-5.
VARIANTS = {
    "base": [],
    "context-1": ["tokenize.context=1"],
    "context-3": ["tokenize.context=3"],
    "mean": ["finetune.pooling=mean"],
    "r-drop": ["finetune.r_drop=1"],
    "layer-decay": ["finetune.layer_decay=0.8"],
    # The bundled encoder, and the same shape from random weights, each with the learning rate that was
    # best on the first division; and `--model` after more pretraining on tweets (`--adapted`).
    "bundled": ["model=models/tweet-encoder", "finetune.learning_rate=1e-4"],
    "random": ["model=models/tweet-encoder", "finetune.init=random", "finetune.learning_rate=2e-4"],
    "adapted": ["model=ADAPTED"],
}
PIPELINE = """
vars: {{seed: 1, model: {model}, labels: [NOT_SARCASM, SARCASM]}}
stages:
  ingest:
    inputs: {{train: {train}, test: {valid}}}
    params: {{labels: "${{labels}}", remove: ["@USER"]}}
  tokenize:
    inputs: {{train: ingest:train, valid: ingest:test, model: "${{model}}"}}
    params: {{labels: "${{labels}}", context: 0}}
  finetune:
    inputs: {{train: tokenize:train, valid: tokenize:valid, model: "${{model}}"}}
    params: {{epochs: 4, batch_size: 32, learning_rate: 5.0e-5, seed: "${{seed}}"}}
  predict:
    inputs: {{valid: tokenize:valid, model: finetune:model}}
"""


def read(path):
    return [json.loads(line) for line in open(path, encoding="utf-8") if line.strip()]


# Training


def divide(options):
    code = """
import sys, torch
lines = [line for line in open(sys.argv[1], encoding="utf-8") if line.strip()]
for seed in range(1, 6):
    order = torch.randperm(len(lines), generator=torch.Generator().manual_seed(seed)).tolist()
    cut = int(0.9 * len(lines))
    for name, part in (("train", order[:cut]), ("valid", order[cut:])):
        open(f"{sys.argv[2]}/{name}-{seed}.jsonl", "w", encoding="utf-8").writelines(lines[i] for i in part)
"""
    if not (options.work / "valid-5.jsonl").exists():
        subprocess.run([options.python, "-c", code, options.train, options.work], check=True)


def ours(options, seed, division, settings):
    project = options.work / f"project-{division}"
    project.mkdir(exist_ok=True)
    part = lambda name: json.dumps(str(options.work / f"{name}-{division}.jsonl"))
    (project / "pipeline.yaml").write_text(PIPELINE.format(
        train=part("train"), valid=part("valid"), model=json.dumps(options.model)))
    at = ["-C", project, "--cache", options.work / "cache"]
    places = {"model=models/tweet-encoder": f"model={ROOT / 'models/tweet-encoder'}", "model=ADAPTED": f"model={options.adapted}"}
    settings = [f"seed={seed}", *(places.get(setting, setting) for setting in settings)]
    arguments = [word for setting in settings for word in ("--set", setting)]
    subprocess.run([options.pipe, "run", *at, *arguments], check=True)
    cat = [options.pipe, "cache", "cat", "predict:valid", *at, *arguments]
    return subprocess.run(cat, check=True, capture_output=True, text=True).stdout


def peer(options, seed):
    rows = read(options.work / f"valid-{seed}.jsonl")
    test, answer = options.work / "peer-test.jsonl", options.work / "peer-answer.txt"
    test.write_text("".join(json.dumps(dict(row, id=f"test_{i}")) + "\n" for i, row in enumerate(rows, 1)))
    subprocess.run([options.python, options.peer, "--model", options.model, "--train", options.train, "--test", test,
                    "--out", answer, "--lr", "5e-5", "--seed", str(seed)], check=True)
    given = [line.split(",") for line in answer.read_text().splitlines()]
    assert [it[0] for it in given] == [f"test_{i}" for i in range(1, len(rows) + 1)]
    found = (dict(id=it, label=label, gold=row["label"]) for (it, label), row in zip(given, rows))
    return "".join(json.dumps(row) + "\n" for row in found)


def train(options):
    (options.work / "results").mkdir(parents=True, exist_ok=True)
    divide(options)
    runs = []
    for name in options.variants:
        if name == "members":
            runs += [(name, seed, seed, 1) for seed in SEEDS if seed != 1]
        else:
            runs += [(name, division, division + 10 * (name == "again"), division) for division in SEEDS[: options.divisions]]
    for name, number, seed, division in runs:
        result = options.work / "results" / f"{name}-{number}.jsonl"
        if result.exists():
            continue
        if name == "peer" and not (options.peer and Path(options.peer).exists()):
            print("skipped the variant `peer`: --peer names no script")
            continue
        settings = VARIANTS.get(name, [])
        if name in options.also:
            settings = [f"model={Path(options.also[name]).resolve()}", "finetune.learning_rate=1e-4"]
        text = peer(options, seed) if name == "peer" else ours(options, seed, division, settings)
        result.write_text(text)


# The report


def f1(rows):
    hits = sum(gold and said for gold, said in rows)
    said, gold = sum(said for _, said in rows), sum(gold for gold, _ in rows)
    return 2 * hits / max(said + gold, 1)


def macro_f1(rows):
    """The mean of the two labels' F1."""
    return (f1(rows) + f1([(not gold, not said) for gold, said in rows])) / 2


def accuracy(rows):
    return sum(gold == said for gold, said in rows) / max(len(rows), 1)


def probability(row):
    return row["probabilities"]["SARCASM"]


def decided(rows, threshold=0.5):
    if "probabilities" not in rows[0]:
        return [(row["gold"] == "SARCASM", row["label"] == "SARCASM") for row in rows]
    return [(row["gold"] == "SARCASM", probability(row) > threshold) for row in rows]


def best_threshold(rows, metric):
    candidates = sorted({probability(row) for row in rows})
    return max([0.5, *candidates], key=lambda at: metric(decided(rows, at)))


def cross_fitted(rows, metric):
    """Decides each half of the rows by the threshold that is best on the other half."""
    halves = rows[::2], rows[1::2]
    thresholds = [best_threshold(half, metric) for half in halves]
    out = [None] * len(rows)
    out[::2], out[1::2] = decided(halves[0], thresholds[1]), decided(halves[1], thresholds[0])
    return out


def mcnemar(first, second):
    """The exact two-sided p by the binomial distribution, and how often each side alone is right."""
    only = [sum((g == a) > (g == b) for (g, a), (_, b) in zip(x, y)) for x, y in ((first, second), (second, first))]
    n, k = sum(only), min(only)
    p = min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n) if n else 1.0
    return only, p


def interval(first, second, metric, rounds=2000):
    """The 95 % interval of the paired bootstrap of second - first, resampled within each division and averaged."""
    draw, differences = random.Random(1), []
    for _ in range(rounds):
        means = []
        for a, b in zip(first, second):
            index = draw.choices(range(len(a)), k=len(a))
            means.append(metric([b[i] for i in index]) - metric([a[i] for i in index]))
        differences.append(statistics.fmean(means))
    differences.sort()
    return differences[int(0.025 * rounds)], differences[int(0.975 * rounds) - 1]


def without_relatives(options, seed):
    """The validation rows that share neither response nor opening turn with a training row."""
    clean = lambda text: text.replace("@USER", "").strip()
    keys = lambda row: {clean(row["response"]), *map(clean, row["context"][:1])}
    seen = set().union(*(keys(row) for row in read(options.work / f"train-{seed}.jsonl")))
    return [i for i, row in enumerate(read(options.work / f"valid-{seed}.jsonl")) if not keys(row) & seen]


def spread(values):
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.fmean(values):.1f} ± {100 * deviation:.1f}"


def table(title, runs, against):
    """Prints a table of `runs`: name to {seed: rows of (gold, predicted)}."""
    print(f"\n{title}\n")
    print(f"| | n | accuracy | F1 | macro F1 | accuracy − {against} | F1 − {against} | right alone | p |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, found in runs.items():
        metrics = (accuracy, f1, macro_f1)
        cells = [name, str(len(found)), *(spread([metric(it) for it in found.values()]) for metric in metrics)]
        seeds = [seed for seed in found if seed in runs[against]]
        if name != against and seeds:
            first, second = [runs[against][seed] for seed in seeds], [found[seed] for seed in seeds]
            for metric in (accuracy, f1):
                mean = statistics.fmean(metric(b) - metric(a) for a, b in zip(first, second))
                low, high = interval(first, second, metric)
                cells.append(f"{100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")
            only, p = mcnemar(sum(first, []), sum(second, []))
            cells += [f"{only[1]} : {only[0]}", f"{p:.2g}"]
        else:
            cells += ["", "", "", ""]
        print("| " + " | ".join(cells) + " |")


def averaged(members):
    out = []
    for rows in zip(*members):
        mean = statistics.fmean(probability(row) for row in rows)
        out.append(dict(rows[0], probabilities={"SARCASM": mean}))
    return out


def report(options):
    results = {}
    for path in sorted((options.work / "results").glob("*-*.jsonl")):
        name, _, seed = path.stem.rpartition("-")
        results.setdefault(name, {})[int(seed)] = read(path)
    members = [results.get("base", {}).get(1), *results.pop("members", {}).values()]
    runs = {name: {seed: decided(rows) for seed, rows in found.items()} for name, found in results.items()}
    against = options.against
    wanted = [name for name in sorted(runs) if not options.only or name in options.only]
    runs = {name: runs[name] for name in [against, *(name for name in wanted if name != against)]}
    for metric, name in ((accuracy, "accuracy"), (f1, "F1")) if not options.only else ():
        runs[f"base, threshold for {name}"] = {seed: cross_fitted(rows, metric) for seed, rows in results["base"].items()}
    table("All validation rows, five divisions of 500", runs, against)
    clean = {seed: without_relatives(options, seed) for seed in SEEDS}
    kept = {name: {seed: [rows[i] for i in clean[seed]] for seed, rows in found.items()} for name, found in runs.items()}
    sizes = ", ".join(str(len(rows)) for rows in clean.values())
    table(f"Only rows without a relative in the training part ({sizes})", kept, against)
    if len(members) > 1 and not options.only:
        singles = [decided(rows) for rows in members]
        ensemble = decided(averaged(members))
        print(f"\nDivision 1, {len(members)} seeds: single {spread([accuracy(it) for it in singles])} accuracy, "
              f"{spread([f1(it) for it in singles])} F1; ensemble {100 * accuracy(ensemble):.1f} and {100 * f1(ensemble):.1f}")
        for metric, name in ((accuracy, "accuracy"), (f1, "F1")):
            low, high = interval(singles, [ensemble] * len(singles), metric)
            mean = metric(ensemble) - statistics.fmean(metric(it) for it in singles)
            print(f"  ensemble − mean of the single ones, {name}: {100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("what", choices=["train", "report"])
parser.add_argument("--python", default=sys.executable)
parser.add_argument("--pipe", default=str(ROOT / "target/release/pipe"))
parser.add_argument("--peer", help="the script that fine-tunes with transformers")
parser.add_argument("--model")
parser.add_argument("--adapted", help="the model folder of the variant `adapted`")
parser.add_argument("--also", default={}, type=lambda text: dict(pair.split("=", 1) for pair in text.split(",")),
                    help="more variants, NAME=DIR,…: model folders to fine-tune in the same way as `bundled`")
parser.add_argument("--divisions", type=int, default=5, help="how many of the five divisions to train on")
parser.add_argument("--against", default="base", help="report: the variant that others are compared with")
parser.add_argument("--only", type=lambda text: text.split(","), help="report: only these rows")
parser.add_argument("--train", required=True, help="labelled examples, JSONL with label, response, context")
parser.add_argument("--work", required=True, type=Path)
parser.add_argument("--variants", default="base,peer,again,context-1,mean,members", type=lambda text: text.split(","),
                    help=f"of: {', '.join(VARIANTS)}, peer, again (as base, with other seeds), "
                         "members (as base, with other seeds on the first division)")
options = parser.parse_args()
options.work = options.work.resolve()
options.variants += [name for name in options.also if name not in options.variants]
report(options) if options.what == "report" else train(options)
