"""What others sent is decoded in a child: the supervisor gets files, and holds them to digests."""

import filecmp
import os

import pytest

from deltareg.client.cache.cache import Cache
from deltareg.errors import DeltaregError, Inconclusive, IntegrityFailure
from deltareg.wire import CheckResult, LeaseRequest
from deltareg_verify.child.proving import ProofAssignment
from deltareg_verify.messages.report import ReportWriter
from deltareg_verify.supervisor.decoding import ChildDecoder
from deltareg_verify.supervisor.materials import MaterialSource
from deltareg_verify.supervisor.options import WorkerOptions
from deltareg_verify.supervisor.stop import StopSignal
from tests.fixtures.registries import SAMPLES
from tests.proving import push_lie, zeros_of

BASE, FULL = SAMPLES / "bases" / "tinyllama", SAMPLES / "deltas" / "tinyllama" / "full"
LORA = SAMPLES / "deltas" / "tinyllama" / "lora"


@pytest.fixture
def options(tmp_path):
    return WorkerOptions(
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


@pytest.fixture
def worker(local_registry, zygote, options):
    """Make a worker's client, whose bytes a real child decodes; note where it wrote them."""
    client = local_registry.client(("read", "verify"), principal="worker", kind="wrk")
    decoder, delivered = ChildDecoder(zygote, options, StopSignal(0.0)), []

    def decode(stored, into):
        delivered.append(into)
        decoder(stored, into)

    client.decode_with(decode)
    client.delivered = delivered
    return client


def lease(client):
    grant = client.lease(LeaseRequest(worker="w1", what=["verify"]))
    assert grant is not None
    return grant


def test_a_version_and_its_base_come_through_a_child(local_registry, worker, options, tmp_path):
    owner = local_registry.client()
    owner.bases.push(BASE, "tinyllama")
    owner.push(FULL, "team/full", base="tinyllama")

    found = MaterialSource(worker, base_dirs=()).gather(lease(worker), tmp_path)

    assert len(worker.delivered) == 2
    for folder, given in ((BASE, found.base), (FULL, found.delta)):
        names = [path.name for path in given.iterdir()]
        assert names
        assert filecmp.cmpfiles(folder, given, names, shallow=False)[0] == names
    assert list(options.scratch.iterdir()) == []


def test_a_lie_gives_no_files_and_ends_no_worker(local_registry, worker, tmp_path):
    owner = local_registry.client()
    owner.bases.push(BASE, "tinyllama")
    lie = zeros_of(LORA, tmp_path / "lie")
    push_lie(owner, LORA, lie, "team/lora", base="tinyllama")
    (tmp_path / "run").mkdir()

    with pytest.raises(DeltaregError, match="blake3") as refused:
        MaterialSource(worker, base_dirs=()).gather(lease(worker), tmp_path / "run")

    assert refused.type is IntegrityFailure
    assert not (tmp_path / "run" / "delta").exists()


class Rogue:
    """A child that does something else with the folder, and says that all is well."""

    def __init__(self, does):
        self._does = does

    def run(self, request, *, wall_s, interrupted, heard):
        assignment = ProofAssignment.decode(request.partition(b" ")[2])
        self._does(assignment.delivery)
        reason = interrupted()
        if reason:
            raise Inconclusive(reason)
        hears, speaks = os.pipe()
        with os.fdopen(speaks, "wb") as pipe:
            speaker = ReportWriter(pipe)
            speaker.check(CheckResult(name="stored", value=1, verdict="pass"))
            speaker.end(dtype="", sandbox="", environment={})
        with os.fdopen(hears, "rb") as words:
            return words.read()


def fill(folder):
    (folder / "much").write_bytes(os.urandom(32 << 20))


def link(folder):
    for path in LORA.iterdir():
        (folder / path.name).symlink_to(path)


ROGUES = {
    "nothing": (lambda _: None, IntegrityFailure),
    "other bytes": (lambda folder: (folder / "adapter_config.json").write_text("{}"), IntegrityFailure),
    "links": (link, IntegrityFailure),
    "a pipe beside them": (lambda folder: os.mkfifo(folder / "pipe"), IntegrityFailure),
    "more than there is room for": (fill, Inconclusive),
}


@pytest.mark.parametrize("does", ROGUES)
def test_a_child_that_was_taken_over_delivers_nothing(local_registry, options, does, tmp_path):
    act, error = ROGUES[does]
    local_registry.line("lora")
    client = local_registry.client(("read", "verify"), principal="worker", kind="wrk")
    client.decode_with(ChildDecoder(Rogue(act), options, StopSignal(0.0)))

    with pytest.raises(error):
        client.pull("team/lora:v1", tmp_path / "out")

    assert not (tmp_path / "out").exists()
    assert list(Cache(client.config.cache_dir).path.glob("**/chunks")) == []
