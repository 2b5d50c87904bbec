"""The demo's training trains: the loss falls, the same seed gives the same weights."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[demo]'")
train = pytest.importorskip("tests.e2e.train", reason="needs pip install 'deltareg[demo]'")

pytestmark = pytest.mark.slow
STEPS = 3


@pytest.fixture(scope="module")
def other_base(tmp_path_factory):
    """Train a base of eight megabytes that the tests below adapt."""
    folder = tmp_path_factory.mktemp("other-base")
    return train.train_other_base(folder, steps=12)


def tune(base, folder, **options):
    """Train a LoRA of a base for a few steps."""
    return train.train_other_base_lora(folder, base.folder, **({"steps": STEPS} | options))


def test_a_base_trained_from_nothing_learns(other_base):
    assert other_base.steps == 12
    assert other_base.after.loss < other_base.before.loss - 0.5
    assert other_base.after.accuracy > other_base.before.accuracy


def test_the_same_seed_trains_the_same_factors(other_base, tmp_path):
    first = tune(other_base, tmp_path / "a")
    again = tune(other_base, tmp_path / "b")
    other = tune(other_base, tmp_path / "c", seed=9)

    tensors = [load_file(run.folder / "adapter_model.safetensors") for run in (first, again, other)]
    assert all(np.array_equal(t, tensors[1][name]) for name, t in tensors[0].items())
    assert any(not np.array_equal(t, tensors[2][name]) for name, t in tensors[0].items())


def test_every_step_is_told(other_base, tmp_path):
    told = []

    run = tune(other_base, tmp_path, on_step=lambda *step: told.append(step))

    assert [step[:2] for step in told] == [(1, STEPS), (2, STEPS), (3, STEPS)]
    assert run.steps == STEPS
    assert "3 steps" in run.lines()[0]


def test_a_planted_no_op_differs_in_nothing_but_zeros(other_base, tmp_path):
    lora = tune(other_base, tmp_path / "lora")

    dead = load_file(train.plant_noop(lora.folder, tmp_path / "dead") / "adapter_model.safetensors")

    alive = load_file(lora.folder / "adapter_model.safetensors")
    assert dead.keys() == alive.keys()
    assert all(not t.any() for name, t in dead.items() if "lora_B" in name)
    assert all(np.array_equal(t, alive[name]) for name, t in dead.items() if "lora_A" in name)
    assert any(t.any() for name, t in alive.items() if "lora_B" in name)


def test_the_lora_says_which_base_it_is_of(other_base, tmp_path):
    lora = tune(other_base, tmp_path)

    config = json.loads((lora.folder / "adapter_config.json").read_text())

    assert config["base_model_name_or_path"] == train.OTHER_NAME
    assert (config["peft_type"], config["r"]) == ("LORA", 8)
    assert set(config["target_modules"]) == {"query", "value"}
