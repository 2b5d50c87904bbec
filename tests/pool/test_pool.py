"""What a pool is asked for: the demand by labels, the size that follows, and one keeper at a time."""

import os
import signal
import stat
import sys

import pytest

from deltareg.client.pool.engine import PoolSize, PoolWorkers, variables_of
from deltareg.client.pool.engines.slurm import SlurmPool
from deltareg.client.pool.keeper import PoolKeeper, only_keeper
from deltareg.errors import Conflict, InvalidInput, Misconfigured, Unavailable
from deltareg.wire import LeaseRequest, PoolDemand
from tests.cli.steps import push
from tests.fixtures.processes import until
from tests.process_table import has_ended


class Slots:
    """An engine that has as many workers as were wanted last."""

    def __init__(self):
        self.asked = []

    def bring_to(self, wanted):
        self.asked.append(wanted)
        return PoolSize(wanted)


def wanted(local_registry, pool, **more):
    return local_registry.client(("read",)).runs.demand(pool, **more)


def test_a_run_counts_for_the_pools_that_it_fits_until_a_worker_of_one_holds_it(user, local_registry):
    ref = push(user)  # two proofs and a verification, which ask for nothing
    user("verify", ref, "--on", "h100")
    h100 = {"device": "cuda", "gpu": "H100", "gpu_memory_gib": "80"}

    before = [wanted(local_registry, "cpu", labels={"device": "cpu"}), wanted(local_registry, "gpu", labels=h100)]
    asked = wanted(local_registry, "gpu", labels=h100, asked=True)
    proofs = wanted(local_registry, "cpu", labels={"device": "cpu"}, what=["prove"])
    worker = local_registry.client(("read", "verify"), principal="worker", kind="wrk")
    worker.lease(LeaseRequest(worker="w", labels={"device": "cpu", "pool": "cpu"}))
    held = until(  # it is looked at twice a second
        lambda: (now := wanted(local_registry, "cpu", labels={"device": "cpu"})).running and now, "it is held"
    )
    other = wanted(local_registry, "gpu", labels=h100)
    counts = [(each.waiting, each.running, each.wanted) for each in before]

    assert counts == [(3, 0, 3), (4, 0, 4)]
    assert (asked.waiting, proofs.waiting) == (1, 2)
    assert [(each.waiting, each.running, each.wanted) for each in (held, other)] == [(2, 1, 3), (3, 0, 3)]


def test_the_demand_is_told_without_a_token_and_wrong_questions_are_refused(local_registry):
    http = local_registry.http()
    http.headers.pop("Authorization", None)

    answer = http.get("/queue/demand", params={"pool": "gpu", "label": "device=cuda"})

    assert answer.json() == {"pool": "gpu", "waiting": 0, "running": 0, "wanted": 0}
    for wrong in ({}, {"pool": "a/b"}, {"pool": "gpu", "label": "device"}, {"pool": "gpu", "what": "x"}):
        assert http.get("/queue/demand", params=wrong).status_code == 422


def test_a_keeper_keeps_its_bounds():
    engine, demands = Slots(), iter((0, 3, 50))
    keeper = PoolKeeper(
        lambda: PoolDemand(pool="p", waiting=0, running=0, wanted=next(demands)), engine, least=1, most=8, every_s=0
    )

    for _ in range(3):
        keeper.step()

    assert engine.asked == [1, 3, 8]


def test_a_keeper_outlives_a_registry_that_does_not_answer():
    told: list[object] = []

    def demand():
        if len(told) == 3:
            raise KeyboardInterrupt
        if len(told) == 1:
            raise Unavailable("gone")
        return PoolDemand(pool="p", waiting=len(told), running=0, wanted=len(told))

    with pytest.raises(KeyboardInterrupt):
        PoolKeeper(demand, Slots(), least=0, most=8, every_s=0).keep(told.append, pause=lambda _: None)

    assert [type(each).__name__ for each in told] == ["PoolLook", "Unavailable", "PoolLook"]


def test_what_a_keeper_has_started_holds_its_lock_when_it_is_killed(tmp_path, programs):
    code = (
        "import os, subprocess, sys, pathlib\n"
        "from deltareg.client.pool.keeper import only_keeper\n"
        "with only_keeper(pathlib.Path(sys.argv[1])):\n"
        "    child = subprocess.Popen(['sleep', '60'], close_fds=False)\n"
        "    print(child.pid, flush=True); os.kill(os.getpid(), 9)\n"
    )
    killed = programs.start("killed", sys.executable, "-c", code, str(tmp_path / "pool"), environ=programs.environ("h"))
    assert killed.wait() == -signal.SIGKILL
    with pytest.raises(Conflict, match="another process keeps this pool"), only_keeper(tmp_path / "pool"):
        pass
    child = int(killed.output)
    os.kill(child, signal.SIGKILL)
    assert has_ended(child)

    with only_keeper(tmp_path / "pool"):
        assert stat.S_IMODE((tmp_path / "pool" / "keeper.lock").stat().st_mode) == 0o600


def test_no_secret_is_handed_to_an_engine():
    environ = {
        "DELTAREG_TOKEN": "drg_wrk_x",
        "DELTAREG_ID_TOKEN_2": "eyJ",
        "HF_TOKEN": "hf_x",
        "DELTAREG_TOKEN_FILE": "/shared/token",
        "DELTAREG_WORKER_KEY_FILE": "/shared/key.pem",
        "AWS_SECRET_ACCESS_KEY": "x",
    }

    assert set(variables_of(environ)) == {"DELTAREG_TOKEN_FILE", "DELTAREG_WORKER_KEY_FILE"}


def test_where_there_is_no_slurm_it_says_where_to_run_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Misconfigured, match="squeue is not installed here"):
        SlurmPool(PoolWorkers("main", ["run"], {}, tmp_path)).bring_to(1)


def test_names_and_labels_are_read_strictly(user):
    for words in (["--pool", "A/b"], ["--offer", "gpu"], ["--offer", "gpu=NVIDIA H100"]):
        assert user("worker", "pool", "slurm", "--most", "1", "--once", *words).status == 2
    assert InvalidInput.exit_code == 2
