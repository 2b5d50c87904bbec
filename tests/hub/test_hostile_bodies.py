"""A server that is sent broken bodies of every form refuses them, and stays as large as it was.

Commits, announcements, LFS batches, files for tickets, xorbs, shards, and chunks that unpack to far
more than they say: by a few connections that stay open, to a process of its own.
"""

import hashlib
import json
import random
import re
import struct
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import lz4.frame
import pytest

from tests.hub.conftest import BASE, LORA, member
from tests.hub.test_commit_bodies import ODD, made_up
from tests.hub.test_xet import DIGESTS, SHARD, XORB, broken, chunk_of, shard_of

CONNECTIONS, EACH_LINE = 4, 300
WHOLE = XORB.read_bytes()
OID = hashlib.sha256(b"x").hexdigest()
BATCH = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": OID, "size": 1}]}
ASKED = {"files": [{"path": "a.json", "size": 2, "sample": "e30="}]}
REFUSED = {"commit", "batch", "announce", "ticket", "xorb", "shard", "bomb"}
# What was read, is there already or not any more, is wrong; more than may be on the way.
TOLD = {200, 409, 412, 422, 507}
_COUNT, _TERM = 48 + 36, 96  # in a shard of one file: how many terms it has, and its first
CREATE = {"name": "fuzz", "organization": "trainer", "type": "model"}
# 64 MiB of zeros in a few hundred KiB, said to be one chunk's worth, or all that a chunk may be.
BOMBS = [chunk_of(b"", packed=lz4.frame.compress(bytes(64 << 20)), scheme=1, size=size) for size in (9, 128 << 10)]


