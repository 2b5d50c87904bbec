"""A write of the hub's client whose server or client is killed: nothing or one version comes of it.

The writes are the requests that clients make, one by one, so that each gap between two is met; and
the installed client, killed whenever it pleases.
"""

import base64
import hashlib
import json
import os
import random
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from deltareg.errors import NotFound
from tests.hub.conftest import BASE, LORA
from tests.hub.test_xet import chunk_of, shard_of

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(1_800)]
FILES = {path.name: path.read_bytes() for path in sorted(LORA.iterdir())}
LARGE = "adapter_model.safetensors"
XORB = "ab" * 32
STEP = 100_000


def sha256_of(raw):
    return hashlib.sha256(raw).hexdigest()


class Write:
    """The requests of a push, in their order; each gives what the next needs."""

    def __init__(self, server, line):
        headers = {"Authorization": f"Bearer {server.token}"}
        self.http = httpx.Client(base_url=server.url, headers=headers, timeout=120)
        self.line, self.place, self.ticket, self.commit = line, "", "", ""

    def close(self):
        self.http.close()

    def create(self):
        owner, name = self.line.split("/")
        asked = {"name": name, "organization": owner, "type": "model"}
        return self.http.post("/api/repos/create", json=asked)

    def preupload(self):
        files = [{"path": p, "size": len(raw), "sample": ""} for p, raw in FILES.items()]
        return self.http.post(f"/api/models/{self.line}/preupload/main", json={"files": files})

    def token(self):
        answer = self.http.get(f"/api/models/{self.line}/xet-write-token/main")
        told = answer.json()
        self.place, self.ticket = httpx.URL(told["casUrl"]).path, told["accessToken"]
        return answer

    def xorb(self):
        raw = FILES[LARGE]
        chunks = [chunk_of(raw[at : at + STEP]) for at in range(0, len(raw), STEP)]
        return self._send(f"v1/xorbs/default/{XORB}", b"".join(chunks))

    def shard(self):
        raw = FILES[LARGE]
        term = (XORB, len(raw), 0, -(-len(raw) // STEP))
        return self._send("v1/shards", shard_of((sha256_of(raw), [term])))

    def finish(self):
        lines = [{"key": "header", "value": {"summary": "s"}}]
        for path, raw in FILES.items():
            if path == LARGE:
                value = {"path": path, "oid": sha256_of(raw), "size": len(raw), "algo": "sha256"}
                lines.append({"key": "lfsFile", "value": value})
            else:
                content = base64.b64encode(raw).decode()
                lines.append({"key": "file", "value": {"path": path, "content": content}})
        body = "\n".join(map(json.dumps, lines))
        answer = self.http.post(f"/api/models/{self.line}/commit/main", content=body)
        self.commit = answer.json().get("commitOid", "")
        return answer

    def _send(self, path, raw):
        headers = {"Authorization": f"Bearer {self.ticket}"}
        return self.http.post(f"{self.place}/{path}", content=raw, headers=headers)


STEPS = (Write.create, Write.preupload, Write.token, Write.xorb, Write.shard, Write.finish)


def write(server, line, *, steps=6):
    """Make the first so many requests of a push; all give 200, or 409 for what is there."""
    one = Write(server, line)
    try:
        for step in STEPS[:steps]:
            answer = step(one)
            assert answer.status_code in {200, 409}, (step.__name__, answer.text)
        return one.commit
    finally:
        one.close()


@pytest.fixture
def server(processes):
    return processes.api(hub="true").start()


def prepare(server, folder):
    """Put the base there and a peer; count the objects that are stored then."""
    with server.client(folder) as client:
        client.bases.push(BASE, "tinyllama", hub_ids=["bases/tinyllama"])
        peer = client.push(LORA, "team/peer", base="tinyllama").version.digest
        client.storage.collect(dry_run=False, grace_s=0)
    return peer, count(server)


def count(server):
    return sum(path.is_file() for path in (server.blobs / "blobs").rglob("*"))


def check_one_version(server, folder, line, peer, stored):
    """Hold that there is the one version, and that nothing staged outlives the grace."""
    with server.client(folder) as client:
        assert client.show(f"{line}:v1").digest == peer
        with pytest.raises(NotFound):
            client.show(f"{line}:v2")
        client.storage.collect(dry_run=False, grace_s=0)
        assert client.storage.fsck().findings == []
    assert count(server) == stored, "a version of equal tensors stores none of its own"


def test_the_server_is_killed_between_two_requests(server, tmp_path):
    peer, stored = prepare(server, tmp_path / "cache")

    for steps in range(1, len(STEPS) + 1):
        line = f"team/gap{steps}"
        write(server, line, steps=steps)
        server.kill()
        server.start()
        commit = write(server, line)
        assert peer.startswith(f"sha256:{commit}")
        check_one_version(server, tmp_path / "cache", line, peer, stored)


def test_the_server_is_killed_within_a_request(server, tmp_path):
    peer, stored = prepare(server, tmp_path / "cache")
    chance = random.Random(5)

    for steps in range(3, len(STEPS) + 1):
        line = f"team/cut{steps}"
        write(server, line, steps=steps - 1)
        child = os.fork()
        if not child:
            with suppress(BaseException):
                write(server, line, steps=steps)
            os._exit(0)
        time.sleep(chance.uniform(0.01, 0.6))
        server.kill()
        os.waitpid(child, 0)
        server.start()
        write(server, line)
        check_one_version(server, tmp_path / "cache", line, peer, stored)


def test_a_client_that_dies_leaves_nothing_behind(server, tmp_path):
    peer, stored = prepare(server, tmp_path / "cache")

    for steps in range(1, len(STEPS)):
        write(server, f"team/left{steps}", steps=steps)
    assert count(server) > stored
    with server.client(tmp_path / "cache") as client:
        client.storage.collect(dry_run=False, grace_s=0)

    assert count(server) == stored
    with server.client(tmp_path / "cache") as client, pytest.raises(NotFound):
        client.show("team/left5")
    assert peer.startswith(f"sha256:{write(server, 'team/left5')}")


def test_the_installed_client_is_killed_at_any_time(server, tmp_path):
    """With a file of 40 MiB, which it sends by Xet; then it pushes again."""
    _, stored = prepare(server, tmp_path / "cache")
    folder, chance = tmp_path / "out", random.Random(6)
    folder.mkdir()
    for name, raw in FILES.items():
        (folder / name).write_bytes(raw)
    entry = {"dtype": "U8", "shape": [40 << 20], "data_offsets": [0, 40 << 20]}
    head = json.dumps({"padding": entry}).encode()
    large = struct.pack("<Q", len(head)) + head + chance.randbytes(40 << 20)
    (folder / "extra.safetensors").write_bytes(large)
    environ = {"PATH": os.environ["PATH"], "HF_ENDPOINT": server.url, "HF_TOKEN": server.token}
    program = [Path(sys.executable).with_name("hf"), "upload", "team/any", folder]

    def push(number):
        (home := tmp_path / f"home{number}").mkdir()
        return subprocess.Popen(
            program, env=environ | {"HOME": str(home)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    for number in range(8):
        running = push(number)
        with suppress(subprocess.TimeoutExpired):
            running.wait(chance.uniform(1.0, 8.0))
        running.kill()
        running.wait()
    (folder / "extra.safetensors").unlink()
    assert push(9).wait(300) == 0

    with server.client(tmp_path / "cache") as client:
        assert client.show("team/any:v1").digest == client.show("team/peer:v1").digest
        with pytest.raises(NotFound):
            client.show("team/any:v2")
        client.storage.collect(dry_run=False, grace_s=0)
    assert count(server) == stored
