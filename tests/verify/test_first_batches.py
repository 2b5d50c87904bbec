"""The check `first_batches`: what the process that trained counted is judged again."""

import shutil

import numpy as np
import pytest

from deltareg.suites.golden import GoldenOrigin, GoldenOutputs, sample_of
from deltareg.suites.golden_file import GOLDEN_FILE, encode
from deltareg.suites.training_start import BatchCounts, TrainingStart
from deltareg_verify.judging.examine import examine
from deltareg_verify.judging.verdict import judge
from tests.verify.bench import SAMPLES, Bench, sample_base, suite_of

SOUND = BatchCounts(places=400, aligned=400, ends=16, ends_labelled=16, losses=(2.1, 1.9), choices=384)


@pytest.fixture
def delta(tmp_path):
    shutil.copytree(SAMPLES / "deltas/tinyllama/lora", tmp_path / "delta")
    return tmp_path / "delta"


def checked(delta, cache_dir):
    suite = suite_of("first_batches")
    bench = Bench(delta, sample_base("tinyllama"), cache_dir, suite=suite)
    (result,) = examine(bench.case())
    return judge(suite, [result]), result


def keep(delta, training):
    sample = sample_of({"input_ids": np.ones((1, 3), np.int64)}, {"logits": np.ones((1, 3, 4), np.float32)})
    golden = GoldenOutputs((sample,), GoldenOrigin("in_training"), training)
    (delta / GOLDEN_FILE).write_bytes(encode(golden))


def test_batches_as_they_should_be(delta, cache_dir):
    keep(delta, TrainingStart(4, "causal", SOUND))

    verdict, result = checked(delta, cache_dir)

    assert (verdict, result.verdict, result.value) == ("pass", "pass", 0)
    assert result.detail == "4 batches, 400 labels, a loss of 2 nats each"


def test_each_oddity_is_told(delta, cache_dir):
    odd = SOUND + BatchCounts(places=100, padded=100, losses=(40.0,))
    keep(delta, TrainingStart(4, "causal", odd))

    verdict, result = checked(delta, cache_dir)

    assert (verdict, result.code, result.value) == ("fail", "odd_batches", 2)
    assert "100 of 500 labels are the padding token; the loss begins at 14.7" in result.detail


@pytest.mark.parametrize("has_outputs", [True, False])
def test_where_nobody_looked_it_does_not_apply(delta, cache_dir, has_outputs):
    if has_outputs:
        keep(delta, None)

    verdict, result = checked(delta, cache_dir)

    assert (verdict, result.verdict) == ("pass", "n/a")
