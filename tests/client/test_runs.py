"""Waiting: for runs and for work, answered when something changes or the time is up."""

import threading
import time
from uuid import UUID

import pytest

from deltareg.errors import Blocked, Conflict, InvalidInput, LeaseLost, NotFound, WaitTimeout
from deltareg.wire import LeaseHold, LeaseRequest, RunFailure, VerdictInfo
from tests.fixtures.registries import SAMPLES, report
from tests.signers import key_of, sign

LORA = SAMPLES / "deltas" / "tinyllama" / "lora"


@pytest.fixture
def client(local_registry):
    made = local_registry.client()
    made.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
    return made


@pytest.fixture
def worker(local_registry):
    return local_registry.client(("read", "verify"), principal="worker", kind="wrk")


def test_waiting_ends_with_the_run(local_registry, client, worker):
    client.push(LORA, "team/lora", base="tinyllama")
    run, seen = client.verify("team/lora"), []

    thread = threading.Thread(target=lambda: local_registry.verified("team/lora"))
    thread.start()
    ended = client.runs.wait(run.id, timeout_s=30, on_change=lambda now: seen.append(now.state))
    thread.join()

    assert (ended.state, ended.verdict.verdict) == ("done", "pass")
    assert seen[-1] == "done"
    assert seen[0] in {"queued", "running", "done"}


def test_waiting_ends_with_the_time(client):
    client.push(LORA, "team/lora", base="tinyllama")
    run = client.verify("team/lora")
    started = time.monotonic()

    with pytest.raises(WaitTimeout, match="still queued"):
        client.runs.wait(run.id, timeout_s=0.3)

    assert time.monotonic() - started >= 0.3
    assert client.runs.show(run.id).state == "queued"


def test_a_worker_that_waits_hears_of_a_push(client, worker):
    grants = []
    thread = threading.Thread(target=lambda: grants.append(worker.lease(LeaseRequest(worker="w", wait_s=30))))
    thread.start()

    client.push(LORA, "team/lora", base="tinyllama")
    thread.join(30)

    assert grants[0].ref == "team/lora:v1"
    assert grants[0].base.name == "tinyllama"
    assert worker.lease(LeaseRequest(worker="w")) is None


def test_a_lease_is_held_by_its_fence_and_its_principal(local_registry, client, worker):
    client.push(LORA, "team/lora", base="tinyllama")
    grant = worker.lease(LeaseRequest(worker="w"))
    other = local_registry.client(("read", "verify"), principal="other", kind="wrk")
    keys = {worker: key_of("worker"), other: key_of("other")}

    worker.heartbeat(LeaseHold(run=grant.run, fence=grant.fence))
    for who, fence in ((worker, grant.fence + 1), (worker, 0), (other, grant.fence)):
        forged = grant.model_copy(update={"fence": fence})
        with pytest.raises(LeaseLost):
            who.heartbeat(LeaseHold(run=grant.run, fence=fence))
        signed = sign(forged, report(forged), keys[who], worker="w")
        with pytest.raises(LeaseLost):
            who._api.post(f"/runs/{grant.run}:complete", signed, VerdictInfo)
        with pytest.raises(LeaseLost):
            who.fail_run(grant.run, RunFailure(fence=fence, error="x"))

    assert worker.complete_run(grant.run, report(grant)).verdict == "pass"


def test_runs_that_are_not_there_or_over(client, worker):
    client.push(LORA, "team/lora", base="tinyllama")
    run = client.verify("team/lora")
    client._api.send("POST", f"/runs/{run.id}:cancel")

    with pytest.raises(NotFound):
        client.runs.show(str(UUID(int=7)))
    with pytest.raises(InvalidInput, match="not the id of a run"):
        client.runs.show("../deltas")
    with pytest.raises(NotFound):
        client.verify("team/lora", suite="absent")
    with pytest.raises(Conflict):
        client._api.send("POST", f"/runs/{run.id}:cancel")
    client.versions.delete("team/lora:v1")
    with pytest.raises(Blocked, match="deleted"):
        client.verify("team/lora:v1")


def test_the_same_verification_is_queued_once(client):
    client.push(LORA, "team/lora", base="tinyllama")

    ids = {client.verify("team/lora", again=again).id for again in (False, True, False)}

    assert len(ids) == 1
    queued = client.runs.list(state="queued").items
    assert len([run for run in queued if run.what == "verify"]) == 1
