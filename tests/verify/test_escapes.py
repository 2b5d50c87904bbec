"""Twelve escapes: each succeeds outside the sandbox and fails in it, in the same run."""

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from deltareg_verify.sandbox import layers
from deltareg_verify.sandbox.escape_trial import bystanders
from deltareg_verify.sandbox.escapes import ESCAPES, EscapeTargets
from deltareg_verify.sandbox.zygote import Zygote

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: the layers are its own")
NAMES = [escape.name for escape in ESCAPES]
MEMORY_BYTES = 8 << 30


@pytest.fixture(scope="module")
def attempt(tmp_path_factory, repository):
    """Try all twelve with or without the sandbox; gives those that succeeded and its level."""
    folder = tmp_path_factory.mktemp("scratch")
    environment = {**os.environ, "PYTHONPATH": str(repository)}

    def run(zygote, targets, *, is_inside):
        request = {"act": "escape", "targets": targets.encode().decode()}
        if is_inside:
            request |= {"scratch": str(targets.own), "memory_bytes": targets.memory_bytes}
        said = json.loads(zygote.run(json.dumps(request).encode(), wall_s=60))
        return said["result"], said["level"]

    with Zygote(folder, environment=environment, child="tests.verify.hostile") as zygote:
        yield lambda targets, *, is_inside: run(zygote, targets, is_inside=is_inside)


@pytest.fixture
def targets(tmp_path):
    """Set up everything that the escapes are tried on, on this machine alone."""
    own, outside = tmp_path / "own", tmp_path / "outside"
    own.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("secret")
    with bystanders() as (host, resolver), socket.create_server(("127.0.0.1", 0)) as metadata:
        yield EscapeTargets(
            host=host,
            metadata=metadata.getsockname(),
            resolver=resolver,
            own=own,
            outside=outside,
            memory_bytes=MEMORY_BYTES,
            file_bytes=layers.FILE_BYTES,
        )


def is_traceable():
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return not scope.exists() or scope.read_text().strip() == "0" or os.getuid() == 0


def test_all_succeed_outside_and_none_inside(attempt, targets):
    outside, _ = attempt(targets, is_inside=False)
    inside, level = attempt(targets, is_inside=True)

    assert set(NAMES) - set(outside) <= (set() if is_traceable() else {"ptrace"})
    held = set(level.split())
    closed = {escape.name for escape in ESCAPES if held & set(escape.layers)}
    assert set(inside) & closed == set()
    if closed != set(NAMES):
        pytest.skip(f"this kernel or container lacks what closes {sorted(set(NAMES) - closed)}")


def test_an_attempt_leaves_nothing_behind(attempt, targets):
    attempt(targets, is_inside=False)
    attempt(targets, is_inside=True)

    assert [path.name for path in targets.outside.iterdir()] == ["secret"]
    assert list(targets.own.iterdir()) == []


def test_there_are_twelve_and_each_says_what_closes_it():
    assert len(set(NAMES)) == 12
    assert all(set(escape.layers) <= set(layers.LAYERS) for escape in ESCAPES)


def test_without_a_bound_there_is_none_to_break(attempt, targets):
    unbounded = EscapeTargets.decode(json.dumps(json.loads(targets.encode()) | {"memory_bytes": None}).encode())

    assert "memory" not in attempt(unbounded, is_inside=False)[0]