class Sender:
    """One connection, which sends to a line until that is full, and then to another."""

    def __init__(self, url, token, number):
        self.chance = random.Random(100 + number)
        headers = {"Authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=120)
        self.number, self.sent = number, 0
        self.told: Counter[tuple[str, int]] = Counter()
        self.forms = (
            self.commit,
            self.batch,
            self.announce,
            self.ticket,
            self.xorb,
            self.shard,
            self.bomb,
            self.create,
        )

    def send(self, count):
        for _ in range(count):
            if self.sent % EACH_LINE == 0:
                self.begin()
            self.sent += 1
            form = self.forms[self.sent % len(self.forms)]
            self.told[form.__name__, form().status_code] += 1

    def begin(self):
        self.line = f"trainer/fuzz-{self.number}-{self.sent}"
        told = self.http.get(f"/api/models/{self.line}/xet-write-token/main").json()
        self.place = httpx.URL(told["casUrl"]).path
        self.key = {"Authorization": f"Bearer {told['accessToken']}"}
        self.post(f"{self.place}/v1/xorbs/default/{XORB.stem}", WHOLE, headers=self.key)

    def post(self, path, raw, **given):
        return self.http.post(path, content=raw, **given)

    def commit(self):
        return self.post(f"/api/models/{self.line}/commit/main", made_up(self.chance))

    def batch(self):
        return self.post(f"/{self.line}.git/info/lfs/objects/batch", self.json(BATCH))

    def announce(self):
        return self.post(f"/api/models/{self.line}/preupload/main", self.json(ASKED))

    def create(self):
        return self.post("/api/repos/create", self.json(CREATE | {"name": self.line[8:]}))

    def ticket(self):
        """Send to an address that was given for other bytes, or more or fewer of them."""
        raw = self.chance.randbytes(self.chance.randrange(4))
        oid = hashlib.sha256(raw if self.chance.random() < 0.5 else b"other").hexdigest()
        size = len(raw) + self.chance.choice([0, 0, 1])
        batch = BATCH | {"objects": [{"oid": oid, "size": size}]}
        answer = self.post(f"/{self.line}.git/info/lfs/objects/batch", json.dumps(batch))
        actions = answer.json()["objects"][0].get("actions")
        if actions is None:  # it was sent before
            return answer
        return self.http.put(httpx.URL(actions["upload"]["href"]).path, content=raw)

    def xorb(self):
        """Let a shard name a xorb that is broken."""
        raw, name = broken(self.chance, WHOLE), self.chance.randbytes(32).hex()
        self.post(f"{self.place}/v1/xorbs/default/{name}", raw, headers=self.key)
        term = (name, 24_000, 0, self.chance.choice([1, 2, 8_000]))
        return self.put_together(shard_of((DIGESTS["text"], [term])))

    def shard(self):
        return self.put_together(broken(self.chance, SHARD))

    def bomb(self):
        """Let a shard name a chunk that unpacks to more than it says, as often as a shard may."""
        raw, name = self.chance.choice(BOMBS), self.chance.randbytes(32).hex()
        self.post(f"{self.place}/v1/xorbs/default/{name}", raw, headers=self.key)
        raw = shard_of((OID, [(name, 128 << 10, 0, 1)]))
        again = self.chance.choice([1, 60_000])
        count = struct.pack("<I", again)
        return self.put_together(
            raw[:_COUNT] + count + raw[_COUNT + 4 : _TERM] + raw[_TERM : _TERM + 48] * again + raw[_TERM + 48 :]
        )

    def put_together(self, raw):
        return self.post(f"{self.place}/v1/shards", raw, headers=self.key)

    def json(self, good):
        """Write a body with odd values in it, or odd bytes."""
        found = json.loads(json.dumps(good))
        inside = next((v[0] for v in found.values() if isinstance(v, list) and v), found)
        for _ in range(self.chance.randrange(3)):
            part = self.chance.choice([found, inside])
            if isinstance(part, dict) and part:
                part[self.chance.choice(list(part))] = self.chance.choice(ODD)
        raw = json.dumps(found).encode()
        return broken(self.chance, raw) if self.chance.random() < 0.3 else raw


@pytest.fixture
def senders():
    """Give what opens the connections to a server; they are closed in the end."""
    opened: list[Sender] = []

    def senders(url, token):
        opened.extend(Sender(url, token, number) for number in range(CONNECTIONS))
        return opened

    yield senders
    for each in opened:
        each.http.close()


def send_all(senders, count):
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(lambda each: each.send(count // CONNECTIONS), senders))
    return sum((each.told for each in senders), Counter())


def by_status(told):
    return Counter({s: sum(n for (_, t), n in told.items() if t == s) for _, s in told})


def test_broken_bodies_are_refused_and_end_nothing(local_hub, senders):
    told = send_all(senders(local_hub.url, member(local_hub, "trainer", "push")), 64)

    assert told.total() == 64
    assert set(by_status(told)) <= TOLD, told
    assert {form for form, status in told if status >= 400} >= REFUSED, told


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_ten_thousand_hostile_bodies_end_no_server_and_make_it_no_larger(programs, senders, tmp_path, figures):
    server = programs.api(hub="true").start()
    opened = senders(server.url, server.token)
    begun = time.monotonic()

    send_all(opened, 1_000)
    before = memory(server)
    told = send_all(opened, 9_000)

    more, took, statuses = memory(server) - before, time.monotonic() - begun, by_status(told)
    text = ", ".join(f"{number} of {status}" for status, number in sorted(statuses.items()))
    figures(
        f"{told.total()} hostile bodies to one server, {CONNECTIONS} connections",
        f"{took:.0f} s: {text}; {before >> 20} MiB after 1,000, {more >> 20} MiB more at the end",
    )
    assert told.total() == 10_000
    assert set(statuses) <= TOLD, told
    assert {form for form, status in told if status >= 400} >= REFUSED, told
    assert {form for form, status in told if status == 200} >= {"commit", "batch", "ticket"}, told
    assert server.process.status is None
    assert "Traceback" not in server.process.errors
    assert more < 64 << 20
    with server.client(tmp_path / "cache") as client:
        client.bases.push(BASE, "tinyllama")
        client.push(LORA, "trainer/after", base="tinyllama")
        client.storage.collect(dry_run=False, grace_s=0)
        assert client.storage.fsck().findings == []


def memory(server):
    """Give how many bytes a server took at most."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (found,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(found) << 10
