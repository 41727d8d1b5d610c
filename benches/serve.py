#!/usr/bin/env python3
"""Compares `pipe serve` with FastAPI + uvicorn around PyTorch and around ONNX Runtime, on this machine.

    python3 -m venv venv && venv/bin/pip install torch transformers onnx onnxscript onnxruntime fastapi uvicorn
    cargo build --release
    venv/bin/python benches/serve.py --model DIR --texts FILE [--seconds 20] [--rates 50,100,…] [--out FILE]

`--model` is a model folder with a head that `pipe` has saved, `--texts` a JSONL file with a field `response`. The servers
take turns, and get the same texts, one text a request, over 64 connections. The generator of load is this script; it shares
the cores with the servers. Requests per second are medians of the rounds, times are those of all requests.

- Closed loop: each connection sends the next request when it has the answer. The requests per second are the most
  that a server can do.
- Open loop: requests come at a fixed rate, whether the server keeps up or not. The time of a request counts from when it
  was due, so that a server that stalls cannot hide it.

The peers are tried as one process with all cores and as one process per core, and the faster way is measured. Before
anything is measured, the answers of all servers must agree.
"""

import argparse
import asyncio
import datetime
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONNECTIONS = 64

PEER = '''
import json, os, threading
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoTokenizer

kind, folder, onnx, threads = os.environ["PEER"].split("|")
threads = int(threads)
tokenizer = AutoTokenizer.from_pretrained(folder)
labels = [label for _, label in sorted(json.load(open(folder + "/config.json"))["id2label"].items())]
one_at_a_time = threading.Lock()
if kind == "torch":
    import torch
    from transformers import AutoModelForSequenceClassification
    torch.set_num_threads(threads)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    def logits(encoded):
        with torch.inference_mode():
            return model(**{name: torch.tensor(values) for name, values in encoded.items()}).logits.numpy()
else:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    names = {it.name for it in session.get_inputs()}
    def logits(encoded):
        feed = {name: np.array(values, dtype=np.int64) for name, values in encoded.items() if name in names}
        return session.run(None, feed)[0]

app = FastAPI()
class Request(BaseModel):
    inputs: str

@app.get("/health")
def health():
    return {}

@app.post("/predict")
def predict(request: Request):
    encoded = tokenizer([request.inputs.replace("@USER", "")], truncation=True, max_length=MAX_LENGTH)
    with one_at_a_time:
        found = logits(dict(encoded))[0].astype(np.float64)
    powers = np.exp(found - found.max())
    scored = sorted(zip((powers / powers.sum()).tolist(), labels), reverse=True)
    return [{"label": label, "score": score} for score, label in scored]
'''


def say(text):
    print(text, file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]


def memory(pid):
    """Resident bytes of a process and everything that it has started."""
    total, todo = 0, [pid]
    while todo:
        at = todo.pop()
        try:
            status = Path(f"/proc/{at}/status").read_text()
            todo += map(int, Path(f"/proc/{at}/task/{at}/children").read_text().split())
        except OSError:
            continue
        total += next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0)
    return total


