#!/usr/bin/env python3
"""Compares `pipe push` and `pipe pull` with rclone and DVC, over S3 to a server on this machine.

    cargo build --release --no-default-features --features remotes
    python3 benches/remotes.py --pipe target/release/pipe [--server s3s-fs] [--rclone rclone]
        [--dvc dvc] [--large BYTES] [--small COUNT] [--rounds N]

The data is one file of 2 GiB, and a folder of 10,000 files of 1 to 16 KiB, all random bytes. The script
measures seconds and peak resident memory of each tool for an upload into an empty bucket, a second upload
with nothing to do, and a download into an empty place. All tools use the same server, `s3s-fs`
(`cargo install s3s-fs --version 0.14.1 --locked --features binary`), restarted for each round. The tools
take turns, and the medians are printed, those of the other tools also as multiples of `pipe`.

The tools do different work. `pipe` verifies the BLAKE3 digest of everything that it uploads or
downloads, and places downloads in its store. rclone compares sizes and MD5 sums (`copy --checksum`), with
`--transfers 64 --checkers 64`, since `pipe` transfers 64 objects at once, and with its defaults. DVC's
figures leave out `dvc add` and `dvc checkout`.
"""

import argparse
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KEY, SECRET = "somebody", "something"


class Server:
    def __init__(self, program, folder):
        shutil.rmtree(folder, ignore_errors=True)
        for bucket in ("bucket", "rclone0", "rclone4"):
            (folder / bucket).mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        arguments = ["--host", "127.0.0.1", "--port", str(self.port)]
        arguments += ["--access-key", KEY, "--secret-key", SECRET, str(folder)]
        environment = os.environ | {"RUST_LOG": "error"}
        self.process = subprocess.Popen(
            [program, *arguments], env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit("the server does not start")
                time.sleep(0.02)

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def end(self):
        self.process.kill()
        self.process.wait()


def measured(command, folder):
    """The seconds and the peak resident memory in MiB of a command that must succeed."""
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "XDG_CONFIG_HOME": str(folder / "no-config"),
        "DVC_NO_ANALYTICS": "1",
    }
    # The server has no TLS, so rclone must not use it.
    environment.pop("AWS_CA_BUNDLE", None)
    began = time.perf_counter()
    child = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{errors.decode()}")
    return seconds, usage.ru_maxrss / 1024


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


class Pipe:
    name = "pipe"

    def __init__(self, program):
        self.program = program

    def prepare(self, folder, data, endpoint):
        """Makes a store that holds the data as the result of a stage."""
        self.here, self.there = fresh(folder / "here"), fresh(folder / "there")
        url = f"{{url: 's3://bucket/pipe', endpoint: '{endpoint}', timeout: 60s}}"
        text = (
            f"remotes: {{lab: {url}}}\nstages:\n"
            f"  a: {{run: 'cp -r \"{data}/.\" \"$OUT_x\"', outputs: [x], salt: fixed}}\n"
        )
        if data.is_file():
            text = text.replace("cp -r", "cp").replace("/.", "")
        for place in (self.here, self.there):
            (place / "pipeline.yaml").write_text(text)
        measured([self.program, "run"], self.here)

    def clean(self):
        for place in (self.here, self.there):
            subprocess.run(["chmod", "-R", "u+w", place], check=True)
            shutil.rmtree(place)

    def upload(self):
        return measured([self.program, "push"], self.here)

    def download(self):
        return measured([self.program, "pull"], self.there)


class Rclone:
    def __init__(self, program, transfers=None):
        self.program = program
        self.name = "rclone" if transfers is None else f"rclone, {transfers} at once"
        self.options = [] if transfers is None else [
            "--transfers", str(transfers), "--checkers", str(transfers)
        ]

    def prepare(self, folder, data, endpoint):
        self.folder, self.there = folder, fresh(folder / "rclone-there")
        self.data = data
        keys = f"access_key_id={KEY},secret_access_key={SECRET}"
        # rclone gets a whole bucket: for a folder in one, this server's answer makes it wait for a long time.
        bucket = f"rclone{len(self.options)}"
        self.remote = f":s3,provider=Other,{keys},endpoint='{endpoint}':{bucket}"

    def clean(self):
        shutil.rmtree(self.there)

    def copy(self, source, target):
        command = [self.program, "copy", "--checksum", *self.options, source, target]
        return measured(command, self.folder)

    def upload(self):
        return self.copy(str(self.data), self.remote)

    def download(self):
        return self.copy(self.remote, str(self.there))


