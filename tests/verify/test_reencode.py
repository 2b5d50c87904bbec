"""A worker stores versions anew: over HTTP, with bases of its own machine, without a child."""

import pytest

from deltareg.errors import Inconclusive
from deltareg_verify.supervisor.materials import MaterialSource
from deltareg_verify.supervisor.options import WorkerOptions
from deltareg_verify.supervisor.stop import StopSignal
from deltareg_verify.supervisor.worker import Worker
from tests.client.checkpoints import LINE, write_run
from tests.client.test_references import depths, pushed
from tests.e2e.test_data_path import same_files
from tests.proving import prove_one, prover_of
from tests.verify.desk import unused


def nothing(grant, into, *, is_anew):
    """Bring nothing to prove: these runs come to nothing, and the next one is taken."""
    raise Inconclusive(f"{grant.ref or grant.base.name} is not proven here")


class NoChildren:
    """Nobody: a re-encode run has no need of them."""

    def run(self, request, *, wall_s, interrupted, heard):
        raise AssertionError("a child was asked for")


@pytest.fixture
def worker(local_registry, tmp_path):
    """Make a worker over HTTP that does one run, with bases of its own machine or none."""
    client = local_registry.client(("read", "verify"), principal="worker", kind="wrk")

    def make(*base_dirs):
        stock = MaterialSource(client, base_dirs=base_dirs)
        options = WorkerOptions(
            name="w1",
            gpu="cpu",
            base_dirs=base_dirs,
            scratch=tmp_path / "scratch",
            lease_wait_s=0,
            run_timeout_s=60,
            stop_grace_s=0,
            threads=1,
            memory_bytes=0,
            is_once=True,
        )
        return Worker(
            registry=client,
            gather=stock.gather,
            reencode=stock.reencode,
            children=NoChildren(),
            stored=nothing,
            open_reference=unused,
            options=options,
            device="cpu",
            labels={},
            stop=StopSignal(0.0),
        )

    return make


@pytest.fixture
def registered(local_registry, tmp_path):
    """Push a checkpoint of a base that is registered and nowhere to be found; give both."""
    base, first = write_run(tmp_path / "run", 1)
    local_registry.client().bases.register(base, "base")
    base = base.rename(tmp_path / "hidden")
    pushed(local_registry.client(), [first])
    local_registry.verified(f"{LINE}:v1")
    return base, first


def runs_of(server):
    return [run for run in server.client().runs.list().items if run.what == "reencode"]


def test_a_version_is_stored_anew_with_the_base_of_the_workers_machine(local_registry, registered, worker, tmp_path):
    base, first = registered

    worker(base).serve()

    (run,) = runs_of(local_registry)
    assert (run.state, run.worker) == ("done", "w1")
    assert run.stored_bytes.after < run.stored_bytes.before
    assert list((tmp_path / "scratch").iterdir()) == []
    base.rename(tmp_path / "run" / "base")
    prove_one(prover_of(local_registry), run.proof_run)
    assert max(depths(local_registry, f"{LINE}:v1")) == 1
    client = local_registry.client()
    client.pull(f"{LINE}:v1", tmp_path / "out")
    assert same_files(tmp_path / "out", first)


def test_a_worker_without_the_base_gives_the_run_back(local_registry, registered, worker):
    worker().serve()

    (run,) = runs_of(local_registry)
    assert (run.state, run.attempt) == ("queued", 1)
    assert "is not stored" in run.error
    assert local_registry.client().show(f"{LINE}:v1").verdict == "pass"


def test_a_flattened_version_is_one_reference_deep(local_registry, worker, tmp_path):
    base, *run = write_run(tmp_path / "run", 2)
    client = local_registry.client()
    client.bases.push(base, "base")
    pushed(client, run)
    for number in (1, 2):
        local_registry.verified(f"{LINE}:v{number}")
    queued = client.versions.flatten(f"{LINE}:v2")

    worker().serve()

    done = client.runs.wait(queued.id, timeout_s=60)
    assert done.state == "done"
    prove_one(prover_of(local_registry), done.proof_run)
    assert max(depths(local_registry, f"{LINE}:v2")) == 1
