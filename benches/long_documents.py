#!/usr/bin/env python3
"""Compares `pipe` with windows, `pipe` that cuts, and transformers with the same windows, on long documents.

    benches/long_documents.py --pipe target/release/pipe --python venv/bin/python --model DIR --data DIR [--seeds 1,2]

DIR of `--data` holds train.jsonl and test.jsonl of the shared task (`response`, `context`). A document is six tweets in
random order: one has a word about politics or one about sport, which is the label, and the others have none. `--python` needs
torch and transformers. The peer trains on batches of documents, each window with the weight 1/n, and takes the mean of
the logits.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

POLITICS = set("trump president obama vote democrats republicans gop election senate congress potus liberals".split())
SPORT = set("game team football season coach players nfl fans match soccer basketball cup".split())
LENGTH, STRIDE, EPOCHS, BATCH, RATE, TWEETS = 96, 16, 3, 8, 1e-4, 6


def documents(data, counts):
    """Lists of documents of these sizes, no tweet in two of them."""
    tweets = set()
    for name in ("train.jsonl", "test.jsonl"):
        for line in open(data / name, encoding="utf-8"):
            row = json.loads(line)
            tweets.update([row["response"], *row["context"]])
    words = lambda tweet: set(re.findall("[a-z]+", tweet.lower()))
    kinds = {"politics": [], "sport": [], "": []}
    for tweet in sorted(tweets):
        about = [bool(words(tweet) & POLITICS), bool(words(tweet) & SPORT)]
        if about != [True, True]:
            kinds["politics" if about[0] else "sport" if about[1] else ""].append(tweet)
    r = random.Random(1)
    for kind in kinds.values():
        r.shuffle(kind)
    parts = []
    for part, count in enumerate(counts):
        rows = []
        for n in range(count):
            label = ["politics", "sport"][n % 2]
            tweets = [kinds[label].pop()] + [kinds[""].pop() for _ in range(TWEETS - 1)]
            r.shuffle(tweets)
            rows.append({"id": f"{part}_{n}", "label": label, "text": " ".join(tweets)})
        parts.append(rows)
    return parts


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def ours(options, folder, seed, stride):
    """The accuracy of `pipe` on the test documents, and its seconds."""
    params = {"max_length": LENGTH, **({"window_stride": stride} if stride is not None else {})}
    model = str(options.model)
    stages = {
        "ingest": {"inputs": {"train": "train.jsonl", "test": "test.jsonl"}, "params": {"text_field": "text"}},
        "tokenize": {"inputs": {"train": "ingest:train", "test": "ingest:test", "model": model}, "params": params},
        "finetune": {"inputs": {"train": "tokenize:train", "model": model},
                     "params": {"epochs": EPOCHS, "batch_size": BATCH, "learning_rate": RATE, "seed": seed}},
        "predict": {"inputs": {"test": "tokenize:test", "model": "finetune:model"}},
    }
    (folder / "pipeline.yaml").write_text(json.dumps({"stages": stages}))
    began = time.time()
    run = lambda *args: subprocess.run([options.pipe, "-C", folder, *args], check=True, capture_output=True, text=True)
    run("run", "--device", "cpu")
    seconds = time.time() - began
    rows = [json.loads(line) for line in run("cache", "cat", "predict:predictions").stdout.splitlines()]
    return sum(row["label"] == row["gold"] for row in rows) / len(rows), seconds


def peer(options):
    """The same with transformers; prints the accuracy."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup

    folder, seed = Path(options.peer), int(options.seeds)
    torch.manual_seed(seed)
    labels = ["politics", "sport"]
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForSequenceClassification.from_pretrained(options.model, num_labels=2)
    read = lambda name: [json.loads(line) for line in open(folder / name, encoding="utf-8")]

    def windows(rows):
        found = tokenizer([row["text"] for row in rows], truncation=True, max_length=LENGTH, stride=STRIDE,
                          return_overflowing_tokens=True, padding=True, return_tensors="pt")
        return found, found.pop("overflow_to_sample_mapping")

    train, test = read("train.jsonl"), read("test.jsonl")
    decayed = [p for n, p in model.named_parameters()]
    optimizer = torch.optim.AdamW(decayed, lr=RATE, weight_decay=0.0)
    steps = EPOCHS * -(-len(train) // BATCH)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, steps)
    model.train()
    for epoch in range(EPOCHS):
        order = torch.randperm(len(train)).tolist()
        for start in range(0, len(order), BATCH):
            rows = [train[n] for n in order[start:start + BATCH]]
            batch, document = windows(rows)
            gold = torch.tensor([labels.index(row["label"]) for row in rows])[document]
            weights = 1 / torch.bincount(document)[document]
            losses = torch.nn.functional.cross_entropy(model(**batch).logits, gold, reduction="none")
            ((losses * weights).sum() / len(rows)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step(), schedule.step(), optimizer.zero_grad()
    model.eval()
    right = 0
    with torch.no_grad():
        for start in range(0, len(test), 16):
            rows = test[start:start + 16]
            batch, document = windows(rows)
            sums = torch.zeros(len(rows), 2).index_add(0, document, model(**batch).logits)
            right += sum(labels[k] == row["label"] for k, row in zip(sums.argmax(1).tolist(), rows))
    print(right / len(test))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipe", type=lambda it: Path(it).resolve())
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--model", required=True, type=lambda it: Path(it).resolve())
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--train", type=int, default=160)
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return peer(options)
    with tempfile.TemporaryDirectory(prefix="pipe-documents-") as folder:
        folder = Path(folder)
        train, test = documents(options.data, [options.train, options.test])
        write(folder / "train.jsonl", train), write(folder / "test.jsonl", test)
        for seed in options.seeds.split(","):
            for name, stride in [("windows", STRIDE), ("cut", None)]:
                accuracy, seconds = ours(options, folder, int(seed), stride)
                print(f"seed {seed}: pipe, {name}: {100 * accuracy:.1f} in {seconds:.0f} s", flush=True)
            began = time.time()
            command = [options.python, __file__, "--peer", folder, "--model", options.model, "--seeds", seed]
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
            print(f"seed {seed}: transformers, windows: {100 * float(done.stdout):.1f} in {time.time() - began:.0f} s", flush=True)


main()
