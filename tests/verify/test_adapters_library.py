"""Adapters on live networks against what the adapters library itself computed with them."""

import numpy as np
import pytest

from tests.delta.adapterhub_layout.opened import SAMPLES, samples
from tests.verify.bench import Bench, read_arrays

TOLERANCE = 2e-5


@pytest.fixture
def attach(cache_dir):
    """Open a sample with its engine; gives both and what the library was asked and answered."""

    def opened(sample):
        name, variant = sample.split("/")
        held = read_arrays(SAMPLES / name / "outputs.safetensors")
        inputs = {k.removeprefix("in::"): v for k, v in held.items() if k.startswith("in::")}
        bench = Bench(SAMPLES / name / variant, SAMPLES / name / "base", cache_dir)
        return bench, bench.engine(), inputs, held[f"out::{variant}"]

    return opened


def logits(outputs):
    return outputs.get("logits_per_image", outputs.get("logits"))


@pytest.mark.parametrize("sample", samples())
def test_an_adapter_computes_what_it_does_in_the_library(attach, sample):
    _, engine, inputs, expected = attach(sample)

    found = logits(engine.outputs_for("attached", inputs))

    assert found.shape == expected.shape
    assert np.max(np.abs(found - expected)) <= TOLERANCE


@pytest.mark.parametrize("sample", [s for s in samples() if s.endswith(("/lora", "/ia3"))])
def test_a_foldable_adapter_computes_the_same_when_folded(attach, sample):
    bench, engine, inputs, expected = attach(sample)

    found = logits(engine.outputs_for("folded", inputs))

    assert bench.assessment.kind.foldable
    assert np.max(np.abs(found - expected)) <= TOLERANCE


@pytest.mark.parametrize("sample", ["bert/seq_inv", "bert/loreft", "gpt2/compacter", "vit/vera"])
def test_every_effect_takes_part(attach, sample):
    _, engine, _, _ = attach(sample)

    assert engine.find_fired().silent == ()


def test_an_intervention_needs_the_whole_row(attach):
    _, engine, inputs, _ = attach("bert/loreft")
    without = {name: value for name, value in inputs.items() if name != "attention_mask"}

    padded, whole = (logits(engine.outputs_for("attached", x)) for x in (inputs, without))

    assert np.max(np.abs(padded[1] - whole[1])) > 1e-3
