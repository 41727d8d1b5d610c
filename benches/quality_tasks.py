#!/usr/bin/env python3
"""Several labels a text: `pipe` and a transformers script with one recipe, on a set that is made from tweets.

    python3 -m venv venv && venv/bin/pip install torch transformers scikit-learn
    cargo build --release
    venv/bin/python benches/quality_tasks.py --model DIR --tweets tweets.txt [--pipe FILE] [--seeds 1,2,3]

The labels of a tweet are those of the twelve most frequent hashtags that it holds; they are removed from its text. Of the
rows 45 % have one of them, 45 % several, and 10 % none. 3,000 rows are to train with, 1,000 to test with. Recipe: 4 epochs, batch 32, AdamW with a
learning rate of 1e-4 that falls linearly to 0, gradient norm 1, thresholds of 0.5. Prints a table in Markdown: figures by scikit-learn.
"""
import argparse
import collections
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import accuracy_score, average_precision_score, f1_score
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup

ROOT = Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--pipe", default=str(ROOT / "target/release/pipe"))
parser.add_argument("--model", type=Path, required=True)
parser.add_argument("--tweets", type=Path, required=True, help="a tweet a line")
parser.add_argument("--seeds", default="1,2,3")
parser.add_argument("--epochs", type=int, default=4)
options = parser.parse_args()
HASHTAG = re.compile(r"#[A-Za-z]\w+")


def rows():
    texts = list(dict.fromkeys(options.tweets.read_text(encoding="utf-8").splitlines()))
    tags = lambda text: {tag.lower() for tag in HASHTAG.findall(text)}
    count = collections.Counter(tag for text in texts for tag in tags(text))
    labels = sorted(tag for tag, _ in count.most_common(12))
    known, groups = set(), ([], [], [])
    for text in texts:
        stripped = " ".join(HASHTAG.sub(lambda it: "" if it[0].lower() in labels else it[0], text).split())
        if len(stripped) < 20 or stripped in known:
            continue
        known.add(stripped)
        held = sorted(tags(text) & set(labels))
        groups[min(len(held), 2)].append({"text": stripped, "labels": held})
    shuffle = random.Random(7)
    for group in groups:
        shuffle.shuffle(group)
    found = groups[0][:400] + groups[1][:1800] + groups[2][:1800]
    shuffle.shuffle(found)
    return [row | {"id": f"t{index}"} for index, row in enumerate(found)], labels


def matrix(sets, labels):
    return np.array([[label in held for label in labels] for held in sets], dtype=int)


def figures(gold, chance):
    guess = (chance > 0.5).astype(int)
    return {"micro F1": f1_score(gold, guess, average="micro"), "macro F1": f1_score(gold, guess, average="macro"),
            "subset accuracy": accuracy_score(gold, guess), "mean AP": average_precision_score(gold, chance)}


def by_pipe(train, test, labels, seed, scratch):
    for name, part in (("train", train), ("test", test)):
        (scratch / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    ingest = {"text_field": "text", "label_field": "labels", "task": "multi"}
    recipe = {"epochs": options.epochs, "batch_size": 32, "learning_rate": 1e-4, "seed": seed}
    stages = {
        "ingest": {"inputs": {"train": "train.jsonl", "test": "test.jsonl"}, "params": ingest},
        "tokenize": {"inputs": {"train": "ingest:train", "test": "ingest:test", "model": str(options.model)},
                     "params": {"max_length": 128}},
        "finetune": {"inputs": {"train": "tokenize:train", "model": str(options.model)}, "params": recipe},
        "predict": {"inputs": {"test": "tokenize:test", "model": "finetune:model"}, "publish": {"predictions": "rows.jsonl"}},
    }
    (scratch / "pipeline.yaml").write_text(json.dumps({"stages": stages}))
    done = subprocess.run([Path(options.pipe).resolve(), "run", "-C", scratch], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr[-2000:])
    found = [json.loads(line) for line in open(scratch / "rows.jsonl", encoding="utf-8")]
    return np.array([[row["probabilities"][label] for label in labels] for row in found])


def by_transformers(train, test, labels, seed):
    random.seed(seed), torch.manual_seed(seed)
    encode = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForSequenceClassification.from_pretrained(
        options.model, num_labels=len(labels), problem_type="multi_label_classification")
    ids = {id(part): encode([row["text"] for row in part], truncation=True, max_length=128)["input_ids"] for part in (train, test)}
    gold = torch.tensor(matrix([row["labels"] for row in train], labels), dtype=torch.float)

    def batch(part, index):
        return encode.pad({"input_ids": [ids[id(part)][row] for row in index]}, return_tensors="pt")

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, eps=1e-8, weight_decay=0.0)
    steps = -(-len(train) // 32)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, steps * options.epochs)
    for _ in range(options.epochs):
        model.train()
        order = list(range(len(train)))
        random.shuffle(order)
        order = [row for start in range(0, len(order), 1600)
                 for row in sorted(order[start:start + 1600], key=lambda row: len(ids[id(train)][row]))]
        batches = [order[start:start + 32] for start in range(0, len(order), 32)]
        random.shuffle(batches)
        for index in batches:
            model(**batch(train, index), labels=gold[index]).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step(), schedule.step(), optimizer.zero_grad()
    model.eval()
    with torch.no_grad():
        return torch.cat([model(**batch(test, range(start, min(start + 32, len(test))))).logits.sigmoid()
                          for start in range(0, len(test), 32)]).numpy()


def main():
    found, labels = rows()
    train, test = found[:3000], found[3000:]
    gold = matrix([row["labels"] for row in test], labels)
    print(f"labels a text: {matrix([row['labels'] for row in found], labels).sum(1).mean():.2f}", file=sys.stderr)
    sides = {"pipe": [], "transformers": []}
    seconds = dict.fromkeys(sides, 0.0)
    for seed in map(int, options.seeds.split(",")):
        for name in sides:
            started = time.time()
            with tempfile.TemporaryDirectory(prefix="pipe-quality-") as scratch:
                chance = by_pipe(train, test, labels, seed, Path(scratch)) if name == "pipe" else by_transformers(
                    train, test, labels, seed)
            seconds[name] += time.time() - started
            sides[name].append(figures(gold, chance))
            print(name, seed, sides[name][-1], file=sys.stderr, flush=True)
    names = list(sides["pipe"][0])
    print("| | n | " + " | ".join(names) + " | seconds |\n|---|---|" + "---|" * (len(names) + 1))
    for name, runs in sides.items():
        cells = [[100 * run[figure] for run in runs] for figure in names]
        text = [f"{statistics.mean(it):.1f}" + (f" ± {statistics.stdev(it):.1f}" if len(it) > 1 else "") for it in cells]
        print(f"| {name} | {len(runs)} | " + " | ".join(text) + f" | {seconds[name]:.0f} |")


main()
