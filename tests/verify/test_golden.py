"""The check `golden`: base and delta give here what they gave to the publisher."""

import shutil

import numpy as np
import pytest

from deltareg.suites.golden import GoldenOrigin, GoldenOutputs, sample_of
from deltareg.suites.golden_file import GOLDEN_FILE, encode
from deltareg_verify.judging.examine import examine
from deltareg_verify.judging.verdict import judge
from tests.verify.bench import SAMPLES, Bench, read_arrays, sample_base, suite_of

IDS = read_arrays(SAMPLES / "probes.safetensors")["input_ids"]
DEVICES = ["cpu", pytest.param("cuda:0", marks=pytest.mark.gpu)]


@pytest.fixture
def delta(tmp_path):
    shutil.copytree(SAMPLES / "deltas/tinyllama/lora", tmp_path / "delta")
    return tmp_path / "delta"


def checked(delta, cache_dir, *, base="tinyllama", device="cpu", **parameters):
    suite = suite_of(("golden", parameters))
    bench = Bench(delta, sample_base(base), cache_dir, suite=suite, device=device)
    (result,) = examine(bench.case())
    verdict = judge(suite, [result])
    return verdict, result


def computed(delta, cache_dir, state="attached"):
    bench = Bench(delta, sample_base("tinyllama"), cache_dir, suite=suite_of("golden"))
    return bench.engine().outputs_for(state, {"input_ids": IDS})


def keep(delta, outputs, ids=IDS, **origin):
    golden = GoldenOutputs((sample_of({"input_ids": ids}, outputs),), GoldenOrigin(**origin))
    (delta / GOLDEN_FILE).write_bytes(encode(golden))


@pytest.mark.parametrize("device", DEVICES)
def test_the_publishers_own_outputs_are_found_again(delta, cache_dir, device):
    keep(delta, computed(delta, cache_dir))

    verdict, result = checked(delta, cache_dir, device=device)

    assert (verdict, result.verdict) == ("pass", "pass"), result
    assert result.value <= 1e-4


def test_without_golden_outputs_it_does_not_apply(delta, cache_dir):
    _, result = checked(delta, cache_dir)

    assert result.verdict == "n/a"


def test_a_delta_that_was_trained_on_another_base_is_found_out(delta, cache_dir):
    keep(delta, computed(delta, cache_dir))

    verdict, result = checked(delta, cache_dir, base="tinyllama_other")

    assert (verdict, result.code) == ("fail", "golden_differs")


def spoiled(how, attached, base):
    """Give outputs and tokens that are not what the delta gives."""
    return {
        "outputs of the base alone": (base, IDS),
        "outputs of another network": ({"hidden": attached["logits"]}, IDS),
        "a NaN": ({"logits": attached["logits"] * np.float32("nan")}, IDS),
        "tokens that the base does not have": (attached, IDS + 10_000),
    }[how]


@pytest.mark.parametrize(
    "how", ["outputs of the base alone", "outputs of another network", "a NaN", "tokens that the base does not have"]
)
def test_other_outputs_fail(delta, cache_dir, how):
    attached, base = (computed(delta, cache_dir, state) for state in ("attached", "base"))
    keep(delta, *spoiled(how, attached, base))

    verdict, result = checked(delta, cache_dir)

    assert (verdict, result.code) == ("fail", "golden_differs"), result


def test_a_damaged_file_fails(delta, cache_dir):
    (delta / GOLDEN_FILE).write_text('{"schema": "deltareg.golden/1"}')

    verdict, result = checked(delta, cache_dir)

    assert (verdict, result.code) == ("fail", "bad_config")