class Dvc:
    name = "dvc"

    def __init__(self, program):
        self.program = program

    def prepare(self, folder, data, endpoint):
        self.here = fresh(folder / "dvc")
        run = lambda *arguments: measured([self.program, *arguments], self.here)
        run("init", "--no-scm", "-q")
        run("remote", "add", "-d", "lab", "s3://bucket/dvc")
        run("remote", "modify", "lab", "endpointurl", endpoint)
        target = self.here / "data"
        shutil.copytree(data, target) if data.is_dir() else shutil.copy(data, target)
        run("add", "-q", "data")

    def clean(self):
        shutil.rmtree(self.here)

    def upload(self):
        return measured([self.program, "push", "-q"], self.here)

    def download(self):
        shutil.rmtree(self.here / ".dvc" / "cache")
        return measured([self.program, "fetch", "-q"], self.here)


def write_data(folder, large, small):
    random.seed(1)
    one = folder / "large"
    with one.open("wb") as file:
        left = large
        while left:
            piece = random.randbytes(min(left, 1 << 22))
            file.write(piece)
            left -= len(piece)
    many = folder / "small"
    many.mkdir()
    for index in range(small):
        (many / f"{index:05}").write_bytes(random.randbytes(random.randint(1 << 10, 1 << 14)))
    return {f"one file of {large / 2**30:.3g} GiB": one, f"{small:,} files of 1 to 16 KiB": many}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pipe", default="target/release/pipe")
    parser.add_argument("--server", default="s3s-fs")
    parser.add_argument("--rclone", default="rclone")
    parser.add_argument("--dvc", default="dvc")
    parser.add_argument("--large", type=int, default=2 << 30)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", help="where to put the data and the bucket, for example /dev/shm")
    options = parser.parse_args()
    server = shutil.which(options.server) or sys.exit(f"there is no {options.server}")
    tools = [Pipe(str(Path(options.pipe).resolve()))]
    if rclone := shutil.which(options.rclone):
        tools += [Rclone(rclone), Rclone(rclone, 64)]
    if dvc := shutil.which(options.dvc):
        if subprocess.run([Path(dvc).parent / "python", "-c", "import dvc_s3"],
                          capture_output=True).returncode == 0:
            tools.append(Dvc(dvc))
    with tempfile.TemporaryDirectory(prefix="remote-bench-", dir=options.dir) as folder:
        folder = Path(folder)
        for what, data in write_data(folder, options.large, options.small).items():
            figures = {}
            for _ in range(options.rounds):
                for tool in tools:
                    running = Server(server, folder / "served")
                    tool.prepare(folder, data, running.endpoint)
                    done = [tool.upload(), tool.upload(), tool.download()]
                    running.end()
                    tool.clean()
                    for step, figure in zip(("push", "push again", "pull"), done):
                        figures.setdefault((tool.name, step), []).append(figure)
            print(f"\n{what}, median of {options.rounds}\n")
            print("| | push | push again | pull | most memory |")
            print("|---|---|---|---|---|")
            steps = ("push", "push again", "pull")
            middle = lambda name, step: statistics.median(s for s, _ in figures[name, step])
            for tool in tools:
                cells = []
                for step in steps:
                    seconds = middle(tool.name, step)
                    ratio = seconds / middle("pipe", step)
                    more = "" if tool.name == "pipe" else f" ({ratio:.2g}×)"
                    cells.append(f"{seconds:.3g} s{more}")
                peak = max(m for step in steps for _, m in figures[tool.name, step])
                print(f"| {tool.name} | {' | '.join(cells)} | {peak:.0f} MiB |")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
