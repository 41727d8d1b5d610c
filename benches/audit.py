#!/usr/bin/env python3
"""How well `audit` finds wrong labels: on the data as they are, compared with cleanlab, and on copies in
which 5 % of the labels were exchanged.

    benches/audit.py --pipe target/release/pipe --data DIR [--model MODEL] [--seeds 1,2,3]

DIR holds train.jsonl (`label`, `response`, `context`), with two labels. Needs cleanlab.
"""

import argparse
import json
import random
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from cleanlab.filter import find_label_issues


def read(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def audit(pipe, rows, model, keep=None):
    """Runs `pipe init --audit` and the audit. Returns its issues, its report, and the predictions."""
    folder = Path(keep or tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--model", str(Path(model).resolve())] if model else []
    call = lambda *args: subprocess.run([pipe, "-C", folder, *args], check=True, capture_output=True, text=True)
    call("init", "--audit", "--data", "train.jsonl", "--id", "id", *options)
    began = time.time()
    call("run", "audit")
    seconds = time.time() - began
    predictor = "fold_predict" if model else "fold_baseline"
    predictions = {}
    for fold in range(5):
        text = call("show", "--json", "--rows", "100000", f"{predictor}@{fold}:valid").stdout
        for row in json.loads(text)["first"]:
            predictions[row["id"]] = row
    report = json.loads(call("show", "--json", "audit:report").stdout)["value"]
    return read(folder / "audit/issues.jsonl"), report, predictions, seconds


def flip(rows, share, seed):
    labels = sorted({row["label"] for row in rows})
    chosen = set(random.Random(seed).sample(range(len(rows)), round(share * len(rows))))
    out = []
    for place, row in enumerate(rows):
        other = labels[1 - labels.index(row["label"])]
        out.append(dict(row, label=other) if place in chosen else row)
    return out, {rows[place]["id"] for place in chosen}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pipe", required=True, type=Path)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--model")
    parser.add_argument("--seeds", default="1,2,3")
    args = parser.parse_args()
    pipe = args.pipe.resolve()
    rows = [dict(row, id=f"row_{place}") for place, row in enumerate(read(args.data / "train.jsonl"))]
    issues, report, predictions, seconds = audit(pipe, rows, args.model)
    suspicious = [issue["id"] for issue in issues if "label" in issue["problems"]]
    print(f"as it is: {len(suspicious)} suspicious, noise {report['labels']['noise']:.3f}, "
          f"accuracy {report['labels']['accuracy']:.3f}, {seconds:.0f} s")
    names = sorted({row["label"] for row in rows})
    given = np.array([names.index(row["label"]) for row in rows])
    probabilities = np.array([[predictions[row["id"]]["probabilities"][name] for name in names] for row in rows])
    theirs = find_label_issues(given, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    theirs = [rows[place]["id"] for place in theirs]
    print("cleanlab:", len(theirs), "the same rows:", set(theirs) == set(suspicious), "in the same order:",
          theirs == suspicious)
    for seed in map(int, filter(None, args.seeds.split(","))):
        flipped, wrong = flip(rows, 0.05, seed)
        issues, report, _, _ = audit(pipe, flipped, args.model)
        ranked = [issue["id"] for issue in issues if "label" in issue["problems"]]
        for most in (50, 100, 250, len(ranked)):
            hits = len(wrong & set(ranked[:most]))
            print(f"seed {seed}: of the first {most}: {hits} exchanged; precision {hits / most:.3f}, "
                  f"recall {hits / len(wrong):.3f}")


main()
