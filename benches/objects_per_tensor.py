"""Measures how many bytes the model folders of a sweep would share if the store kept tensors or
content-defined chunks instead of files, and what cutting and hashing would cost.

    python benches/objects_per_tensor.py MODEL.safetensors

Makes variants of a real encoder in a temporary folder, as fine-tuning would leave them: with every tensor
changed, with the lower half frozen, with only the head trained. Chunks are cut by a gear rolling hash,
as in FastCDC, and have 64 KiB on average. Needs numpy and safetensors.
"""

import hashlib
import os
import sys
import tempfile
import time

import numpy
from safetensors.numpy import load_file, save_file

RUNS = 8
MASK_BITS = 16  # a boundary every 64 KiB on average
SMALLEST, LARGEST = 16 << 10, 256 << 10


def digest(data):
    return hashlib.blake2b(data, digest_size=16).digest()


def tensors_of(path):
    """The header, then the bytes of each tensor."""
    data = memoryview(numpy.memmap(path, dtype=numpy.uint8, mode="r"))
    import json

    length = int.from_bytes(data[:8], "little")
    header = json.loads(bytes(data[8 : 8 + length]))
    yield data[: 8 + length]
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            yield data[8 + length + start : 8 + length + end]


def chunks_of(path):
    """Cuts where the gear hash of the last 32 bytes has MASK_BITS leading zeros."""
    data = numpy.fromfile(path, dtype=numpy.uint8)
    gear = numpy.random.default_rng(0).integers(0, 1 << 32, 256, dtype=numpy.uint32)
    table = gear[data]
    hashes = numpy.zeros(len(data), dtype=numpy.uint32)
    for back in range(32):  # hash(i) = sum of gear[byte(i - back)] << back, modulo 2^32
        if back == 0:
            hashes += table
        else:
            hashes[back:] += table[:-back] << numpy.uint32(back)
    candidates = numpy.flatnonzero(hashes >> (32 - MASK_BITS) == 0)
    start = 0
    for cut in candidates:
        cut = int(cut) + 1
        while cut - start > LARGEST:
            yield data[start : start + LARGEST]
            start += LARGEST
        if cut - start >= SMALLEST:
            yield data[start:cut]
            start = cut
    while start < len(data):
        yield data[start : start + LARGEST]
        start += LARGEST


def stored(paths, pieces_of):
    known, bytes_, count = set(), 0, 0
    for path in paths:
        for piece in pieces_of(path):
            name = digest(piece)
            if name not in known:
                known.add(name)
                bytes_ += len(piece)
                count += 1
    return bytes_, count


def layer(name):
    parts = name.split(".")
    return int(parts[parts.index("layer") + 1]) if "layer" in parts else -1


def variants(source, changes, folder):
    """RUNS model files; `changes(name)` says whether training changes a tensor."""
    base = load_file(source)
    paths = []
    for run in range(RUNS):
        random = numpy.random.default_rng(run + 1)
        tensors = {}
        for name, value in base.items():
            if changes(name) and value.dtype == numpy.float32:
                step = random.standard_normal(value.shape, dtype=numpy.float32)
                tensors[name] = value + 1e-4 * step
            else:
                tensors[name] = value
        width = next(v.shape[-1] for n, v in base.items() if "word_embeddings" in n)
        tensors["classifier.weight"] = random.standard_normal((2, width), dtype=numpy.float32)
        tensors["classifier.bias"] = random.standard_normal(2, dtype=numpy.float32)
        paths.append(os.path.join(folder, f"{len(os.listdir(folder))}.safetensors"))
        save_file(tensors, paths[-1])
    return paths


def main(source):
    layers = 1 + max(layer(name) for name in load_file(source))
    cases = {
        "all tensors trained": lambda name: True,
        "embeddings frozen": lambda name: "embeddings" not in name,
        "embeddings and lower half frozen": lambda name: layer(name) >= layers // 2,
        "only the head trained": lambda name: False,
    }
    print(f"{RUNS} runs each of {os.path.basename(os.path.dirname(os.path.abspath(source)))}")
    for case, changes in cases.items():
        with tempfile.TemporaryDirectory(prefix="store-dedup-") as folder:
            paths = variants(source, changes, folder)
            whole = sum(map(os.path.getsize, paths))
            line = f"{case:34} files {whole / 1e6:7.1f} MB"
            for what, pieces in (("tensors", tensors_of), ("chunks", chunks_of)):
                began = time.perf_counter()
                bytes_, count = stored(paths, pieces)
                seconds = time.perf_counter() - began
                saved = 100 * (1 - bytes_ / whole)
                line += f"  {what} {bytes_ / 1e6:7.1f} MB (-{saved:.1f} %, {count} objects, {seconds:.1f} s)"
            print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
