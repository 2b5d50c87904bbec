"""The trial at the worker's start: what it refuses, what may be accepted, and what it says."""

import os
import sys
import time

import pytest

from deltareg.errors import InvalidInput, Misconfigured
from deltareg_verify.sandbox.escape_trial import accepted_layers, stand_trial
from deltareg_verify.sandbox.zygote import Zygote

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: the layers are its own")
LAYERS_ON_LINUX = {"network", "files", "calls", "limits"}


@pytest.fixture
def trial(tmp_path, repository):
    """Hold a trial of the worker's child, with walls taken down on purpose if so asked."""

    def hold(*walls, accepted=(), memory_bytes=8 << 30):
        (tmp_path / "leak").write_text(" ".join(walls))
        environment = {**os.environ, "PYTHONPATH": str(repository)}
        with Zygote(tmp_path, environment=environment, child="tests.verify.leaky") as zygote:
            return stand_trial(zygote, tmp_path, memory_bytes=memory_bytes, accepted=frozenset(accepted))

    return hold


def test_nothing_gets_out_of_the_sandbox_as_it_is(trial):
    try:
        assert trial() == "none"
    except Misconfigured as error:
        pytest.skip(f"this kernel or container lacks a layer: {error.message}")


@pytest.mark.parametrize(
    ("walls", "escape", "layer"),
    [
        (["calls"], "exec", "calls"),
        (["network", "calls"], "dns", "network"),
        (["files"], "read", "files"),
        (["files", "mount"], "read", "files"),
        (["limits"], "memory", "limits"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else value,
)
def test_a_layer_that_is_said_to_hold_and_does_not_is_refused(trial, walls, escape, layer):
    with pytest.raises(Misconfigured, match=f"escape {escape}.*layer {layer}") as caught:
        trial(*walls)

    assert "the sandbox leaks" in caught.value.message
    assert caught.value.fix


def test_a_leak_is_refused_whatever_is_accepted(trial):
    with pytest.raises(Misconfigured, match="the sandbox leaks"):
        trial("calls", accepted=LAYERS_ON_LINUX)


def test_a_missing_layer_is_refused_with_what_to_do(trial):
    with pytest.raises(Misconfigured, match="without layer files") as caught:
        trial("missing_files")

    assert "read the files of others (read)" in caught.value.message
    assert "write outside its folder (write)" in caught.value.message
    assert "5.13" in caught.value.fix
    assert "DELTAREG_WORKER_ALLOW_ESCAPES='files'" in caught.value.fix


def test_what_is_accepted_is_told(trial, caplog):
    assert set(trial("missing_files", accepted=["files"]).split()) >= {"read", "write", "symlink"}
    assert "accepted: a child can read the files of others" in caplog.text
    assert "kernel or container: no files, mount" in caplog.text


@pytest.mark.soak
def test_the_trial_of_a_warm_zygote_takes_less_than_a_second(tmp_path):
    with Zygote(tmp_path, environment=os.environ) as zygote:
        took = [timed_trial(zygote, tmp_path) for _ in range(4)]

    assert min(took) < 1
    assert not list(tmp_path.glob("run-*"))


def timed_trial(zygote, scratch):
    began = time.monotonic()
    stand_trial(zygote, scratch, memory_bytes=8 << 30, accepted=LAYERS_ON_LINUX)
    return time.monotonic() - began


@pytest.mark.parametrize("text", ["files,network", " network  files ", "files network"])
def test_layers_are_separated_by_spaces_or_commas(text):
    assert accepted_layers(text) == {"files", "network"}


def test_a_layer_that_does_not_exist_is_named():
    with pytest.raises(InvalidInput, match="'walls'") as caught:
        accepted_layers("files walls")

    assert "network files calls limits" in caught.value.fix
