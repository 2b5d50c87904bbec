"""`deltareg probe`: outputs of base and delta, in a file, through the registry."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.cli.steps import SAMPLES, push
from tests.verify.bench import read_arrays

pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
IDS = read_arrays(SAMPLES / "probes.safetensors")["input_ids"]
EXPECTED = read_arrays(SAMPLES / "expected" / "tinyllama" / "lora.safetensors")["logits_attached"]


@pytest.fixture
def inputs(tmp_path):
    save_file({"input_ids": IDS}, tmp_path / "in.safetensors")
    return tmp_path / "in.safetensors"


def probe(user, ref, inputs, *options):
    out = inputs.with_name("out.safetensors")
    ended = user("probe", ref, "--inputs", inputs, "--out", out, "--gpu", "cpu", *options)
    return ended, load_file(out) if out.exists() else None


@pytest.mark.slow
def test_outputs_are_the_librarys(user, inputs):
    ended, outputs = probe(user, push(user), inputs, "--json")

    assert ended.status == 0, ended.err
    assert ended.json["outputs"] == {"logits": list(outputs["logits"].shape)}
    assert (ended.json["state"], ended.json["silent"]) == ("attached", [])
    assert outputs["logits"].dtype == np.float32
    assert np.max(np.abs(outputs["logits"][:, -2:] - EXPECTED)) <= 1e-4


@pytest.mark.slow
def test_what_cannot_be_computed_is_told_as_by_every_command(user, inputs):
    save_file({"pixels": IDS}, inputs)

    ended, outputs = probe(user, push(user), inputs, "--json")

    assert (ended.status, ended.problem["code"]) == (2, "invalid_input")
    assert "does not take an input 'pixels'" in ended.problem["detail"]
    assert outputs is None


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [(["--gpu", "tpu"], 2, "not a device: 'tpu'"), (["--inputs", "gone"], 3, "no file gone")],
)
def test_an_option_that_cannot_be_right_is_refused_at_once(shell, inputs, options, status, message):
    ended, _ = probe(shell, "me/chat", inputs, *options)

    assert ended.status == status
    assert message in ended.err
