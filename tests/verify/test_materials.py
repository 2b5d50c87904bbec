"""Getting a run's materials from a real registry: the version's files, and its base by root."""

import filecmp
import json
import shutil

import pytest

from deltareg.errors import Inconclusive
from deltareg.identity.manifest import Manifest
from deltareg.wire import LeaseRequest, ReferenceGrant
from deltareg_verify.supervisor.base_cache import BaseCache
from deltareg_verify.supervisor.materials import MaterialSource
from tests.verify.bench import SAMPLES, sample_base

DELTA = SAMPLES / "deltas" / "tinyllama" / "lora_qv"


@pytest.fixture
def pusher(local_registry):
    return local_registry.client(("read", "push"))


@pytest.fixture
def worker(local_registry):
    return local_registry.client(("read", "verify"), principal="worker", kind="wrk")


@pytest.fixture
def small_worker(local_registry):
    """A worker whose cache has room for no base beside another."""
    return local_registry.client(("read", "verify"), principal="worker", kind="wrk", cache_max_bytes=1)


@pytest.fixture
def stock(worker):
    """Make the stock of a worker with some base folders."""
    return lambda *base_dirs: MaterialSource(worker, base_dirs=base_dirs)


def lease(worker):
    grant = worker.lease(LeaseRequest(worker="w1"))
    assert grant is not None
    return grant


def push(pusher, *, stored=True, name="tinyllama", folder=None):
    send = pusher.bases.push if stored else pusher.bases.register
    send(folder or sample_base("tinyllama"), name)
    return pusher.push(DELTA, "team/lora", base=name)


def same_files(left, right):
    names = [path.name for path in left.iterdir()]
    return not any(filecmp.cmpfiles(left, right, names, shallow=False)[1:])


def test_the_versions_files_and_manifest_come_as_they_were_pushed(pusher, worker, stock, tmp_path):
    pushed = push(pusher)

    found = stock().gather(lease(worker), tmp_path)

    assert same_files(DELTA, found.delta)
    assert str(Manifest.decode(found.manifest.read_bytes()).digest) == pushed.version.digest
    assert found.model_type == "llama"


def test_a_base_is_fetched_from_the_registry_once(pusher, worker, stock, tmp_path):
    push(pusher)
    grant = lease(worker)
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()

    first = stock().gather(grant, tmp_path / "first")
    second = stock().gather(grant, tmp_path / "second")

    assert same_files(sample_base("tinyllama"), first.base)
    assert first.base == second.base


@pytest.mark.parametrize("inside", [False, True], ids=["the folder", "a folder in it"])
def test_a_base_is_found_in_a_folder_of_the_operators(pusher, worker, stock, tmp_path, inside):
    moved = tmp_path / "gone" / "moved"
    moved.parent.mkdir()
    moved.symlink_to(sample_base("tinyllama"))
    push(pusher, stored=False, folder=moved)
    moved.unlink()  # where it was registered from, it is no more
    folder = SAMPLES / "bases" if inside else sample_base("tinyllama")

    found = stock(folder).gather(lease(worker), tmp_path)

    # The shards hold the same tensors: they are the same base.
    assert found.base.parent == SAMPLES / "bases"
    assert found.base.name in {"tinyllama", "tinyllama_sharded"}


def test_the_place_that_a_registration_names_is_opened_by_nobody_else(pusher, worker, stock, tmp_path):
    """It is on the pusher's machine: what lies there on the worker's is none of the pusher's."""
    push(pusher, stored=False)

    with pytest.raises(Inconclusive, match="no folder here has its root"):
        stock().gather(lease(worker), tmp_path)


def test_a_folder_with_another_base_is_not_taken(pusher, worker, stock, tmp_path):
    push(pusher)

    found = stock(sample_base("tinyllama_other")).gather(lease(worker), tmp_path)

    assert same_files(sample_base("tinyllama"), found.base)


def test_the_same_tensors_with_another_epsilon_are_another_base(pusher, worker, stock, tmp_path, caplog):
    """An operator's folder, and one that the worker fetched before, are no way round it."""
    caplog.set_level("INFO")
    twin = twin_of(sample_base("tinyllama"), tmp_path / "bases" / "twin")
    pusher.bases.push(twin, "aaa")
    worker.bases.fetch("aaa").folder.close()
    push(pusher)
    grant = lease(worker)

    found = stock(tmp_path / "bases").gather(grant, tmp_path)

    assert grant.base.name == "tinyllama"
    assert same_files(sample_base("tinyllama"), found.base)
    assert found.base_identity == grant.base.identity != worker.bases.show("aaa").identity
    assert "the same tensors; config differs: rms_norm_eps" in caplog.text