class Server:
    def __init__(self, name, command, port, environment=None):
        self.name, self.port = name, port
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=self.errors,
            env={**os.environ, **(environment or {})}, start_new_session=True)
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                if asyncio.run(Client(port).get("/health")) == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        self.errors.seek(0)
        raise SystemExit(f"{name} did not start: {self.errors.read()[-2000:]}")

    def end(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()


class Client:
    """One connection that stays open."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    async def request(self, head, body=b""):
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(head + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        status = int(answer.split(b" ", 2)[1])
        length = next(int(line.split(b":")[1]) for line in answer.split(b"\r\n") if line.lower().startswith(b"content-length"))
        return status, await self.reader.readexactly(length)

    async def get(self, path):
        return (await self.request(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()))[0]

    async def predict(self, body):
        head = f"POST /predict HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return await self.request(head.encode(), body)


async def closed_loop(port, bodies, seconds):
    end, at, times, errors = time.perf_counter() + seconds, 0, [], 0

    async def worker():
        nonlocal at, errors
        client = Client(port)
        while time.perf_counter() < end:
            body, at = bodies[at % len(bodies)], at + 1
            began = time.perf_counter()
            status, _ = await client.predict(body)
            times.append(time.perf_counter() - began)
            errors += status != 200

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
    return len(times) / (time.perf_counter() - began), times, errors


async def open_loop(port, bodies, seconds, rate):
    due, times, errors = asyncio.Queue(), [], 0

    async def worker():
        nonlocal errors
        client = Client(port)
        while (job := await due.get()) is not None:
            when, body = job
            status, _ = await client.predict(body)
            times.append(time.perf_counter() - when)
            errors += status != 200

    workers = [asyncio.create_task(worker()) for _ in range(CONNECTIONS)]
    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        when = began + number / rate
        await asyncio.sleep(max(0.0, when - time.perf_counter()))
        due.put_nowait((when, bodies[number % len(bodies)]))
    for _ in workers:
        due.put_nowait(None)
    await asyncio.gather(*workers)
    return len(times) / (time.perf_counter() - began), times, errors


def percentile(times, share):
    times = sorted(times)
    return 1e3 * times[min(len(times) - 1, int(share * len(times)))]


async def answers(port, bodies):
    client = Client(port)
    found = []
    for body in bodies:
        status, answer = await client.predict(body)
        assert status == 200, answer
        found.append({it["label"]: it["score"] for it in json.loads(answer)})
    return found


def export(model, to):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    network = AutoModelForSequenceClassification.from_pretrained(model).eval()
    encoded = dict(AutoTokenizer.from_pretrained(model)(["one text", "and a longer one"], padding=True, return_tensors="pt"))
    names = list(encoded)
    axes = {name: {0: "rows", 1: "tokens"} for name in names} | {"logits": {0: "rows"}}

    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, *values):
            return self.network(**dict(zip(names, values))).logits

    torch.onnx.export(Flat(), tuple(encoded.values()), to, input_names=names, output_names=["logits"], dynamic_axes=axes,
                      opset_version=17, dynamo=False)


def peers(kind, arguments, scratch, cores):
    """The ways to start a peer: a name, and a function that starts it."""
    source = PEER.replace("MAX_LENGTH", str(arguments.max_length))
    (scratch / "peer.py").write_text(source)
    for workers, threads in [(1, cores), (cores, 1)]:
        def start(workers=workers, threads=threads):
            port = free_port()
            command = [sys.executable, "-m", "uvicorn", "peer:app", "--app-dir", scratch, "--port", port, "--workers", workers,
                       "--log-level", "warning", "--no-access-log"]
            environment = {"PEER": f"{kind}|{arguments.model}|{scratch / 'model.onnx'}|{threads}", "OMP_NUM_THREADS": str(threads),
                           "TOKENIZERS_PARALLELISM": "false"}
            return Server(f"{kind}, {workers} x {threads}", command, port, environment)
        yield start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--texts", required=True)
    parser.add_argument("--pipe", default=str(ROOT / "target/release/pipe"))
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--rates", default="50,100,200,300")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    arguments.model = str(Path(arguments.model).resolve())
    rates = [int(rate) for rate in arguments.rates.split(",")]
    texts = [json.loads(line)["response"] for line in open(arguments.texts)]
    bodies = [json.dumps({"inputs": text}).encode() for text in texts]
    cores = len(os.sched_getaffinity(0))
    lines = ["| server | load | requests/s | p50 | p99 | errors | memory before and after |", "|---|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        export(arguments.model, str(scratch / "model.onnx"))

        def start_pipe():
            port = free_port()
            command = [arguments.pipe, "serve", "--model", arguments.model, "--port", port, "--set", f"tokenize.max_length={arguments.max_length}",
                       "--set", "ingest.remove=[\"@USER\"]", "-C", scratch]
            return Server("pipe serve", command, port)

        expected, servers = None, []
        for name, starts in [("pipe serve", [start_pipe]), ("PyTorch", peers("torch", arguments, scratch, cores)),
                             ("ONNX Runtime", peers("onnx", arguments, scratch, cores))]:
            tried = []
            for start in starts:
                server = start()
                found = asyncio.run(answers(server.port, bodies[:100]))
                expected = expected or found
                apart = max(abs(one[label] - other[label]) for one, other in zip(expected, found) for label in one)
                assert apart < 1e-4, f"{server.name}: answers are {apart} apart"
                rate, _, _ = asyncio.run(closed_loop(server.port, bodies, min(5, arguments.seconds)))
                say(f"{server.name}: {rate:.0f} requests/s, answers at most {apart:.0e} apart")
                tried.append((rate, start))
                server.end()
            server = max(tried, key=lambda it: it[0])[1]()
            # Warm: the first requests load what is loaded lazily.
            asyncio.run(closed_loop(server.port, bodies, 3))
            servers.append(server)
        for load in ["closed loop", *rates]:
            rows = {server.name: [[], 0, [], memory(server.process.pid)] for server in servers}
            # The servers take turns, so that whatever else runs here meets all of them.
            for _ in range(arguments.rounds):
                for server in servers:
                    seconds = arguments.seconds / arguments.rounds
                    run = closed_loop(server.port, bodies, seconds) if load == "closed loop" else open_loop(server.port, bodies, seconds, load)
                    rate, times, errors = asyncio.run(run)
                    row = rows[server.name]
                    row[0] += times
                    row[1] += errors
                    row[2].append(rate)
            for server in servers:
                times, errors, found, before = rows[server.name]
                named = load if load == "closed loop" else f"{load} a second"
                line = (f"| {server.name} | {named} | {statistics.median(found):.0f} | {percentile(times, 0.5):.1f} ms | "
                        f"{percentile(times, 0.99):.1f} ms | {errors} of {len(times)} | {before / 1e6:.0f}, {memory(server.process.pid) / 1e6:.0f} MB |")
                say(line)
                lines.append(line)
        for server in servers:
            server.end()
    import fastapi, onnxruntime, torch, transformers, uvicorn
    processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    head = (f"{datetime.date.today()}: {cores} cores of {processor}; Python {platform.python_version()}, PyTorch {torch.__version__}, "
            f"transformers {transformers.__version__}, onnxruntime {onnxruntime.__version__}, FastAPI {fastapi.__version__}, "
            f"uvicorn {uvicorn.__version__}; {arguments.seconds:.0f} s a row, in {arguments.rounds} rounds.\n")
    text = "\n".join([head, *lines]) + "\n"
    print(text)
    if arguments.out:
        Path(arguments.out).write_text(text)


if __name__ == "__main__":
    main()
