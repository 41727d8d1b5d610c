#!/usr/bin/env python3
"""Compares the losses of `finetune`, epoch by epoch, of two runs of the same pipeline.

    compare_losses.py FOLDER FOLDER [--within 1e-5]

Each folder has the events of `pipe run --json` in `events.jsonl`, and its `answer.txt`. Fails if two losses are further
apart than `--within`.
"""

import argparse
import json
import sys
from pathlib import Path


def epochs(folder):
    """The name of the device, and the losses of each epoch."""
    with open(folder / "events.jsonl") as lines:
        events = [json.loads(line) for line in lines]
    said = [event["said"] for event in events if event.get("stage") == "finetune" and "said" in event]
    device = next((event["name"] for event in said if event["event"] == "device"), "no device")
    metrics = [event for event in said if event["event"] == "metrics" and event.get("step") is not None]
    return device, [{name: value for name, value in event["values"].items() if "loss" in name} for event in metrics]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs=2)
    parser.add_argument("--within", type=float, default=1e-5)
    options = parser.parse_args()
    (first, here), (second, there) = map(epochs, options.folders)
    print(f"losses by epoch on {first} and on {second}")
    if not here or not here[0] or [list(epoch) for epoch in here] != [list(epoch) for epoch in there]:
        sys.exit(f"not the same losses: {here} and {there}")
    apart = []
    for number, (one, two) in enumerate(zip(here, there), 1):
        for name in one:
            apart.append(abs(one[name] - two[name]))
            print(f"{number:3} {name:12} {one[name]:.9f} {two[name]:.9f}  apart by {apart[-1]:.1e}")
    answers = [(folder / "answer.txt").read_text() for folder in options.folders]
    print(f"at most {max(apart):.1e} apart; answer.txt is {'the same' if answers[0] == answers[1] else 'different'}")
    # No comparison with NaN holds.
    if not all(distance <= options.within for distance in apart):
        sys.exit(f"more than {options.within:g} apart")


main()
