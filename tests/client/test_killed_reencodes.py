"""Workers that are killed (SIGKILL) amid a re-encode: the old form stands or the new one does."""

import subprocess
import sys

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read, write
from tests.client.checkpoints import LINE, write_run
from tests.client.reencoding import WORKER, claim, work
from tests.client.test_references import depths
from tests.e2e.test_data_path import same_files

REF = f"{LINE}:v3"

# Does one re-encode run and dies at a request: as it is about to be sent, or when it is answered.
KILLED_WORKER = """
import os, signal, sys
from pathlib import Path
from deltareg.client import ClientConfig, WorkerClient
from deltareg.wire import LeaseRequest
server, token, folder, at, part = sys.argv[1:]
def die(message):
    request = message if at == "request" else message.request
    if part in request.url.path:
        os.kill(os.getpid(), signal.SIGKILL)
config = ClientConfig(server=server, token=token, cache_dir=Path(folder) / "cache", concurrency=1)
with WorkerClient(config) as client:
    hooks = {"request": [], "response": []}
    client._api._http.event_hooks = hooks | {at: [die]}
    grant = client.lease(LeaseRequest(worker="w1", what=["reencode"]))
    scratch = Path(folder) / "scratch"
    scratch.mkdir()
    with client.bases.fetch(grant.base) as base:
        client.complete_reencode(grant.run, client.reencode(grant, base, scratch))
"""


@pytest.fixture
def server(registry_server):
    return registry_server


@pytest.fixture
def run(server, tmp_path):
    """Push a base and three checkpoints, and ask for the last to be flattened."""
    base, *checkpoints = write_run(tmp_path / "run", 3)
    server.pushed(base, *checkpoints, line=LINE)
    server.client().versions.flatten(REF)
    return checkpoints


def killed(server, folder, at, part):
    """Let a worker die at a request of its run; give its exit status and what it said."""
    folder.mkdir()
    token = server.token(*WORKER, principal="killed", kind="wrk")
    command = [sys.executable, "-c", KILLED_WORKER, server.url, token, str(folder), at, part]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stderr


def let_leases_run_out(server):
    with write(server.registry.engine) as conn:
        conn.execute(
            sa.update(t.runs).where(t.runs.c.state == "running").values(lease_expires_at=0)
        )


def states(server):
    with read(server.registry.engine) as conn:
        query = sa.select(t.runs.c.state, t.runs.c.attempt).where(t.runs.c.what == "reencode")
        return [tuple(row) for row in conn.execute(query)]


def assert_whole(server, folder, out):
    """Pull as somebody with an empty cache, and let the registry look through its store."""
    client = server.client()
    client.pull(REF, out)
    assert same_files(out, folder)
    assert client.storage.fsck(read_data=True).findings == []


@pytest.mark.parametrize(
    ("at", "part"),
    [
        ("response", ":upload"), ("request", "/packs/"), ("response", "/packs/"),
        ("request", ":replace"),
    ],
    ids=["upload-open", "before-a-pack", "after-a-pack", "before-the-report"],
)  # fmt: skip
def test_a_worker_killed_before_its_report_changes_nothing(server, run, tmp_path, at, part):
    before = server.client().show(REF).stored_bytes

    status, said = killed(server, tmp_path / "killed", at, part)

    assert status == -9, said
    assert states(server) == [("running", 1)]
    assert server.client().show(REF).stored_bytes == before
    assert max(depths(server, REF)) == 3
    assert_whole(server, run[2], tmp_path / "meanwhile")

    worker = server.client(WORKER, principal="worker", kind="wrk")
    assert claim(worker, name="w2") is None, "the lease of the dead one still runs"
    let_leases_run_out(server)
    done = work(worker, name="w2")

    assert (done.state, done.attempt, done.worker) == ("done", 2, "w2")
    assert max(depths(server, REF)) == 1
    server.client().storage.collect(dry_run=False, grace_s=0)
    assert_whole(server, run[2], tmp_path / "after")


def test_a_worker_killed_when_it_is_answered_has_done_its_work(server, run, tmp_path):
    status, said = killed(server, tmp_path / "killed", "response", ":replace")

    assert status == -9, said
    assert states(server) == [("done", 1)]
    assert max(depths(server, REF)) == 1
    server.client().storage.collect(dry_run=False, grace_s=0)
    assert_whole(server, run[2], tmp_path / "after")
    assert claim(server.client(WORKER, principal="worker", kind="wrk"), name="w2") is None
