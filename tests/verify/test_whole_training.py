"""The check `whole_training`: how far the training had come by what its process said."""

import shutil

import numpy as np
import pytest

from deltareg.suites.golden import GoldenOrigin, GoldenOutputs, sample_of
from deltareg.suites.golden_file import GOLDEN_FILE, encode
from deltareg.suites.training_progress import TrainingProgress
from deltareg_verify.judging.examine import examine
from deltareg_verify.judging.verdict import judge
from tests.verify.bench import SAMPLES, Bench, sample_base, suite_of


@pytest.fixture
def delta(tmp_path):
    shutil.copytree(SAMPLES / "deltas/tinyllama/lora", tmp_path / "delta")
    return tmp_path / "delta"


def checked(delta, cache_dir):
    suite = suite_of("whole_training")
    bench = Bench(delta, sample_base("tinyllama"), cache_dir, suite=suite)
    (result,) = examine(bench.case())
    return judge(suite, [result]), result


def keep(delta, progress):
    sample = sample_of({"input_ids": np.ones((1, 3), np.int64)}, {"logits": np.ones((1, 3, 4), np.float32)})
    golden = GoldenOutputs((sample,), GoldenOrigin("in_training"), progress=progress)
    (delta / GOLDEN_FILE).write_bytes(encode(golden))


def test_a_training_that_ended(delta, cache_dir):
    keep(delta, TrainingProgress(360, 360, 0.0))

    verdict, result = checked(delta, cache_dir)

    assert (verdict, result.verdict, result.value) == ("pass", "pass", 1)
    assert result.detail == "step 360 of 360, the rate at 0% of its full"


def test_a_checkpoint_of_an_unfinished_training(delta, cache_dir):
    keep(delta, TrainingProgress(120, 480, 0.75))

    verdict, result = checked(delta, cache_dir)

    assert (verdict, result.code) == ("fail", "unfinished")
    assert (result.value, result.threshold) == (0.25, 0.5)
    assert result.detail == "step 120 of 480, the rate at 75% of its full"


def test_a_schedule_that_ended_at_its_height(delta, cache_dir):
    keep(delta, TrainingProgress(120, 120, 12.0))

    verdict, result = checked(delta, cache_dir)

    assert (verdict, result.code, result.value, result.threshold) == ("fail", "unfinished", 12, 1.05)
    assert result.detail == "step 120 of 120, the rate at 1200% of its full, and still high"


@pytest.mark.parametrize("progress", [None, TrainingProgress(3, 0)])
def test_where_nobody_said_how_far_it_came(progress, delta, cache_dir):
    keep(delta, progress)

    verdict, result = checked(delta, cache_dir)

    assert (verdict, result.verdict) == ("pass", "n/a")


def test_without_outputs_it_does_not_apply(delta, cache_dir):
    verdict, result = checked(delta, cache_dir)

    assert (verdict, result.verdict) == ("pass", "n/a")
