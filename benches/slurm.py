#!/usr/bin/env python3
"""Measures what Slurm as an executor costs: the engine beside 1,000 jobs, and chains of trivial stages.

    cargo build --release --no-default-features
    python3 benches/slurm.py --pipe target/release/pipe [--jobs 1000] [--chain]

The first part needs no Slurm: `sbatch`, `squeue` and `scancel` are stubs that count their calls, and
a few workers run the submitted jobs. It runs 1,000 separate stages (one `sbatch` each), then 1,000
variants of one stage (arrays), and prints calls, calls a second, and the engine's memory and CPU time.

`--chain` needs a real Slurm (`scripts/slurm_here.sh start DIR; source DIR/env.sh`). It runs three stages, each
reading from the one before, as batch jobs, as steps of an allocation, with `--submit`, and with plain
`sbatch --dependency`, and prints the wall time of each over `--rounds` rounds.
"""

import argparse
import os
import queue
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

SBATCH = """#!/bin/sh
echo sbatch >> "$STUB/calls"
n=$(mktemp "$STUB/in/XXXXXXXXXX"); id=$(printf '%d' "0x$(basename "$n" | cksum | cut -c1-6)")
name=- array=-
for option; do case "$option" in
--job-name=*) name=${option#*=} ;;
--array=*) array=${option#*=} ;;
esac; done
script=$(cat)
printf '%s\\n%s\\n%s\\n%s' "$id" "$name" "$array" "$script" > "$n"
mv "$n" "$STUB/ready/"
echo "$id"
"""
SQUEUE = """#!/bin/sh
echo squeue >> "$STUB/calls"
cat "$STUB/rows"
"""
SCANCEL = """#!/bin/sh
echo scancel >> "$STUB/calls"
"""


class Stub:
    """Runs submitted jobs, and keeps the rows that `squeue` prints."""

    def __init__(self, folder, workers):
        self.folder, self.rows, self.lock = folder, {}, threading.Lock()
        for name in ["in", "ready", "bin"]:
            (folder / name).mkdir()
        (folder / "calls").touch()
        (folder / "rows").touch()
        for name, text in [("sbatch", SBATCH), ("squeue", SQUEUE), ("scancel", SCANCEL)]:
            file = folder / "bin" / name
            file.write_text(text)
            file.chmod(0o755)
        self.queue, self.over = queue.Queue(), False
        threading.Thread(target=self.watch, daemon=True).start()
        for _ in range(workers):
            threading.Thread(target=self.work, daemon=True).start()

    def watch(self):
        while not self.over:
            for file in list((self.folder / "ready").iterdir()):
                job, name, array, script = file.read_text().split("\n", 3)
                file.unlink()
                last = -1 if array == "-" else int(array.split("%")[0].split("-")[1])
                for index in range(last + 1) if last >= 0 else ["N/A"]:
                    self.say(job, index, name, "PENDING")
                    self.queue.put((job, index, name, script))
            with self.lock:
                text = "".join(self.rows.values())
            partial = self.folder / "rows.partial"
            partial.write_text(text)
            partial.rename(self.folder / "rows")
            time.sleep(0.2)

    def say(self, job, index, name, state):
        columns = [(job, 20), (index, 20), (state, 24), ("0", 16), (name, 120), ("n1", 80), ("None", 80)]
        with self.lock:
            self.rows[job, index] = "".join(f"{text!s:<{width}}" for text, width in columns) + "\n"

    def work(self):
        while True:
            job, index, name, script = self.queue.get()
            self.say(job, index, name, "RUNNING")
            environment = dict(os.environ, SLURM_JOB_ID=job)
            if index != "N/A":
                environment.update(SLURM_ARRAY_JOB_ID=job, SLURM_ARRAY_TASK_ID=str(index))
            subprocess.run(["sh", "-c", script], env=environment, stdout=subprocess.DEVNULL, check=False)
            self.say(job, index, name, "COMPLETED")


