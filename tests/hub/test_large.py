"""Two gigabytes through a server that holds little of them, to one client and to many at once."""

import hashlib
import json
import re
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from deltareg.client import Client, ClientConfig

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(1_800)]
COUNT, ROWS = 64, 4_096
TENSOR_BYTES = ROWS * ROWS * 2
MIB = 1 << 20
CLIENTS = 12


def write(path, tensors):
    """Write tensors of bf16 as safetensors does, without ever having the file in memory."""
    entries = {
        f"w{number:02}": {
            "dtype": "BF16",
            "shape": [ROWS, ROWS],
            "data_offsets": [number * TENSOR_BYTES, (number + 1) * TENSOR_BYTES],
        }
        for number in range(len(tensors))
    }
    head = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for data in tensors:
            file.write(data)


def model(folder, tensors):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": ROWS}))
    write(folder / "model.safetensors", tensors)
    return folder


def sha256_of(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def peak_bytes(pid):
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) << 10


def fetched(url, headers):
    hasher = hashlib.sha256()
    with httpx.stream("GET", url, headers=headers, timeout=120) as answer:
        assert answer.status_code == 200, answer.read()
        for chunk in answer.iter_bytes():
            hasher.update(chunk)
    return hasher.hexdigest()


def test_a_large_file_is_never_in_memory(programs, tmp_path):
    server = programs.api(hub="true").start()
    random = np.random.default_rng(0)
    one, other = ((random.standard_normal(ROWS * ROWS, np.float32) * 0.02).view("<u4") >> 16 for _ in range(2))
    same, changed = one.astype("<u2").tobytes(), other.astype("<u2").tobytes()
    base = model(tmp_path / "base", [same] * COUNT)
    tuned = model(tmp_path / "tuned", [same] * (COUNT - 1) + [changed])
    config = ClientConfig(server=server.url, token=server.token, cache_dir=tmp_path / "cache")
    with Client(config) as client:
        client.bases.push(base, "large")
        client.push(tuned, "team/large", base="large")
    headers = {"Authorization": f"Bearer {server.token}"}
    digests = {
        "large/resolve/main": sha256_of(base / "model.safetensors"),
        "team/large/resolve/v1": sha256_of(tuned / "model.safetensors"),
    }
    httpx.get(f"{server.url}/large/resolve/main/config.json", headers=headers)
    before = peak_bytes(server.process.pid)

    started = time.monotonic()
    for path, digest in digests.items():
        assert fetched(f"{server.url}/{path}/model.safetensors", headers) == digest
    speed = 2 * COUNT * TENSOR_BYTES / (time.monotonic() - started)
    alone = peak_bytes(server.process.pid) - before
    url = f"{server.url}/team/large/resolve/v1/model.safetensors"
    with ThreadPoolExecutor(CLIENTS) as pool:
        found = set(pool.map(lambda _: fetched(url, headers), range(CLIENTS)))
    together = peak_bytes(server.process.pid) - before

    print(
        f"\n{COUNT * TENSOR_BYTES / MIB:.0f} MiB a file, {speed / MIB:.0f} MiB/s: "
        f"{alone / MIB:.0f} MiB more for one, "
        f"{together / MIB:.0f} MiB more for {CLIENTS}"
    )
    assert found == {digests["team/large/resolve/v1"]}
    assert alone < 100 * MIB
    assert together < 60 * MIB * CLIENTS
