#!/usr/bin/env python3
"""Compares the engine with other build tools: projects of copy stages, and hashing.

    cargo build --release --no-default-features
    python3 benches/engine.py --pipe target/release/pipe [--quick] [--tools DIR]

The projects have 6, 100, 1,000 and 10,000 stages `cp input output`, arranged in columns: as many columns
as stages in a column. For `pipe`, `dvc`, `snakemake`, `make` and `ninja` the script measures the first
run, a run with nothing to do, and the equivalent of `status`. The tools take turns for several rounds, and
the medians are printed. `sh` runs the same commands through `xargs -P`, which shows what a tool adds to
them. Then one large file and many small ones are hashed, by `pipe run --dry-run --no-index`, which
reads every source, and by `b3sum`.

A tool that is neither on the path nor in `--tools DIR` is left out. A tool is also left out at sizes that would
take longer than `--limit` seconds, judging by its previous size.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

JOBS = str(os.cpu_count())


def stages(count):
    """The stages in an order in which they can run: (name, name of the stage it reads or None)."""
    columns = max(1, round(count**0.5))
    for index in range(count):
        yield f"s{index}", None if index < columns else f"s{index - columns}"


class Tool:
    """Writes a project for one tool and knows its commands. `times_only`: the tool compares times, not contents."""

    name = ""
    program = ""
    times_only = False
    largest = 10_000

    def write(self, folder, count):
        raise NotImplementedError

    def first(self):
        raise NotImplementedError

    def status(self):
        raise NotImplementedError

    def clean(self, folder):
        """Removes what the first run made, and nothing else."""
        shutil.rmtree(folder / "out", ignore_errors=True)
        (folder / "out").mkdir()

    def check(self, folder, count):
        last = folder / "out" / f"s{count - 1}"
        assert last.read_text() == "a line\n", f"{self.name} has not made {last}"


class Pipe(Tool):
    name = "pipe"

    def write(self, folder, count):
        lines = ["stages:"]
        for name, reads in stages(count):
            source = f"{reads}:y" if reads else "source.txt"
            lines.append(f"  {name}:")
            lines.append('    run: cp "$IN_x" "$OUT_y"')
            lines.append(f"    inputs: {{x: {source}}}")
            # Copies of one file would have the same key, and would run once.
            lines.append(f"    params: {{name: {name}}}")
            lines.append("    outputs: [y]")
        (folder / "pipeline.yaml").write_text("\n".join(lines) + "\n")

    def first(self):
        return [self.program, "run", "-q", "--jobs", JOBS]

    def status(self):
        return [self.program, "status", "--json"]

    def clean(self, folder):
        shutil.rmtree(folder / "cache", ignore_errors=True)

    def check(self, folder, count):
        records = sum(1 for _ in (folder / "cache" / "records").rglob("*.json"))
        assert records == count, f"pipe has {records} records"


class Dvc(Tool):
    name = "dvc"
    largest = 1_000

    def write(self, folder, count):
        run([self.program, "init", "--no-scm", "-q"], folder)
        run([self.program, "config", "core.analytics", "false"], folder)
        lines = ["stages:"]
        for name, reads in stages(count):
            source = f"out/{reads}" if reads else "source.txt"
            lines.append(f"  {name}:")
            lines.append(f"    cmd: cp {source} out/{name}")
            lines.append(f"    deps: [{source}]")
            lines.append(f"    outs: [out/{name}]")
        (folder / "dvc.yaml").write_text("\n".join(lines) + "\n")

    def first(self):
        return [self.program, "repro", "-q"]

    def status(self):
        return [self.program, "status", "-q"]

    def clean(self, folder):
        super().clean(folder)
        shutil.rmtree(folder / ".dvc" / "cache", ignore_errors=True)
        shutil.rmtree(folder / ".dvc" / "tmp", ignore_errors=True)
        (folder / "dvc.lock").unlink(missing_ok=True)


class Snakemake(Tool):
    name = "snakemake"
    largest = 1_000

    def write(self, folder, count):
        names = [name for name, _ in stages(count)]
        text = f"rule all:\n    input: {[f'out/{name}' for name in names]}\n"
        for name, reads in stages(count):
            source = f"out/{reads}" if reads else "source.txt"
            text += f"rule {name}:\n    input: '{source}'\n    output: 'out/{name}'\n"
            text += "    shell: 'cp {input} {output}'\n"
        (folder / "Snakefile").write_text(text)

    def first(self):
        return [self.program, "--cores", JOBS, "--quiet", "all"]

    def status(self):
        return [self.program, "--dry-run", "--quiet", "all"]

    def clean(self, folder):
        super().clean(folder)
        shutil.rmtree(folder / ".snakemake", ignore_errors=True)


class Make(Tool):
    name = "make"
    times_only = True

    def write(self, folder, count):
        names = " ".join(f"out/{name}" for name, _ in stages(count))
        text = f"all: {names}\n"
        for name, reads in stages(count):
            text += f"out/{name}: {f'out/{reads}' if reads else 'source.txt'}\n\tcp $< $@\n"
        (folder / "Makefile").write_text(text)

    def first(self):
        return [self.program, "-s", "-j", JOBS]

    def status(self):
        return [self.program, "-q"]


class Ninja(Tool):
    name = "ninja"
    times_only = True

    def write(self, folder, count):
        text = "rule cp\n  command = cp $in $out\n"
        for name, reads in stages(count):
            text += f"build out/{name}: cp {f'out/{reads}' if reads else 'source.txt'}\n"
        (folder / "build.ninja").write_text(text)

    def first(self):
        return [self.program, "--quiet", "-j", JOBS]

    def status(self):
        return [self.program, "-n", "--quiet"]

    def clean(self, folder):
        super().clean(folder)
        for file in (".ninja_log", ".ninja_deps"):
            (folder / file).unlink(missing_ok=True)


class Shell(Tool):
    """The commands without any tool."""

    name = "sh"
    program = "sh"

    def write(self, folder, count):
        commands = [f"cp source.txt out/{name}" for name, _ in stages(count)]
        (folder / "commands").write_text("\0".join(commands) + "\0")

    def first(self):
        return [self.program, "-c", f"xargs -0 -P {JOBS} -n 1 sh -c < commands"]

    def status(self):
        return None


def run(command, folder, limit=None):
    """The seconds that it took; `None` if it took longer than the limit."""
    began = time.perf_counter()
    try:
        ended = subprocess.run(command, cwd=folder, capture_output=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return None
    seconds = time.perf_counter() - began
    if ended.returncode != 0:
        sys.exit(f"{command} in {folder}: {ended.stderr.decode()[-2000:]}")
    return seconds


def measure(tools, counts, repetitions, limit, where):
    """{(tool, count, what): median seconds}"""
    found = {}
    too_slow = set()
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="pipe-bench-", dir=where) as root:
            present = []
            for tool in tools:
                if count > tool.largest or tool.name in too_slow:
                    continue
                folder = Path(root) / tool.name
                (folder / "out").mkdir(parents=True)
                (folder / "source.txt").write_text("a line\n")
                tool.write(folder, count)
                present.append((tool, folder))
            samples = {}
            for repetition in range(repetitions(count)):
                for tool, folder in present:
                    if tool.name in too_slow:
                        continue
                    # Slow tools get fewer rounds.
                    first = samples.get((tool.name, "first"))
                    if repetition > 0 and sum(first) > limit:
                        continue
                    tool.clean(folder)
                    os.sync()
                    measured = {"first": run(tool.first(), folder, 4 * limit)}
                    if measured["first"] is None:
                        too_slow.add(tool.name)
                        print(f"{tool.name} at {count}: over {4 * limit} s", file=sys.stderr)
                        continue
                    tool.check(folder, count)
                    if tool.status():
                        # Six rounds for quick tools, which are compared most closely.
                        times = 7 if measured["first"] < 5 else 1
                        quick = [run(tool.first(), folder) for _ in range(times)]
                        measured["no-op"] = statistics.median(quick)
                        quick = [run(tool.status(), folder) for _ in range(times)]
                        measured["status"] = statistics.median(quick)
                    for what, seconds in measured.items():
                        samples.setdefault((tool.name, what), []).append(seconds)
            for (name, what), seconds in samples.items():
                found[name, count, what] = statistics.median(seconds)
                if what == "first" and 10 * statistics.median(seconds) > 4 * limit:
                    too_slow.add(name)
    return found


def table(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join([row[0].ljust(widths[0])] + cells))


def text_of(seconds):
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def print_stages(found, tools, counts):
    for what in ("first", "no-op", "status"):
        print(f"\n{what}, and as a multiple of what pipe takes")
        rows = [["stages"] + [tool.name for tool in tools]]
        for count in counts:
            row = [f"{count:,}"]
            own = found.get(("pipe", count, what))
            for tool in tools:
                seconds = found.get((tool.name, count, what))
                cell = text_of(seconds)
                if seconds and own and tool.name != "pipe":
                    ratio = seconds / own
                    cell += f" ({ratio:.0f}x)" if ratio >= 10 else f" ({ratio:.2g}x)"
                row.append(cell)
            rows.append(row)
        table(rows)
    print("\nwhat pipe adds to the commands in a first run, and what a run with nothing to do takes, per stage")
    rows = [["stages", "first over sh", "no-op"]]
    for count in counts:
        first, alone = found.get(("pipe", count, "first")), found.get(("sh", count, "first"))
        if first and alone:
            none = found["pipe", count, "no-op"]
            over = (first - alone) / count
            rows.append([f"{count:,}", f"{over * 1e3:.3f} ms", f"{none / count * 1e6:.0f} us"])
    table(rows)


def hashing(pipe, b3sum, large_bytes, small_files, repetitions, where):
    with tempfile.TemporaryDirectory(prefix="pipe-bench-", dir=where) as root:
        root = Path(root)
        block = os.urandom(1 << 20)
        with open(root / "large", "wb") as file:
            for number in range(large_bytes >> 20):
                file.write(number.to_bytes(8, "little") + block[8:])
        for number in range(small_files):
            folder = root / "small" / f"{number // 1000}"
            if number % 1000 == 0:
                folder.mkdir(parents=True)
            (folder / f"{number}").write_bytes(number.to_bytes(8, "little") * 128)
        rows = [["hashing", "pipe", "b3sum", "b3sum / pipe"]]
        small = f"find small -type f -print0 | xargs -0 {b3sum} > /dev/null"
        cases = [
            (f"one file of {large_bytes >> 30} GiB", "large", [b3sum, "large"]),
            (f"{small_files:,} files of 1 KiB", "small", ["sh", "-c", small]),
        ]
        for what, source, peer in cases:
            yaml = f"stages:\n  s: {{run: 'true', inputs: {{x: {source}}}, outputs: [y]}}\n"
            (root / "pipeline.yaml").write_text(yaml)
            own = [pipe, "run", "--dry-run", "--no-index", "--json"]
            run(own, root), run(peer, root)
            pairs = [(run(own, root), run(peer, root)) for _ in range(repetitions)]
            ours, theirs = (statistics.median(side) for side in zip(*pairs))
            rows.append([what, text_of(ours), text_of(theirs), f"{theirs / ours:.2f}"])
        print()
        table(rows)
        return rows


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("--pipe", default="target/release/pipe")
    options.add_argument("--tools", help="a folder with the other tools")
    options.add_argument("--quick", action="store_true", help="under five minutes")
    options.add_argument("--limit", type=float, default=120, help="seconds a tool may take for a row")
    options.add_argument("--only", help="only these tools, separated by commas")
    options.add_argument("--counts", help="only these numbers of stages, separated by commas")
    options.add_argument("--folder", help="where to make the projects (the disk matters)")
    options.add_argument("--no-hashing", action="store_true")
    options.add_argument("--json", help="also write the medians to this file")
    options = options.parse_args()
    path = os.pathsep.join(filter(None, [options.tools, os.environ["PATH"]]))
    tools = []
    for tool in (Pipe(), Shell(), Dvc(), Snakemake(), Make(), Ninja()):
        program = os.path.abspath(options.pipe) if tool.name == "pipe" else shutil.which(tool.name, path=path)
        if options.only and tool.name not in options.only.split(","):
            continue
        if not program or not os.path.exists(program):
            print(f"{tool.name} is not installed: left out", file=sys.stderr)
            continue
        tool.program = program
        if options.quick and tool.name in ("dvc", "snakemake"):
            tool.largest = 100
        tools.append(tool)
    counts = [6, 100, 1_000] if options.quick else [6, 100, 1_000, 10_000]
    if options.counts:
        counts = [int(count) for count in options.counts.split(",")]
    limit = min(options.limit, 20) if options.quick else options.limit
    most = 3 if options.quick else 5
    found = measure(tools, counts, lambda count: most if count < 10_000 else 2, limit, options.folder)
    print_stages(found, tools, counts)
    b3sum = shutil.which("b3sum", path=path)
    if b3sum and not options.no_hashing:
        gib = 1 if options.quick else 4
        hashing(tools[0].program, b3sum, gib << 30, 100_000, 5, options.folder)
    if options.json:
        medians = [{"tool": t, "stages": c, "what": w, "seconds": s} for (t, c, w), s in found.items()]
        Path(options.json).write_text(json.dumps(medians, indent=1))


main()