def run_many(pipe, jobs, arrays, seconds):
    with tempfile.TemporaryDirectory(prefix="slurm-bench-") as name:
        folder = Path(name)
        (folder / "stub").mkdir()
        stub = Stub(folder / "stub", workers=4)
        command = f'sleep {seconds}; echo 1 > "$OUT_y"'
        if arrays:
            text = f"stages:\n  many:\n    foreach: {list(range(jobs))}\n    run: '{command} # ${{item}}'\n    outputs: [y]\n"
        else:
            text = "stages:\n" + "".join(
                f"  s{index}: {{run: '{command} # {index}', outputs: [y]}}\n" for index in range(jobs)
            )
        (folder / "pipeline.yaml").write_text(text)
        environment = dict(os.environ, STUB=str(folder / "stub"))
        environment["PATH"] = f"{folder / 'stub' / 'bin'}:{environment['PATH']}"
        began = time.monotonic()
        engine = subprocess.Popen(
            [pipe, "run", "-q", "--executor", "sbatch"], cwd=folder, env=environment
        )
        _, status, usage = os.wait4(engine.pid, 0)
        took = time.monotonic() - began
        stub.over = True
        assert status == 0, status
        calls = (folder / "stub" / "calls").read_text().split()
        kinds = {kind: calls.count(kind) for kind in ["sbatch", "squeue", "scancel"]}
        print(
            f"| {jobs} {'variants of one' if arrays else 'stages'} | {took:.1f} s "
            f"| {kinds['sbatch']} ({kinds['sbatch'] / took:.1f}/s) "
            f"| {kinds['squeue']} ({kinds['squeue'] / took:.2f}/s) | {kinds['scancel']} "
            f"| {usage.ru_maxrss / 1024:.0f} MB | {usage.ru_utime + usage.ru_stime:.1f} s |"
        )


CHAIN = """stages:
  a: {run: 'cp "$IN_x" "$OUT_y"', inputs: {x: text.txt}, outputs: [y]}
  b: {run: 'cp "$IN_x" "$OUT_y"; echo b >> "$OUT_y"', inputs: {x: "a:y"}, outputs: [y]}
  c: {run: 'cp "$IN_x" "$OUT_y"; echo c >> "$OUT_y"', inputs: {x: "b:y"}, outputs: [y]}
"""


def plain(folder):
    """The same chain with `sbatch` alone; ends when the last job's file appears."""
    after = []
    for source, target in [("text.txt", "a"), ("a", "b"), ("b", "c")]:
        text = f"cd {folder} && cp {source} {target}.partial && mv {target}.partial {target}"
        command = ["sbatch", "--parsable", "--output=/dev/null", *after, "--wrap", text]
        job = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        after = [f"--dependency=afterok:{job}"]
    while not (folder / "c").exists():
        time.sleep(0.01)


def chain(pipe, rounds):
    def submitted(folder):
        subprocess.run([pipe, "run", "-q", "--submit"], cwd=folder, check=True, capture_output=True)
        while len(list((folder / "cache").glob("records/*/*.json"))) < 3:
            time.sleep(0.01)

    def told(*command):
        return lambda folder: subprocess.run(command, cwd=folder, check=True, capture_output=True)

    ways = {
        "plain `sbatch --dependency`": plain,
        "`--executor sbatch`": told(pipe, "run", "-q", "--executor", "sbatch"),
        "`--submit`": submitted,
        "`salloc` and `--executor slurm`": told(
            "salloc", "-Q", "-N1", pipe, "run", "-q", "--executor", "slurm"
        ),
    }
    for name, way in ways.items():
        took = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="slurm-bench-") as folder:
                folder = Path(folder)
                (folder / "pipeline.yaml").write_text(CHAIN)
                (folder / "text.txt").write_text("a line\n")
                began = time.monotonic()
                way(folder)
                took.append(time.monotonic() - began)
        print(f"| {name} | {statistics.median(took):.2f} s | {min(took):.2f} to {max(took):.2f} s |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pipe", default=shutil.which("pipe"))
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=0.0, help="how long each job sleeps")
    parser.add_argument("--chain", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    pipe = str(Path(options.pipe).resolve())
    if options.chain:
        chain(pipe, options.rounds)
        return
    for arrays in [False, True]:
        run_many(pipe, options.jobs, arrays, options.seconds)


if __name__ == "__main__":
    main()
