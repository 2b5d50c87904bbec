"""Checks of stored bytes, on real files that are changed after they were described."""

import shutil

import numpy as np
import pytest

from deltareg.client.folders.folder import open_folder
from deltareg_verify.judging.checks import all_checks
from deltareg_verify.judging.examine import examine
from tests.samples import surgery
from tests.verify.bench import SAMPLES, Bench, listed, sample_base, sample_bench, suite_of

SUITE = suite_of("digests", "finite")


@pytest.fixture
def opened(tmp_path, cache_dir):
    """Describe a sample, then change its folder, then open it again as a child would."""

    def change(act, sample="tinyllama/lora_qv"):
        entry = listed("deltas")[sample]
        copy = tmp_path / "delta"
        shutil.copytree(SAMPLES / entry["path"], copy)
        before = Bench(copy, sample_base(entry["base"]), cache_dir, suite=SUITE)
        act(copy)
        case = before.case(folder=lambda: open_folder(copy))
        return {result.name: result for result in examine(case, checks=all_checks())}

    return change


def weights(folder):
    return folder / "adapter_model.safetensors"


def flip_last_byte(folder):
    raw = bytearray(weights(folder).read_bytes())
    raw[-1] ^= 1
    weights(folder).write_bytes(raw)


def test_untouched_files_are_what_the_manifest_says(opened):
    found = opened(lambda _: None)

    assert found["digests"].verdict == "pass"
    assert found["digests"].detail.startswith("8 tensors in")


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (flip_last_byte, "tensor"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "adapter_config.json"),
        (lambda folder: (folder / "more.json").write_text("{}"), "more.json"),
        (surgery.on_tensors(surgery.drop_half), "tensors differ"),
        (surgery.with_tensor("extra", np.zeros(3)), "extra"),
    ],
    ids=["one bit", "config", "another file", "tensors less", "another tensor"],
)
def test_anything_else_is_a_failure(opened, act, told):
    found = opened(act)["digests"]

    assert (found.verdict, found.code) == ("fail", "digest")
    assert told in found.detail


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_value_that_is_not_finite_fails(tmp_path, cache_dir, value):
    copy = tmp_path / "delta"
    shutil.copytree(SAMPLES / "deltas" / "tinyllama" / "lora_qv", copy)
    surgery.one_value(value)(copy)
    bench = Bench(copy, sample_base("tinyllama"), cache_dir, suite=SUITE)

    found = {result.name: result for result in examine(bench.case())}

    assert found["digests"].verdict == "pass"
    assert (found["finite"].verdict, found["finite"].code) == ("fail", "non_finite")


@pytest.mark.parametrize(
    ("sample", "code"), [("other_base_embeddings", "base_mismatch"), ("bitfit_contradiction", "convention_needed")]
)
def test_numbers_that_contradict_the_base_fail(cache_dir, sample, code):
    bench = sample_bench(f"bad/{sample}", cache_dir, suite=suite_of("accounting"))

    (found,) = examine(bench.case())

    assert (found.verdict, found.code) == ("fail", code)
