"""Stored weights at another place than the base has them, as converters leave them."""

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from deltareg_verify.judging.checks import all_checks
from tests.verify.bench import SAMPLES, SMOKE, Bench, sample_base

SPEC = next(spec for spec in SMOKE.checks if spec.name == "placement")
QUERY, OUT = (f"model.layers.{{}}.self_attn.{one}_proj.weight" for one in "qo")
WORDS = "model.embed_tokens.weight"


@pytest.fixture
def found(tmp_path, cache_dir):
    """Change the weights of a full tune of the sample base, and give what the check finds."""

    def find(change, sample="full"):
        folder, own = tmp_path / "changed", SAMPLES / "deltas" / "tinyllama" / sample
        folder.mkdir()
        for config in own.glob("*config.json"):
            shutil.copy(config, folder)
        files = sorted(own.glob("*.safetensors"))
        tensors = {name: value for file in files for name, value in load_file(file).items()}
        file = folder / ("adapter_model.safetensors" if "lora" in sample else "model.safetensors")
        base = load_file(sample_base("tinyllama") / "model.safetensors")
        change(tensors, base)
        save_file({n: np.ascontiguousarray(v) for n, v in tensors.items()}, file, {"format": "pt"})
        bench = Bench(folder, sample_base("tinyllama"), cache_dir)
        return all_checks()["placement"].run(bench.case(), SPEC)

    return find


def exchange(name, other):
    def change(tensors, _):
        tensors[name], tensors[other] = tensors[other], tensors[name]

    return change


def moved(name, move):
    def change(tensors, _):
        tensors[name] = move(tensors[name])

    return change


def by_pairs(value, heads=4):
    """Order rows by the other rotary layout: the two of a pair beside each other."""
    return value.reshape(heads, 2, -1, value.shape[1]).swapaxes(1, 2).reshape(value.shape)


def test_a_tuned_weight_is_nearest_to_its_own_place(found):
    finding = found(lambda *_: None)

    assert (finding.verdict, finding.code) == ("pass", "")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (exchange(QUERY.format(0), QUERY.format(1)), QUERY.format(1)),
        (exchange(QUERY.format(0), OUT.format(0)), OUT.format(0)),
        (moved(WORDS, lambda value: np.roll(value, 1, 0)), "is row"),
        (moved(QUERY.format(1), by_pairs), "other rows"),
        (moved(OUT.format(1), np.transpose), "columns"),
    ],
    ids=["layers", "modules", "words", "rotary pairs", "transposed"],
)
def test_a_weight_of_another_place_fails_and_it_is_said_which(found, change, told):
    finding = found(change)

    assert (finding.verdict, finding.code) == ("fail", "misplaced")
    assert told in finding.detail
    assert finding.value > 0.5


def test_a_weight_that_began_anew_is_none_of_another_place(found):
    def begin_anew(tensors, base):
        size = base[QUERY.format(0)].std()
        drawn = np.random.default_rng(1).normal(0, size, (40, 40))
        tensors[QUERY.format(0)] = drawn.astype(np.float32)

    finding = found(begin_anew)

    assert finding.verdict == "pass"


def test_layers_that_are_equal_to_the_last_bit_fail(found):
    def twice(tensors, _):
        for name in list(tensors):
            if ".layers.0." in name:
                tensors[name.replace(".layers.0.", ".layers.1.")] = tensors[name].copy()

    finding = found(twice, sample="lora")

    assert (finding.verdict, finding.code) == ("fail", "misplaced")
    assert "holds the very numbers of" in finding.detail


def test_parts_that_stand_as_they_began_are_no_copies(found):
    def untrain(tensors, _):
        for name, value in tensors.items():
            if "lora_B" in name:
                value[:] = 0

    assert found(untrain, sample="lora").verdict == "n/a"
