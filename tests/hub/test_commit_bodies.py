"""Bodies of commits that somebody made up: each is read or refused, no lie of them is kept."""

import base64
import hashlib
import io
import json
import os
import random
from copy import deepcopy

import pytest

from deltareg.api.hub.commit_body import INLINE_BYTES, read_commit
from deltareg.errors import InvalidInput, QuotaExceeded

SEEDS = [
    {"key": "header", "value": {"summary": "s", "description": "d", "parentCommit": "ab"}},
    {"key": "file", "value": {"path": "a.json", "content": "e30=", "encoding": "base64"}},
    {"key": "lfsFile", "value": {"path": "m.safetensors", "algo": "sha256", "size": 9, "oid": "ab" * 32}},
    {"key": "deletedFile", "value": {"path": "b.json"}},
    {"key": "deletedFolder", "value": {"path": "c/"}},
]
ODD = [
    None,
    True,
    -1,
    1 << 70,
    1.5,
    "",
    "\0",
    "../x",
    "/etc/passwd",
    "a" * 2_000,
    [],
    {},
    "\ud800",
    "é",
    "=",
    "e30",
    ["x"] * 9,
    {"path": "x"},
    "deletedEntry",
    "NaN",
]


def made_up(chance):
    """Make a body by breaking a good one, in its values or in its bytes."""
    lines = []
    for _ in range(chance.randrange(6)):
        line = json.loads(json.dumps(chance.choice(SEEDS)))
        for _ in range(chance.randrange(3)):
            part = line if chance.random() < 0.3 else line["value"]
            if isinstance(part, dict) and part:
                part[chance.choice(list(part))] = deepcopy(chance.choice(ODD))
            if not isinstance(line.get("value"), dict):
                break
        lines.append(json.dumps(line).encode())
    raw = bytearray(b"\n".join(lines))
    for _ in range(chance.randrange(4) if raw and chance.random() < 0.5 else 0):
        at = chance.randrange(len(raw))
        raw[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(4))
    return bytes(raw)


def read(raw):
    kept = {}
    found = read_commit(io.BytesIO(raw), stage=lambda sha256, body: kept.update({sha256: body}))
    assert all(hashlib.sha256(body).hexdigest() == sha256 for sha256, body in kept.items())
    assert all(0 <= entry.size_bytes < 1 << 62 for entry in found.files.values())
    assert all(len(entry.sha256) == 64 for entry in found.files.values())


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.soak)])
def test_a_body_is_read_or_refused(count):
    chance = random.Random(int(os.environ.get("PYTEST_SEED", "17")))
    outcomes = {"read": 0, "refused": 0}

    for _ in range(count):
        try:
            read(made_up(chance))
        except (InvalidInput, QuotaExceeded):
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1

    assert min(outcomes.values()) > count // 10


def test_more_than_a_commit_may_carry_is_refused_before_it_is_decoded():
    part = base64.b64encode(bytes(INLINE_BYTES // 2 + 1)).decode()
    line = json.dumps({"key": "file", "value": {"path": "a.json", "content": part}}).encode()

    with pytest.raises(QuotaExceeded, match="at most 33554432 bytes"):
        read(line + b"\n" + line)
    with pytest.raises(QuotaExceeded):
        read(b'{"key": "file", "value": {"path": "a", "content": "' + b"A" * (45 << 20))


@pytest.mark.parametrize("depth", [10_000])
def test_what_is_nested_without_end_is_refused(depth):
    with pytest.raises(InvalidInput):
        read(b'{"key":' * depth)
