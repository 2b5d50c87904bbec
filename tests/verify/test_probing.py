"""The process behind `deltareg probe`: what it computes, writes, and refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from deltareg.client.folders.array_file import read_arrays as read_arrays_of
from deltareg.errors import IntegrityFailure, InvalidInput, NotFound, Refused
from deltareg_verify.entry import main
from deltareg_verify.workbench.probing import ProbeRequest, run
from tests.verify.bench import SAMPLES, read_arrays, sample_base

IDS = read_arrays(SAMPLES / "probes.safetensors")["input_ids"]


@pytest.fixture
def wanted(tmp_path, cache_dir):
    """Ask for the logits of a LoRA on its base."""
    save_file({"input_ids": IDS}, tmp_path / "in.safetensors")
    return ProbeRequest(
        delta=SAMPLES / "deltas/tinyllama/lora",
        base=sample_base("tinyllama"),
        inputs=tmp_path / "in.safetensors",
        out=tmp_path / "out.safetensors",
        cache=cache_dir,
        device="cpu",
    )


def computed(wanted):
    run(wanted)
    return load_file(wanted.out)["logits"]


def test_folded_and_attached_are_two_ways_to_one_result(wanted):
    attached = computed(wanted)
    folded = computed(replace(wanted, is_folded=True))

    assert 0 < np.max(np.abs(attached - folded)) <= 1e-4


def test_only_what_is_included_changes(wanted):
    whole = computed(wanted)
    some = computed(replace(wanted, include=("model.layers.0", "*.1.self_attn.q_proj")))
    all_of_it = computed(replace(wanted, include=("*",)))

    assert np.max(np.abs(whole - some)) > 1e-3
    assert np.array_equal(whole, all_of_it)


def test_a_file_that_is_there_is_replaced_whole(wanted):
    wanted.out.write_bytes(b"something else")

    assert run(wanted)["outputs"] == {"logits": list(load_file(wanted.out)["logits"].shape)}
    assert sorted(p.name for p in wanted.out.parent.iterdir()) == ["in.safetensors", "out.safetensors"]


def test_the_process_says_one_document(wanted):
    ended = CliRunner().invoke(main, ["probe", wanted.encode().decode()])

    assert ended.exit_code == 0, ended.output
    assert list(json.loads(ended.stdout)["outputs"]) == ["logits"]


def test_the_process_says_what_is_wrong(wanted):
    ended = CliRunner().invoke(main, ["probe", replace(wanted, include=("*.h.0",)).encode().decode()])

    assert ended.exit_code == 1
    assert json.loads(ended.stdout)["error"]["code"] == "invalid_input"


def test_tokens_that_the_network_does_not_have_are_refused(wanted):
    save_file({"input_ids": IDS + 10_000}, wanted.inputs)

    with pytest.raises(InvalidInput, match="none of the 384 tokens"):
        run(wanted)
    assert not wanted.out.exists()


def test_inputs_that_the_network_does_not_take_are_named(wanted):
    save_file({"input_ids": IDS, "pixels": IDS}, wanted.inputs)

    with pytest.raises(InvalidInput, match="does not take an input 'pixels'"):
        run(wanted)


def test_a_stored_delta_that_is_refused_now_is_damage(wanted, tmp_path):
    folder = tmp_path / "delta"
    folder.mkdir()
    for path in wanted.delta.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors.popitem()
    save_file(tensors, folder / "adapter_model.safetensors")

    with pytest.raises(IntegrityFailure, match="refused now"):
        run(replace(wanted, delta=folder))


def test_an_output_that_cannot_be_written_is_told(wanted, tmp_path):
    with pytest.raises(InvalidInput, match="cannot be written"):
        run(replace(wanted, out=tmp_path / "no" / "folder" / "out.safetensors"))


@pytest.mark.parametrize("dtype", [np.int32, np.float16, np.bool_])
def test_inputs_keep_what_they_hold(tmp_path, dtype):
    values = np.arange(6).reshape(2, 3).astype(dtype)
    save_file({"x": values}, tmp_path / "in.safetensors")

    read = read_arrays_of(tmp_path / "in.safetensors")["x"]

    assert read.dtype == (np.float32 if dtype is np.float16 else dtype)
    assert np.array_equal(read, values)


def test_inputs_are_never_unpickled(tmp_path):
    (tmp_path / "in.safetensors").write_bytes(b"\x80\x04N.")

    with pytest.raises(Refused):
        read_arrays_of(tmp_path / "in.safetensors")
    with pytest.raises(NotFound):
        read_arrays_of(tmp_path / "gone.safetensors")
