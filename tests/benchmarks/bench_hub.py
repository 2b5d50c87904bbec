"""What a push through the hub's client costs: `python tests/benchmarks/bench_hub.py`.

A LoRA whose bytes are those of a large one, though its base is tiny, is pushed by `hf upload` (what
`push_to_hub` does), with Xet and without, and by `deltareg push`; beside them its weights are sent
as they are, to an address that stores them and does nothing else. Each is a program of its own with
an empty home, and each push has weights that nobody has seen. The server is a real process over
SQLite. Told are the time, the bytes that went to the server, and the most memory that the program
and the server, with the programs that it starts, had resident.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import httpx  # only now the tests can be imported
import numpy as np
from safetensors.numpy import load_file, save_file

from tests.benchmarks import page
from tests.fixtures.processes import Processes
from tests.fixtures.registries import SAMPLES
from tests.process_table import processes_below

_LORA = SAMPLES / "deltas" / "tinyllama" / "lora"
_MIB = 1 << 20
_HEAD = f"{'a push':<30}{'of':>4}{'s':>8}{'slowest':>9}{'MiB sent':>10}{'MiB client':>12}{'MiB server':>12}"
_RAW = (
    "import http.client,sys,urllib.parse as u;a=u.urlsplit(sys.argv[1]);f=open(sys.argv[2],'rb');"
    "c=http.client.HTTPConnection(a.netloc);"
    "c.request('PUT',a.path,f,{'Content-Length':sys.argv[3]});"
    "sys.exit(c.getresponse().status!=200)"
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=64, help="size of the weights")
    parser.add_argument("--times", type=int, default=3, help="pushes of each kind")
    page.add_option(parser)
    options = parser.parse_args()
    lines = [_HEAD]
    print(_HEAD)
    for way in ("hf upload, Xet", "hf upload, Git LFS", "deltareg push", "raw upload"):
        with tempfile.TemporaryDirectory(prefix="deltareg-bench-") as folder:
            line = measure(way, Path(folder), options)
        print(line, flush=True)
        lines.append(line)
    page.write_docs(options, "hub", "\n".join(lines))


def measure(way, folder, options):
    """Push in one way, each time other weights, and tell of it in a line."""
    processes = Processes(folder)
    server = processes.api(hub="true").start()
    relay = Relay(server.port)
    try:
        with server.client(folder / "cache") as client:
            client.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama", hub_ids=["bases/tinyllama"])
        taken = []
        for number in range(options.times):
            delta = lora(folder / f"lora{number}", options.mib, seed=number)
            relay.sent_bytes = 0
            command, environ = program(way, delta, number, server, relay, folder)
            with Memory(server.process.pid) as memory:
                seconds, client_bytes = run(command, environ)
            taken.append((seconds, relay.sent_bytes, client_bytes, memory.most_bytes))
            shutil.rmtree(delta)
    finally:
        relay.close()
        processes.end()
    seconds, *sizes = (list(column) for column in zip(*taken, strict=True))
    shown = [f"{max(size) / _MIB:.1f}" for size in sizes]
    return (
        f"{way:<30}{len(seconds):>4}{statistics.median(seconds):>8.2f}{max(seconds):>9.2f}"
        f"{shown[0]:>10}{shown[1]:>12}{shown[2]:>12}"
    )


def lora(folder, mib, *, seed):
    """Write a LoRA of so many bytes: the sample's, of a rank that makes it so large."""
    shutil.copytree(_LORA, folder)
    tensors, chance = load_file(folder / "adapter_model.safetensors"), np.random.default_rng(seed)
    of_one = sum(tensor.nbytes for tensor in tensors.values()) // 4
    rank = mib * _MIB // of_one
    shapes = {name: [rank if n == 4 else n for n in t.shape] for name, t in tensors.items()}
    grown = {name: chance.standard_normal(shape, np.float32) * np.float32(0.02) for name, shape in shapes.items()}
    save_file(grown, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = folder / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"r": rank}))
    return folder


def program(way, delta, number, server, relay, folder):
    """Give the command that pushes, and its environment."""
    home = folder / f"home{number}"
    home.mkdir()
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "NO_COLOR": "1"}
    url, line, beside = relay.url, f"team/n{number}", Path(sys.executable).with_name
    if way.startswith("hf"):
        environ |= {"HF_ENDPOINT": url, "HF_TOKEN": server.token}
        environ |= {"HF_HUB_DISABLE_XET": "1"} if "LFS" in way else {}
        return [beside("hf"), "upload", line, delta], environ
    if way.startswith("deltareg"):
        environ |= {"DELTAREG_SERVER": url, "DELTAREG_TOKEN": server.token}
        return [beside("deltareg"), "push", delta, line, "--base", "tinyllama"], environ
    weights = delta / "adapter_model.safetensors"
    address = address_for(weights, url, line, server.token)
    return [sys.executable, "-c", _RAW, address, weights, str(weights.stat().st_size)], environ


def address_for(path, url, line, token):
    """Ask for an address that a file is sent to as it is."""
    with path.open("rb") as file:
        oid = hashlib.file_digest(file, "sha256").hexdigest()
    asked = {"operation": "upload", "objects": [{"oid": oid, "size": path.stat().st_size}]}
    answer = httpx.post(
        f"{url}/{line}.git/info/lfs/objects/batch", json=asked, headers={"Authorization": f"Bearer {token}"}
    )
    return answer.json()["objects"][0]["actions"]["upload"]["href"]


def run(command, environ):
    """Run a program to its end; give the seconds, and the most memory that it had."""
    began = time.perf_counter()
    running = subprocess.Popen(
        [str(part) for part in command], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    with Memory(running.pid) as memory:  # what wait4 tells has what the parent had, too
        _, said = running.communicate()
        status = running.returncode
    assert status == 0, said.decode()[-2_000:]
    return time.perf_counter() - began, memory.most_bytes


class Memory:
    """Looks twenty times a second at what a process and all that it started have resident."""

    def __init__(self, pid):
        self.most_bytes = 0
        self._pid, self._ends = pid, threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)

    def __enter__(self):
        self._looking.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        self._looking.join()

    def _look(self):
        while not self._ends.wait(0.05):
            self.most_bytes = max(self.most_bytes, sum(map(resident_bytes, [self._pid, *processes_below(self._pid)])))


def resident_bytes(pid):
    with suppress(OSError):
        match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(match[1]) << 10 if match else 0
    return 0


class Relay:
    """Passes connections on to a server, and counts what is sent to it."""

    def __init__(self, port):
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent_bytes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                for ends in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source, target, is_counted):
        with suppress(OSError), closing(source):
            while part := source.recv(1 << 18):
                target.sendall(part)
                self.sent_bytes += len(part) if is_counted else 0
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main()
