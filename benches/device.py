#!/usr/bin/env python3
"""Counts what a training step asks of an NVIDIA GPU, on a machine that has none.

    cargo build --release --features cuda
    python3 benches/device.py --pipe target/release/pipe --counter ../shared/tools/cuda-counter
    python3 benches/device.py … --config stages/tests/fixtures/model/modernbert/config.json

The counter is a driver library that counts and does not compute, with a script `count.py`. The model has 12
layers of 768 and a vocabulary of 12,000 with random weights, in bf16, on the bundled tweets in batches of 32 and 64.
What the driver returns to the host is overwritten with zeros, since what no kernel has computed would end
the training as diverged.

It prints how long a first run and a later one, which finds the kernels of the first, take to the end of the first
step. Then, for each batch size, launches, copies, waits and host time of a step, and the least time that a GPU needs for the same step by its
memory and its arithmetic: `--bandwidth` and `--flops`, by default what was measured on an H200. With `--config` the
model is one of another family, of the same sizes, and only launches, copies, waits and host time are printed.
"""

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
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


def project(folder, family=None):
    """A project with the default pipeline and a large model without weights, of the family that has this config.
    Returns the model's folder."""
    root = HERE.parent
    for name in ("data", "models"):
        shutil.copytree(root / name, folder / name)
    shutil.copy(root / "pipeline.yaml", folder)
    small, model = folder / "models" / "tweet-encoder", folder / "model"
    model.mkdir()
    for file in small.glob("tokenizer*"):
        shutil.copy(file, model)
    config = bundled = json.loads((small / "config.json").read_text())
    if family:
        config = json.loads(family.read_text())
        same = ("vocab_size", "max_position_embeddings", "pad_token_id", "bos_token_id", "eos_token_id")
        config |= {name: bundled[name] for name in same}
        # Every layer of one kind, or as many as there are layers, by default.
        config.pop("layer_types", None)
        if "pooler_hidden_size" in config:
            config["pooler_hidden_size"] = HIDDEN
    config.update(num_hidden_layers=LAYERS, hidden_size=HIDDEN, intermediate_size=WIDE, num_attention_heads=HEADS)
    (model / "config.json").write_text(json.dumps(config))
    return model


def weights(model, folder):
    """The model with weights of zeros, which take no time to make. Returns its folder."""
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    embeddings = "roberta.embeddings"
    shapes = {
        f"{embeddings}.word_embeddings.weight": [config["vocab_size"], HIDDEN],
        f"{embeddings}.position_embeddings.weight": [config["max_position_embeddings"], HIDDEN],
        f"{embeddings}.token_type_embeddings.weight": [config["type_vocab_size"], HIDDEN],
    }
    vectors = {f"{embeddings}.LayerNorm": HIDDEN}
    for layer in (f"roberta.encoder.layer.{nth}" for nth in range(LAYERS)):
        square = [f"{layer}.attention.self.{name}" for name in ("query", "key", "value")] + [f"{layer}.attention.output.dense"]
        matrices = {name: [HIDDEN, HIDDEN] for name in square}
        matrices |= {f"{layer}.intermediate.dense": [WIDE, HIDDEN], f"{layer}.output.dense": [HIDDEN, WIDE]}
        for name, shape in matrices.items():
            shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
        vectors |= {f"{layer}.attention.output.LayerNorm": HIDDEN, f"{layer}.output.LayerNorm": HIDDEN}
    for name, size in vectors.items():
        shapes |= {f"{name}.weight": [size], f"{name}.bias": [size]}
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4
        for length in shape:
            size *= length
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
    return folder


def until_first_step(pipe, tools, work, model):
    """The seconds from the start of `finetune` to the end of its first step."""
    environment = dict(os.environ, LD_LIBRARY_PATH=str(tools), CUDA_PATH=str(tools / "nvcc" / "nvidia" / "cuda_nvcc"))
    environment |= {"XDG_CACHE_HOME": str(work / "user"), "CUDA_COUNTER_LOG": str(work / "log")}
    command = [pipe, "run", "--json", "--device", "cuda", "--offline", "--until", "finetune", "--cache", work / "first"]
    command += ["--set", f"model={model}", "--set", "finetune.init=pretrained", "--set", "finetune.precision=bf16"]
    shutil.rmtree(work / "first", ignore_errors=True)
    started = seconds = None
    with subprocess.Popen(command, cwd=work, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        for line in process.stdout:
            event = json.loads(line)
            if event.get("stage") != "finetune":
                continue
            if event["event"] == "stage_started":
                started = time.monotonic()
            if seconds is None and event["event"] == "stage_says" and event["said"]["event"] == "progress":
                seconds = time.monotonic() - started
    if seconds is None:
        sys.exit("the training took no step")
    return seconds


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
        # With the twin of the result in bf16.
        ("add and norm", LAYERS * 2 * (4 + 4 + 4 + 2 + 4 + 4 + 4 + 2 + 4) * states, LAYERS * 2 * 30 * states),
        ("bias and GELU", LAYERS * (4 + 2 + 4 + 4 + 2) * wide, LAYERS * 40 * wide),
        ("sums of two gradients", LAYERS * 2 * 12 * states, LAYERS * 2 * states),
        ("embeddings", (3 * 4 + 2 * 4 + 2 + 4 + 4 * 4) * states + 4 * VOCABULARY * HIDDEN, 40 * states),
        # With the weights in bf16.
        ("norm of the gradients and AdamW", (4 + 7 * 4) * parameters + 2 * weights, 15 * parameters),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipe", type=Path, required=True)
    parser.add_argument("--counter", type=Path, required=True, help="the folder of count.py and driver.c")
    parser.add_argument("--bandwidth", type=float, default=4.3e12, help="bytes per second")
    parser.add_argument("--flops", type=float, default=790e12, help="bf16 operations per second")
    parser.add_argument("--ptxas", action="store_true", help="compile every kernel with ptxas as well")
    parser.add_argument("--config", type=Path, help="the config.json of a model of another family")
    options = parser.parse_args()
    if not (options.counter / "count.py").exists():
        sys.exit(f"{options.counter} has no count.py")
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        (work / "tools").mkdir()
        driver(options.counter, work / "tools")
        model = project(work, options.config)
        whole = None if options.config else weights(model, work / "weights")
        for run in ("first", "later", "later") if whole else ():
            seconds = until_first_step(options.pipe.resolve(), work / "tools", work, whole)
            print(f"the first step of a {run} run is done {seconds:.1f} s after `finetune` starts", flush=True)
        for batch in (32, 64):
            print(f"== batches of {batch}", flush=True)
            command = [sys.executable, options.counter / "count.py", "--pipe", options.pipe.resolve(), "--epochs", "2,8"]
            command += ["--ptxas"] if options.ptxas and batch == 32 else []
            command += ["--", "--set", f"model={model}", "--set", "finetune.precision=bf16", "--offline"]
            command += ["--set", f"finetune.batch_size={batch}", "--until", "finetune"]
            # Timing other kernels for the products is work of its own, in the first minutes of a new GPU.
            environment = dict(os.environ, CUDA_COUNTER_TOOLS=str(work / "tools"), PIPE_TIME_PRODUCTS="off")
            subprocess.run(command, cwd=work, env=environment, check=True)
            if options.config:
                continue
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
