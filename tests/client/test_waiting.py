"""What cannot be judged while something that it reads is corrupt is judged once that is whole."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read
from deltareg.errors import Corrupt
from deltareg.wire import LeaseRequest, RunCreate, RunFailure
from tests.client.checkpoints import LINE, write_run
from tests.client.reencoding import WORKER, work
from tests.client.test_healing import flip, packs_of, prove, rewrite
from tests.fixtures.registries import BOTH_DATABASES, ONE_STACK
from tests.proving import prover_of

ADMIN = ("read", "promote", "admin", "break-glass")


@pytest.fixture
def server(registry_server):
    return registry_server


@pytest.fixture
def run(server, tmp_path):
    """Have a base and two checkpoints, the first on `prod`; give the folders of the two.

    What is stored of the second needs nothing of the first.
    """
    base, *checkpoints = write_run(tmp_path / "run", 2)
    server.pushed(base, *checkpoints, line=LINE)
    server.step("proven", lambda: prove(server))
    server.verified(f"{LINE}:v1")
    server.client(ADMIN, principal="root").promote(f"{LINE}:v1", "prod", reason="first")
    server.client().versions.flatten(f"{LINE}:v2")
    work(server.client(WORKER, principal="worker", kind="wrk"), prover_of(server))
    empty_queue(server)
    return checkpoints


def empty_queue(server):
    client = server.client()
    for waiting in client.runs.queue(limit=200).items:
        client.runs.cancel(waiting.id)


def damage(server, number):
    for key in packs_of(server, number):
        rewrite(server.registry.store, key, flip)


def fail(server, run_id):
    """Let a worker try a run until it is dead, as it cannot read what it needs."""
    worker = server.client(WORKER, principal="worker", kind="wrk")
    while (grant := worker.lease(LeaseRequest(worker="w1", what=["verify"], run=run_id))) is not None:
        failure = RunFailure(fence=grant.fence, error="cannot be read", is_unreadable=True)
        worker.fail_run(run_id, failure)
    return server.client().runs.show(run_id)


def packs_of_base(server):
    with read(server.registry.engine) as conn:
        held = sa.select(t.packs.c.physical_key).join(t.base_packs, t.base_packs.c.pack_id == t.packs.c.id)
        return conn.execute(held).scalars().all()


def queued(server):
    runs = server.client().runs.queue(limit=200).items
    return [(one.ref, one.suite) for one in runs if one.what == "verify"]


@BOTH_DATABASES
def test_a_verdict_says_what_it_waits_for_and_is_made_anew_once_that_is_whole(server, run):
    client = server.client()
    damage(server, 1)
    asked = client.runs.create(RunCreate(ref=f"{LINE}:v2", suite="deep", channel="prod"))

    ended = fail(server, asked.id)

    (waits,) = [check for check in ended.verdict.checks if check.name == "waits_for"]
    assert (ended.verdict.verdict, waits.value) == ("inconclusive", f"{LINE}:v1")
    assert f"deltareg push PATH {LINE} --base base" in waits.detail
    assert queued(server) == []
    client.push(run[0], LINE, base="base")
    empty_queue(server)
    client.runs.prove(f"{LINE}:v1")
    prove(server)
    assert client.show(f"{LINE}:v1").proof == "proven"
    assert queued(server) == [(f"{LINE}:v2", "deep")]


@ONE_STACK
def test_the_gate_names_what_has_to_be_healed(server, run):
    client, admin = server.client(), server.client(ADMIN, principal="root")
    admin.channels.set_policy(LINE, "prod", {"suites": ["deep"], "smoke": False}, reason="x")
    damage(server, 1)
    asked = client.runs.create(RunCreate(ref=f"{LINE}:v2", suite="deep", channel="prod"))
    fail(server, asked.id)

    (unmet,) = client.gate(f"{LINE}:v2", "prod").unmet

    assert unmet.rule == "inconclusive"
    assert f"it waits for {LINE}:v1, which is corrupt" in unmet.message
    assert f"deltareg push PATH {LINE} --base base" in unmet.fix


@ONE_STACK
def test_it_is_queued_once_however_often_it_is_proven_again(server, run):
    client = server.client()
    damage(server, 1)
    asked = client.runs.create(RunCreate(ref=f"{LINE}:v2", suite="deep"))
    fail(server, asked.id)
    client.push(run[0], LINE, base="base")
    prove(server)
    assert (f"{LINE}:v2", "deep") in queued(server)
    empty_queue(server)

    client.runs.prove(f"{LINE}:v1", again=True)
    prove(server)

    assert queued(server) == []


@BOTH_DATABASES
def test_what_was_to_judge_a_version_that_turned_out_corrupt_is_queued_again(server, run):
    client = server.client()
    client.runs.create(RunCreate(ref=f"{LINE}:v1", suite="deep"))
    damage(server, 1)
    client.runs.prove(f"{LINE}:v1", again=True)
    prove(server)
    assert client.show(f"{LINE}:v1").proof == "corrupt"
    assert queued(server) == []

    client.push(run[0], LINE, base="base")
    prove(server)

    assert (f"{LINE}:v1", "deep") in queued(server)


@BOTH_DATABASES
def test_no_channel_serves_what_stands_on_a_damaged_base_until_it_is_healed(server, run, tmp_path):
    client, admin = server.client(), server.client(ADMIN, principal="root")
    server.verified(f"{LINE}:v2")
    for key in packs_of_base(server):
        rewrite(server.registry.store, key, flip)
    client.runs.prove(base="base", again=True)
    prove(server)

    for broken in (False, True):
        with pytest.raises(Corrupt, match=r"stands on base base, which is corrupt") as refused:
            admin.channels.promote(f"{LINE}:v2", "prod", reason="x", break_glass=broken)
        assert "deltareg base push PATH base" in refused.value.fix
    assert "corrupt" in {one.rule for one in client.gate(f"{LINE}:v2", "prod").unmet}
    assert client.channels.show(LINE, "prod").unfit[0].rule == "corrupt"

    client.bases.push(tmp_path / "run" / "base", "base")
    prove(server)
    admin.channels.promote(f"{LINE}:v2", "prod", reason="healed")