def test_what_the_child_reads_of_an_operators_folder_is_the_registered_base(pusher, worker, stock, tmp_path):
    """The folder has keys of its own in its config, which change nothing, and code from a hub."""
    push(pusher)
    code = {"auto_map": {"AutoModel": "evil/repo--m.M"}, "use_cache": False}
    folder = twin_of(sample_base("tinyllama"), tmp_path / "mine", **code)

    found = stock(folder).gather(lease(worker), tmp_path)

    told = Manifest.decode(found.base_manifest.read_bytes()).config["config_json"]
    assert found.base == folder
    assert told == (sample_base("tinyllama") / "config.json").read_text()


def twin_of(base, folder, **changed):
    """Copy a base, with another config."""
    shutil.copytree(base, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | (changed or {"rms_norm_eps": 0.25})))
    return folder


def test_a_base_that_is_nowhere_says_what_would_help(pusher, worker, stock, tmp_path):
    moved = tmp_path / "moved"
    moved.symlink_to(sample_base("tinyllama"))
    push(pusher, stored=False, folder=moved)
    moved.unlink()

    with pytest.raises(Inconclusive) as caught:
        stock().gather(lease(worker), tmp_path)

    assert "no folder here has its root blake3:" in caught.value.message
    assert "--base-dir FOLDER" in caught.value.fix


def test_a_version_that_is_not_the_one_of_the_run_is_not_judged(pusher, worker, stock, tmp_path):
    push(pusher)
    grant = lease(worker).model_copy(update={"digest": "sha256:" + "0" * 64})

    with pytest.raises(Inconclusive, match="the run is about sha256:000"):
        stock().gather(grant, tmp_path)


def test_the_version_to_compare_with_comes_with_its_base(pusher, worker, stock, tmp_path):
    version = push(pusher).version
    served = {"promoted": version.ref, "promoted_digest": version.digest}

    found = stock().gather(lease(worker).model_copy(update=served), tmp_path)

    assert found.promoted is not None
    assert same_files(DELTA, found.promoted.delta)
    assert found.promoted.manifest.read_bytes() == found.manifest.read_bytes()
    assert found.promoted.base == found.base


def test_other_versions_to_compare_with_come_each_once(pusher, worker, stock, tmp_path):
    version = push(pusher).version
    named = ReferenceGrant(ref=version.ref, digest=version.digest)
    missing = ReferenceGrant(why="there is no me/x:v9")
    given = {"me/x:v3": named, "best of 5 by accuracy": named, "me/x:v9": missing}

    found = stock().gather(lease(worker).model_copy(update={"references": given}), tmp_path)

    assert found.references.keys() == {"me/x:v3", "best of 5 by accuracy"}
    assert len(set(found.references.values())) == 1
    assert same_files(DELTA, found.references["me/x:v3"].delta)
    assert found.names["me/x:v9"] == "there is no me/x:v9"
    assert found.names["best of 5 by accuracy"] == version.ref


def test_a_version_that_is_not_the_one_that_was_promoted_is_not_compared_with(pusher, worker, stock, tmp_path):
    version = push(pusher).version
    served = {"promoted": version.ref, "promoted_digest": "sha256:" + "0" * 64}

    with pytest.raises(Inconclusive, match="the run is about sha256:000"):
        stock().gather(lease(worker).model_copy(update=served), tmp_path)


def test_both_bases_of_a_comparison_stay_until_the_run_is_over(pusher, small_worker, tmp_path):
    promoted = push_from_afar(pusher, tmp_path, "tinyllama_other")
    lease(small_worker)  # or the next push would leave its run out
    push_from_afar(pusher, tmp_path, "tinyllama")
    served = {"promoted": promoted.ref, "promoted_digest": promoted.digest}
    grant = lease(small_worker).model_copy(update=served)
    mine, others = (BaseCache(small_worker.cache, max_bytes=1) for _ in range(2))
    into = tmp_path / "run"
    into.mkdir()

    found = MaterialSource(small_worker, base_dirs=(), base_cache=mine).gather(grant, into)

    others.trim()
    assert found.promoted is not None
    assert found.base.is_dir()
    assert found.promoted.base.is_dir()
    mine.trim()
    assert not found.base.exists()
    assert not found.promoted.base.exists()


def push_from_afar(pusher, tmp_path, name):
    """Push a delta on a base that is nowhere but in the registry."""
    moved = tmp_path / name
    moved.symlink_to(sample_base(name))
    version = push(pusher, name=name, folder=moved).version
    moved.unlink()
    return version
