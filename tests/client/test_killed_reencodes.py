"""Workers that are killed (SIGKILL) amid a re-encode: the old form stands or the new one does."""

import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read, write
from tests.client.checkpoints import LINE, write_run
from tests.client.reencoding import WORKER, claim, work
from tests.client.test_references import depths
from tests.e2e.test_data_path import same_files
from tests.fixtures.registries import BOTH_DATABASES, BUCKET, BUCKET_MARKS, LOCAL
from tests.proving import prove_one, prover_of

REF = f"{LINE}:v3"

KILLED_WORKER = Path(__file__).with_name("killed_worker.py")


@pytest.fixture
def server(registry_server):
    return registry_server


@pytest.fixture
def run(server, tmp_path):
    """Push a base and three checkpoints, and ask for the last to be flattened."""
    base, *checkpoints = write_run(tmp_path / "run", 3, late=True)
    server.pushed(base, *checkpoints, line=LINE)
    server.client().versions.flatten(REF)
    return checkpoints


@pytest.fixture
def killed(server, processes):
    """Give a function that lets a worker die at a request of its run, and gives how it ended."""

    def run(at, part):
        token = server.token(*WORKER, principal="worker", kind="wrk")
        command = [sys.executable, str(KILLED_WORKER), server.url, token, at, part]
        worker = processes.start("killed", *command, environ=processes.environ("killed"))
        return worker.wait(), worker.errors

    return run


def let_leases_run_out(server):
    with write(server.registry.engine) as conn:
        conn.execute(sa.update(t.runs).where(t.runs.c.state == "running").values(lease_expires_at=0))


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
    ("both_stacks", "at", "part"),
    [
        pytest.param(LOCAL, "response", ":upload", id="upload-open"),
        pytest.param(LOCAL, "request", "/packs/", id="before-a-pack"),
        pytest.param(LOCAL, "response", "/packs/", id="after-a-pack"),
        pytest.param(LOCAL, "request", ":replace", id="before-the-report"),
        # The most that can lie about: every pack, and no row that names one.
        pytest.param(BUCKET, "request", ":replace", id="bucket", marks=BUCKET_MARKS),
    ],
    indirect=["both_stacks"],
)
def test_a_worker_killed_before_its_report_changes_nothing(server, run, killed, tmp_path, at, part):
    before = server.client().show(REF).stored_bytes

    status, said = killed(at, part)

    assert status == -9, said
    assert states(server) == [("running", 1)]
    assert server.client().show(REF).stored_bytes == before
    assert max(depths(server, REF)) == 3
    assert_whole(server, run[2], tmp_path / "meanwhile")

    worker = server.client(WORKER, principal="worker", kind="wrk")
    assert claim(worker, name="w2") is None, "the lease of the dead one still runs"
    let_leases_run_out(server)
    done = work(worker, prover_of(server), name="w2")

    assert (done.state, done.attempt, done.worker) == ("done", 2, "w2")
    assert max(depths(server, REF)) == 1
    server.client().storage.collect(dry_run=False, grace_s=0)
    assert_whole(server, run[2], tmp_path / "after")


@BOTH_DATABASES
def test_a_worker_killed_when_it_is_answered_has_done_its_work(server, run, killed, tmp_path):
    status, said = killed("response", ":replace")

    assert status == -9, said
    assert states(server) == [("done", 1)]
    (done,) = [run for run in server.client().runs.list().items if run.what == "reencode"]
    prove_one(prover_of(server), done.proof_run)
    assert max(depths(server, REF)) == 1
    server.client().storage.collect(dry_run=False, grace_s=0)
    assert_whole(server, run[2], tmp_path / "after")
    assert claim(server.client(WORKER, principal="worker", kind="wrk"), name="w2") is None
