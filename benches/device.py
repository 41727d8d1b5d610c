#!/usr/bin/env python3
"""Counts what a training step asks of an NVIDIA GPU, on a machine that has none.

    cargo build --release --features cuda
    python3 benches/device.py --pipe target/release/pipe --counter ../shared/tools/cuda-counter

The counter is a driver library that counts and does not compute, with a script `count.py`. The model has 12
layers of 768 and a vocabulary of 12,000 with random weights, in bf16, on the bundled tweets in batches of 32 and 64.
What the driver returns to the host is overwritten with zeros, since what no kernel has computed would end
the training as diverged.

For each batch size it prints launches, copies, waits and host time of a step, and then the least time that a GPU
needs for the same step by its memory and its arithmetic: `--bandwidth` and `--flops`, by default what was measured on
an H200.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LAYERS, HIDDEN, WIDE, HEADS, VOCABULARY = 12, 768, 3072, 12, 12_000
COPY = "memcpy(to, (void *)(uintptr_t)from, bytes);"


def driver(counter, folder):
    """Builds the counter's driver in `folder`, with copies to the host that write zeros."""
    text = (counter / "driver.c").read_text()
    start = text.index(COPY, text.index("Result cuMemcpyDtoHAsync_v2"))
    text = text[:start] + "memset(to, 0, bytes);(void)from;" + text[start + len(COPY):]
    (folder / "driver.c").write_text(text)
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", folder / "libcuda.so.1", folder / "driver.c", "-lpthread"]
    subprocess.run(command, check=True)
    known = Path(os.environ.get("CUDA_COUNTER_TOOLS", Path.home() / ".cache" / "cuda-counter")) / "nvcc"
    if known.exists():
        (folder / "nvcc").symlink_to(known)


def project(folder):
    """A project with the default pipeline and a large model without weights. Returns the model's folder."""
    root = HERE.parent
    for name in ("data", "models"):
        shutil.copytree(root / name, folder / name)
    shutil.copy(root / "pipeline.yaml", folder)
    small, model = folder / "models" / "tweet-encoder", folder / "model"
    model.mkdir()
    for file in small.glob("tokenizer*"):
        shutil.copy(file, model)
    config = json.loads((small / "config.json").read_text())
    config.update(num_hidden_layers=LAYERS, hidden_size=HIDDEN, intermediate_size=WIDE, num_attention_heads=HEADS)
    (model / "config.json").write_text(json.dumps(config))
    return model


def floor(tokens, rows, bandwidth, flops):
    """What each part of a step must move and compute, in bf16 with f32 parameters: (part, bytes, operations)."""
    weights = LAYERS * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * WIDE)
    parameters = weights + VOCABULARY * HIDDEN
    states, wide = tokens * HIDDEN, tokens * WIDE
    width = tokens / rows
    scores = LAYERS * rows * HEADS * width * width * (HIDDEN / HEADS)
    return [
        # Factors in bf16 once, results in f32 once; three products for each weight.
        ("products", LAYERS * (3 * 2 * weights / LAYERS + 22 * states + 3 * 6 * wide + 4 * weights / LAYERS), 6 * tokens * weights),
        ("attention", LAYERS * (3 * 4 + 2 + 3 * 4 + 3 * 4 + 4 + 2 + 3 * 2) * states, 14 * scores),
        ("add and norm", LAYERS * 2 * (4 + 4 + 4 + 4 + 4 + 4 + 2 + 4) * states, LAYERS * 2 * 30 * states),
        ("bias and GELU", LAYERS * (4 + 2 + 4 + 4 + 2) * wide, LAYERS * 40 * wide),
        ("casts of weights and states", LAYERS * (6 * weights / LAYERS + 2 * 6 * states), 0),
        ("sums of two gradients", LAYERS * 2 * 12 * states, LAYERS * 2 * states),
        ("embeddings", (3 * 4 + 3 * 4 + 4 * 4) * states + 4 * VOCABULARY * HIDDEN, 40 * states),
        ("norm of the gradients and AdamW", (4 + 7 * 4) * parameters, 15 * parameters),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipe", type=Path, required=True)
    parser.add_argument("--counter", type=Path, required=True, help="the folder of count.py and driver.c")
    parser.add_argument("--bandwidth", type=float, default=4.3e12, help="bytes per second")
    parser.add_argument("--flops", type=float, default=790e12, help="bf16 operations per second")
    parser.add_argument("--ptxas", action="store_true", help="compile every kernel with ptxas as well")
    options = parser.parse_args()
    if not (options.counter / "count.py").exists():
        sys.exit(f"{options.counter} has no count.py")
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        (work / "tools").mkdir()
        driver(options.counter, work / "tools")
        model = project(work)
        for batch in (32, 64):
            print(f"== batches of {batch}", flush=True)
            command = [sys.executable, options.counter / "count.py", "--pipe", options.pipe.resolve(), "--epochs", "2,8"]
            command += ["--ptxas"] if options.ptxas and batch == 32 else []
            command += ["--", "--set", f"model={model}", "--set", "finetune.precision=bf16", "--offline"]
            command += ["--set", f"finetune.batch_size={batch}", "--until", "finetune"]
            subprocess.run(command, cwd=work, env=dict(os.environ, CUDA_COUNTER_TOOLS=str(work / "tools")), check=True)
            # The bundled tweets have 29 tokens on average, and are padded to about 40.
            parts = floor(batch * 40, batch, options.bandwidth, options.flops)
            print(f"on paper, {batch * 40} tokens:")
            total = 0
            for part, moved, computed in parts:
                seconds = max(moved / options.bandwidth, computed / options.flops)
                total += seconds
                print(f"  {part:32} {moved / 1e6:9.1f} MB {computed / 1e9:9.1f} GFLOP {seconds * 1e6:8.0f} µs")
            print(f"  {'in all':32} {total * 1e3:34.2f} ms")


main()
