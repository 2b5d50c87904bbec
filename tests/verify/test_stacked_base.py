"""Verifying a version whose base is a version: the base is put together, checked, and run on."""

import shutil

import numpy as np
import pytest

from deltareg.client.fold.version_base import find_push_base, store_version_base
from deltareg.client.folders.base_folder import open_base
from deltareg.errors import Inconclusive
from deltareg.wire import LeaseRequest
from deltareg_verify.messages.assignment import Assignment
from deltareg_verify.messages.report import listen
from deltareg_verify.supervisor.materials import MaterialSource
from tests.verify.bench import SAMPLES, sample_base

DELTAS = SAMPLES / "deltas" / "tinyllama"
COMPUTED = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture
def pusher(local_registry):
    cache = local_registry.folder / "pusher"
    local_registry.step("two lines", lambda: begin(local_registry, cache), folders=[cache])
    return local_registry.client(("read", "push"), cache_dir=cache)


def begin(server, cache):
    client = server.client(("read", "push"), cache_dir=cache)
    client.bases.push(sample_base("tinyllama"), "tinyllama")
    client.push(DELTAS / "lora", "team/tuned", base="tinyllama")
    client.push(DELTAS / "full", "team/sft", base="tinyllama")


@pytest.fixture
def worker(local_registry):
    return local_registry.client(("read", "verify"), principal="worker", kind="wrk")


def lease(worker, ref):
    """Claim runs until the one of a version comes."""
    while grant := worker.lease(LeaseRequest(worker="w1")):
        if grant.ref == ref:
            return grant
    raise AssertionError(f"nothing is queued for {ref}")


def verify(zygote, materials, folder):
    own = folder / "own"
    own.mkdir()
    assignment = Assignment(
        delta=materials.delta,
        manifest=materials.manifest,
        base=materials.base,
        base_manifest=materials.base_manifest,
        model_type=materials.model_type,
        suite=materials.suite_file,
        probes=materials.probes,
        scratch=own,
        device="cpu",
        threads=1,
        wall_s=60.0,
        memory_bytes=0,
        below=materials.below,
    )
    assert Assignment.decode(assignment.encode()) == assignment
    said = listen(zygote.run(b"verify " + assignment.encode(), wall_s=60))
    return {check.name: check for check in said.checks}


def claim(client, folder, change):
    """Store a fold of team/tuned:v1 as a base, with one computed tensor changed."""
    ground = find_push_base(client._context, "team/tuned:v1")
    found = ground.base.folder
    assert ground.version is not None
    assert found is not None
    shutil.copytree(found.path, folder)
    path, header = next(
        (path, header) for path, header in found.folder.files.headers.items() if COMPUTED in header.tensors
    )
    info = header.tensors[COMPUTED]
    raw = bytearray((folder / path).read_bytes())
    data = slice(header.size_bytes + info.begin, header.size_bytes + info.end)
    raw[data] = change(np.frombuffer(raw[data], "<f4").copy()).tobytes()
    (folder / path).write_bytes(raw)
    with open_base(folder, client.cache) as other:
        store_version_base(client._context, ground.version, other)
    ground.base.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "has_recipe"), [("team/tuned:v1", True), ("team/sft:v1", False)], ids=["computed", "stored"]
)
def test_a_version_on_a_version_is_examined_to_the_end(zygote, pusher, worker, tmp_path, base, has_recipe):
    pushed = pusher.push(DELTAS / "lora_qv", "team/chat", base=base).version
    grant = lease(worker, "team/chat:v1")

    materials = MaterialSource(worker, base_dirs=()).gather(grant, tmp_path)
    found = verify(zygote, materials, tmp_path)

    assert grant.base.name == base
    assert str(open_root(materials.base, worker)) == pushed.base.root
    assert (materials.below is not None) == has_recipe
    assert {check.verdict for check in found.values()} <= {"pass", "n/a"}


def test_a_base_with_other_last_bits_is_the_same_fold(zygote, pusher, worker, tmp_path):
    claim(pusher, tmp_path / "claim", lambda values: np.nextafter(values, np.float32(2)))
    pusher.push(DELTAS / "lora_qv", "team/chat", base="team/tuned:v1")

    materials = MaterialSource(worker, base_dirs=()).gather(lease(worker, "team/chat:v1"), tmp_path)

    assert verify(zygote, materials, tmp_path)["digests"].verdict == "pass"


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values * np.float32(1.001),
        lambda values: np.where(values == values[5], np.float32(9), values),
        lambda values: np.full_like(values, np.nan),
    ],
    ids=["a thousandth more", "one value", "nan"],
)
def test_a_base_that_is_not_what_its_version_folds_to_fails(zygote, pusher, worker, tmp_path, change):
    claim(pusher, tmp_path / "claim", change)
    pusher.push(DELTAS / "lora_qv", "team/chat", base="team/tuned:v1")

    materials = MaterialSource(worker, base_dirs=()).gather(lease(worker, "team/chat:v1"), tmp_path)
    found = verify(zygote, materials, tmp_path)["digests"]

    assert (found.verdict, found.code, found.value) == ("fail", "base_mismatch", COMPUTED)


def test_a_stack_whose_foot_is_nowhere_says_what_would_help(local_registry, worker, tmp_path):
    client = local_registry.client(("read", "push"))
    moved = tmp_path / "moved"
    moved.symlink_to(sample_base("tinyllama"))
    client.bases.register(moved, "tinyllama")
    client.push(DELTAS / "full", "team/sft", base="tinyllama")
    client.push(DELTAS / "lora_qv", "team/chat", base="team/sft:v1")
    moved.unlink()

    with pytest.raises(Inconclusive, match="the base tinyllama is registered without"):
        MaterialSource(worker, base_dirs=()).gather(lease(worker, "team/chat:v1"), tmp_path)


def test_a_run_on_a_stack_that_was_deleted_ends_and_ends_no_worker(local_registry, pusher, worker, tmp_path):
    pusher.push(DELTAS / "lora_qv", "team/chat", base="team/sft:v1")
    admin = local_registry.client()
    admin.versions.delete("team/chat:v1")
    admin.versions.delete("team/sft:v1")

    grant = lease(worker, "team/chat:v1")

    with pytest.raises(Inconclusive, match="team/sft:v1"):
        MaterialSource(worker, base_dirs=()).gather(grant, tmp_path)


def open_root(folder, client):
    with open_base(folder, client.cache) as base:
        return base.identity.root
