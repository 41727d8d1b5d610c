#!/usr/bin/env python3
"""How many runs `pipe sweep --race` saves against the whole grid, and how often it keeps the best.

    benches/race.py --pipe target/release/pipe --data DIR [--rows 2500] [--races 200] [--keep FOLDER]

DIR holds train.jsonl of FigLang 2020. The sweep is the one of the record in small, on some of the rows: epochs, learning rates, sizes, context and
n-grams of `baseline`, on five folds with three seeds each. The whole grid runs once and fills the cache. Each
race then has other seeds (two of the three) and another order of folds and seeds, and finds all its predictions in the cache.
"""

import argparse
import itertools
import json
import random
import statistics
import subprocess
import tempfile
from pathlib import Path

# The configurations of both sweeps.
CLOSE = """\
      - {baseline.epochs: 2}
      - {baseline.epochs: 5}
      - {baseline.epochs: 10}
      - {baseline.epochs: 20}
      - {baseline.epochs: 5, baseline.learning_rate: 1.0}
      - {baseline.epochs: 10, baseline.learning_rate: 1.0}
      - {baseline.epochs: 10, baseline.learning_rate: 0.25}
      - {baseline.epochs: 20, baseline.learning_rate: 0.25}
      - {baseline.epochs: 10, baseline.learning_rate: 0.01}
      - {baseline.dimension: 10}
      - {baseline.dimension: 100}
      - {baseline.context: 1}
      - {baseline.word_ngrams: 1}
      - {baseline.char_ngrams: 0}
"""

PIPELINE = """
vars: {seed: 1, fold: 0}
stages:
  ingest:
    inputs: {train: train.jsonl}
    params: {labels: [NOT_SARCASM, SARCASM], remove: ["@USER"]}
  split:
    inputs: {examples: ingest:train}
    params: {folds: 5, fold: "${fold}", seed: 1}
  baseline:
    inputs: {train: split:train, valid: split:valid}
    params: {kind: embedding, seed: "${seed}", positive: SARCASM}
  score:
    inputs: {valid: baseline:valid}
    params: {positive: SARCASM, bootstrap: 0}
sweeps:
  record:
    metric: score.valid_f1
    base: {baseline.epochs: 10}
    runs:
""" + CLOSE + """\
      - {baseline.kind: ngram}
      - {baseline.kind: ngram, baseline.c: 10.0}
  # Without the n-gram model, which is clearly the best.
  close:
    metric: score.valid_f1
    base: {baseline.epochs: 10}
    runs:
""" + CLOSE


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipe", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=2500)
    parser.add_argument("--races", type=int, default=200)
    parser.add_argument("--margins", default="0.005,0.02")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    rows = (options.data / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "train.jsonl").write_text("".join(random.Random(0).sample(rows, options.rows)), encoding="utf-8")
    (folder / "pipeline.yaml").write_text(PIPELINE)

    def pipe(sweep, folds, seeds, *further):
        axes = [f"{key}={','.join(map(str, values))}" for key, values in (("fold", folds), ("seed", seeds))]
        call = [options.pipe.resolve(), "sweep", sweep, *axes, "--json", *further]
        lines = subprocess.run(call, cwd=folder, check=True, capture_output=True, text=True).stdout
        return [json.loads(line) for line in lines.splitlines()]

    for sweep in ("record", "close"):
        race(sweep, pipe, options)


def race(sweep, pipe, options):
    folds, seeds, metric = range(5), (1, 2, 3), "score.valid_f1"
    name = lambda values: json.dumps({k: v for k, v in values.items() if k not in ("fold", "seed")}, sort_keys=True)
    scores, seconds = {}, {}
    for line in pipe(sweep, folds, seeds):
        if line["event"] == "combination":
            meeting = line["values"]["fold"], line["values"]["seed"]
            scores.setdefault(name(line["values"]), {})[meeting] = line["metrics"][metric]
            seconds.setdefault(name(line["values"]), {})[meeting] = line["seconds"]
    mean = lambda of, meetings: statistics.mean(of[meeting] for meeting in meetings)
    everywhere = list(itertools.product(folds, seeds))
    truth = {it: mean(of, everywhere) for it, of in scores.items()}
    best = max(truth.values())
    print(f"{sweep}: {len(scores)} configurations, F1 over all {len(everywhere)} meetings (seconds a run):")
    for it in sorted(truth, key=truth.get, reverse=True):
        print(f"  {truth[it]:.4f}  {mean(seconds[it], everywhere):5.2f}  {it}")

    for margin in options.margins.split(","):
        rows = []
        for number in range(options.races):
            chance = random.Random(number)
            own_folds, own_seeds = chance.sample(list(folds), 5), chance.sample(seeds, 2)
            end = pipe(sweep, own_folds, own_seeds, "--over", "fold", "--over", "seed", "--race", "--margin", margin)[-1]
            meetings = list(itertools.product(own_folds, own_seeds))
            of_grid = max(scores, key=lambda it: mean(scores[it], meetings))
            racing = [name(it["values"]) for it in end["standings"] if it["standing"] in ("leads", "racing")]
            named = name(end["named"])
            time = sum(it["seconds"] * it["meetings"] for it in end["standings"])
            rows.append({
                "saved": 1 - end["runs"] / end["runs_of_all"],
                "time": 1 - time / sum(mean(seconds[it], meetings) * len(meetings) for it in scores),
                "grid_kept": of_grid in racing,
                "best_kept": max(truth, key=truth.get) in racing,
                "loss": best - truth[named],
                "loss_grid": best - truth[of_grid],
                "cost": mean(seconds[named], meetings) / mean(seconds[of_grid], meetings),
                "left": len(racing),
                "ending": end["ending"],
            })
        share = lambda key: 100 * statistics.mean(row[key] for row in rows)
        within = 100 * statistics.mean(row["loss"] <= float(margin) for row in rows)
        print(f"margin {margin}, {len(rows)} races:")
        print(f"  runs saved {share('saved'):.1f} %, seconds saved {share('time'):.1f} %")
        print(f"  the grid's best is still in the race: {share('grid_kept'):.1f} %; the best over all meetings: {share('best_kept'):.1f} %")
        print(f"  named is within the margin of the best: {within:.1f} %; mean loss {share('loss'):.2f} points, of the grid's choice {share('loss_grid'):.2f}")
        print(f"  a run of the named takes {statistics.mean(row['cost'] for row in rows):.2f} times that of the grid's choice")
        print(f"  configurations left {statistics.mean(row['left'] for row in rows):.1f}; endings",
              {it: sum(row["ending"] == it for row in rows) for it in {row["ending"] for row in rows}})


if __name__ == "__main__":
    main()
