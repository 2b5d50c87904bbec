"""A worker proves what is stored: a real child decodes it, in the sandbox, and finds a lie."""

import pytest

from deltareg.errors import Inconclusive
from deltareg.wire import LeaseRequest
from deltareg_verify.messages.report import CheckSurroundings, ChildReport
from deltareg_verify.supervisor.materials import MaterialSource
from deltareg_verify.supervisor.options import WorkerOptions
from deltareg_verify.supervisor.runs.prove import proof_report
from deltareg_verify.supervisor.stop import StopSignal
from deltareg_verify.supervisor.worker import Worker
from tests.fixtures.registries import SAMPLES
from tests.proving import prover_of, push_lie, zeros_of

BASE, LORA = SAMPLES / "bases" / "tinyllama", SAMPLES / "deltas" / "tinyllama" / "lora"
FULL = SAMPLES / "deltas" / "tinyllama" / "full"


@pytest.fixture
def client(local_registry):
    """Make the worker's client."""
    return prover_of(local_registry)


@pytest.fixture
def prove_next(client, zygote, tmp_path):
    """Let a worker take the next run that proves, and give what came of it."""
    stock = MaterialSource(client, base_dirs=())
    options = WorkerOptions(
        name="w1",
        gpu="cpu",
        base_dirs=(),
        scratch=tmp_path / "scratch",
        lease_wait_s=0,
        run_timeout_s=60,
        stop_grace_s=0,
        threads=1,
        memory_bytes=0,
    )
    worker = Worker(
        registry=client,
        gather=stock.gather,
        reencode=stock.reencode,
        children=zygote,
        stored=client.bring_stored,
        open_reference=stock.open_reference,
        options=options,
        device="cpu",
        labels={},
        stop=StopSignal(0.0),
    )

    def prove():
        grant = client.lease(LeaseRequest(worker="w1", what=["prove"]))
        assert grant is not None
        worker.handle(grant)
        return client.runs.show(grant.run)

    return prove


def test_what_was_pushed_is_proven_against_the_base(local_registry, prove_next):
    owner = local_registry.client()
    owner.bases.push(BASE, "tinyllama")
    owner.push(FULL, "team/full", base="tinyllama")

    base, version = prove_next(), prove_next()

    assert (base.base, base.proof) == ("tinyllama", "proven")
    assert (version.ref, version.proof) == ("team/full:v1", "proven")


def test_a_lie_is_looked_at_twice_before_somebody_is_accused(local_registry, prove_next, tmp_path):
    owner = local_registry.client()
    owner.bases.push(BASE, "tinyllama")
    prove_next()
    lie = zeros_of(LORA, tmp_path / "lie")
    push_lie(owner, LORA, lie, "team/lora", base="tinyllama")

    run = prove_next()

    told = [line.text for line in owner.runs.log(run.id).items]
    assert run.proof == "corrupt"
    assert len(run.wrong) == 28, "each tensor is zeros"
    assert sum("wrong" in line for line in told) == 2
    assert owner.show("team/lora:v1").sender == "ada"


def test_a_cache_that_is_damaged_accuses_nobody(local_registry, client, prove_next):
    owner = local_registry.client()
    owner.bases.push(BASE, "tinyllama")
    prove_next()
    owner.push(LORA, "team/lora", base="tinyllama")
    prove_next()
    blobs = [path for path in client.config.cache_dir.rglob("*") if path.is_file() and "blobs" in path.parts]
    assert blobs
    for path in blobs:
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    owner.runs.prove("team/lora:v1", again=True)

    run = prove_next()

    assert run.proof == "proven"


def test_a_child_that_does_not_say_how_much_it_decoded_proves_nothing(local_registry, client):
    local_registry.client().bases.push(BASE, "tinyllama")
    grant = client.lease(LeaseRequest(worker="w1", what=["prove"]))
    assert grant is not None
    surroundings = CheckSurroundings(dtype="", sandbox="", environment={})

    with pytest.raises(Inconclusive):
        proof_report(grant, ChildReport((), surroundings))
