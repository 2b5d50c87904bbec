"""Golden outputs: written, read back, compared, and refused when they are something else."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.errors import InvalidInput, Refused
from deltareg.suites.golden import KEPT, MOST_ROWS, GoldenOrigin, GoldenOutputs, compare, distance, sample_of
from deltareg.suites.golden_file import MOST_BYTES, decode, encode
from deltareg.suites.training_start import BatchCounts, TrainingStart

IDS = {"input_ids": np.arange(6).reshape(2, 3)}
ORIGIN = GoldenOrigin("in_training", "BF16", "cuda", "bitsandbytes", {"peft": "0.21.2"}, {"x.safetensors": "blake3:0"})


def record(inputs, outputs, origin=None):
    return GoldenOutputs((sample_of(inputs, outputs),), origin or GoldenOrigin())


def outputs(*shape, seed=0):
    return {"logits": np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}


@pytest.mark.parametrize("shape", [(2, 3, 50), (4, 2), (7,)])
def test_outputs_agree_with_what_was_recorded_of_them(shape):
    golden = decode(encode(record(IDS, outputs(*shape))))

    found = compare(golden, [outputs(*shape)])

    assert (found.difference, found.distance, found.agreement) == (0, 0, 1)
    assert golden.samples[0].outputs["logits"].values.shape[-1] == min(KEPT, shape[-1])


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int32, np.uint8, np.bool_])
def test_inputs_come_back_as_they_were(dtype):
    values = np.array([[0, 1], [1, 1]], dtype)

    found = decode(encode(record({"x": values}, outputs(2, 3)))).samples[0].inputs["x"]

    assert found.dtype == dtype
    assert np.array_equal(found, values)


def test_how_the_training_began_comes_back():
    start = TrainingStart(4, "paired", BatchCounts(9, 8, 7, losses=(0.5, 1.5), farthest_pixel=2.5))
    sample = record(IDS, outputs(2, 3))

    assert decode(encode(replace(sample, training=start))).training == start
    assert decode(encode(sample)).training is None


@pytest.mark.parametrize(
    "training", [7, {}, {"batches": 4, "form": "sideways", "shown": {}}, {"batches": 4, "form": "causal"}]
)
def test_a_beginning_that_is_none_is_refused(training):
    document = json.loads(encode(record(IDS, outputs(2, 3)))) | {"training": training}

    with pytest.raises(Refused, match="how its training began"):
        decode(json.dumps(document).encode())


@given(st.floats(1e-3, 10), st.integers(0, 5))
def test_a_shift_of_all_values_is_the_difference(shift, row):
    golden = record(IDS, outputs(6, 8))
    other = outputs(6, 8)
    other["logits"][row] += np.float32(shift)

    assert compare(golden, [other]).difference == pytest.approx(shift, rel=1e-3)


WRONG = {
    "another place of the largest": {"logits": -outputs(2, 3, 50)["logits"]},
    "a NaN": {"logits": np.full((2, 3, 50), np.nan, np.float32)},
    "another shape": outputs(2, 3, 49),
    "another name": {"hidden": outputs(2, 3, 50)["logits"]},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_differs_is_never_within_a_tolerance(name):
    found = compare(record(IDS, outputs(2, 3, 50)), [WRONG[name]])

    assert not found.difference <= 0.5
    assert found.output == "logits"


def test_the_worst_output_is_named():
    both = {"a": outputs(2, 4)["logits"], "b": outputs(2, 4)["logits"]}

    found = compare(record(IDS, both), [{**both, "b": both["b"] + 1}])

    assert found.output == "b"


def test_a_file_that_would_be_too_large_is_refused():
    with pytest.raises(InvalidInput, match="at most"):
        encode(record({"x": np.zeros(MOST_BYTES // 4, np.int64)}, outputs(1, 2)))


def edited(*, recorded=None, **changes):
    document = json.loads(encode(record(IDS, outputs(2, 3))))
    samples = [document["samples"][0] | changes]
    told = document["recorded"] | (recorded or {})
    return json.dumps({**document, "samples": samples, "recorded": told}).encode()


def whole(**changes):
    document = json.loads(encode(record(IDS, outputs(2, 3))))
    return json.dumps(document | changes).encode()


def entry(**changes):
    document = json.loads(encode(record(IDS, outputs(2, 3))))
    return {"logits": document["samples"][0]["outputs"]["logits"] | changes}


HOSTILE = {
    "no JSON": b"\x80\x04N.",
    "a list": b"[]",
    "another schema": whole(schema="deltareg.golden/3"),
    "no samples": whole(samples=[]),
    "samples as a number": whole(samples=1),
    "too many samples": whole(samples=[{}] * 65),
    "nothing of where it comes from": whole(recorded=None),
    "an unknown way of recording": edited(recorded={"how": "by magic"}),
    "an unknown dtype of the network": edited(recorded={"dtype": "F8"}),
    "a device that is no word": edited(recorded={"device": 1}),
    "a device that is a screen": edited(recorded={"device": "\x1b[2J"}),
    "software as a list": edited(recorded={"software": []}),
    "software that is a novel": edited(recorded={"software": {"torch": "x" * 201}}),
    "a row outside": edited(outputs=entry(rows="/////w==")),
    "no rows": edited(outputs=entry(rows="")),
    "no inputs": edited(inputs={}),
    "no outputs": edited(outputs={}),
    "outputs as a list": edited(outputs=[]),
    "an output as a number": edited(outputs={"logits": 1}),
    "an input of text": edited(inputs={"x": "text"}),
    "an unknown dtype": edited(inputs={"x": {"dtype": "F8", "shape": [1], "data": "AA=="}}),
    "no base64": edited(inputs={"x": {"dtype": "U8", "shape": [1], "data": "§"}}),
    "data that is too short": edited(inputs={"x": {"dtype": "I64", "shape": [9], "data": "AA=="}}),
    "a negative size": edited(outputs=entry(shape=[2, -3])),
    "an empty shape": edited(outputs=entry(shape=[])),
    "a size of zero": edited(outputs=entry(shape=[2, 0])),
    "a huge shape": edited(outputs=entry(shape=[1 << 30, 1 << 30, 3])),
    "a place outside": edited(outputs=entry(places="/////w==" * 6)),
    "too many bytes": b"{" + b" " * MOST_BYTES + b"}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_golden_file_is_refused(name):
    with pytest.raises(Refused):
        decode(HOSTILE[name])


def test_scalars_are_left_out():
    golden = record(IDS, {**outputs(2, 3), "loss": np.array(1, np.float32)})

    assert isinstance(golden, GoldenOutputs)
    assert list(golden.samples[0].outputs) == ["logits"]


def test_where_outputs_come_from_comes_back():
    found = decode(encode(record(IDS, outputs(2, 3), ORIGIN))).origin

    assert found == ORIGIN
    assert found.description == "recorded in training, with peft 0.21.2 in BF16 on cuda"


def test_of_many_positions_some_are_kept_and_compared():
    golden = decode(encode(record(IDS, outputs(1, 4 * MOST_ROWS, 8))))
    other = outputs(1, 4 * MOST_ROWS, 8)
    other["logits"][0, -1] += 1

    (kept,) = golden.samples[0].outputs.values()

    assert kept.values.shape == (MOST_ROWS, 8)
    assert compare(golden, [outputs(1, 4 * MOST_ROWS, 8)]).distance == 0
    assert compare(golden, [other]).difference == pytest.approx(1, rel=1e-3)


def test_a_largest_value_that_another_overtakes_by_rounding_agrees():
    golden = record(IDS, {"logits": np.array([[5.0, 4.9999, 1.0]], np.float32)})
    other = {"logits": np.array([[4.9999, 5.0, 1.0]], np.float32)}

    assert compare(golden, [other]).agreement == 0
    assert compare(golden, [other], slack=0.001).agreement == 1


def test_samples_of_several_shapes_are_compared_together():
    golden = GoldenOutputs(tuple(sample_of(IDS, outputs(1, n, 9, seed=n)) for n in (3, 5)))
    found = [outputs(1, n, 9, seed=n) for n in (3, 5)]
    found[1]["logits"] = found[1]["logits"] + np.float32(2)

    assert compare(golden, found).difference == pytest.approx(2, rel=0.1)  # of max(1, RMS)
    assert distance(golden, found) == pytest.approx(2 * (5 / 8) ** 0.5, rel=1e-5)
    assert distance(golden, [{}, {}]) == 0


FROZEN = Path(__file__).parents[1] / "golden" / "outputs"


def test_a_file_of_the_first_schema_is_still_read():
    golden = decode((FROZEN / "1.json").read_bytes())

    (sample,) = golden.samples
    assert golden.origin == GoldenOrigin("by_publisher")
    assert np.array_equal(sample.inputs["input_ids"], IDS["input_ids"])
    assert sample.inputs["attention_mask"].dtype == np.bool_
    assert sample.outputs["logits"].values[0, 0] == pytest.approx(1.66589, abs=1e-4)


def test_the_bytes_of_a_file_that_names_its_base_are_these():
    raw = (FROZEN / "2-base.json").read_bytes()

    golden = decode(raw)

    assert encode(golden) == raw
    assert golden.origin.base == f"blake3:{'5c' * 32}"
    assert golden.origin.how == "by_library"


def test_a_file_that_names_no_base_says_so():
    golden = decode((FROZEN / "2.json").read_bytes())

    assert golden.origin.base == ""


@pytest.mark.parametrize("base", [7, None, ["blake3:0"], "x" * 300, "a\nb"])
def test_a_base_that_is_no_word_is_refused(base):
    document = json.loads((FROZEN / "2-base.json").read_bytes())
    document["recorded"]["base"] = base

    with pytest.raises(Refused, match="its base is no word"):
        decode(json.dumps(document).encode())


def test_the_bytes_of_a_file_that_says_how_training_began_are_these():
    raw = (FROZEN / "2-training.json").read_bytes()

    golden = decode(raw)

    assert encode(golden) == raw
    assert golden.training is not None
    assert golden.training.summary == (
        "4 batches, 1,536 labels, a loss of 2.4 nats each:"
        " none of 64 ends of texts has a label, so ending is not learnt"
    )


def test_the_bytes_of_a_file_that_says_how_far_training_came_are_these():
    raw = (FROZEN / "2-progress.json").read_bytes()

    golden = decode(raw)

    assert encode(golden) == raw
    assert golden.progress is not None
    assert golden.progress.description == "step 120 of 360, the rate at 67% of its full"


@pytest.mark.parametrize("progress", [7, {"step": -1, "planned": 3}, {"step": 1}])
def test_a_file_that_says_nonsense_of_its_training_is_refused(progress):
    document = json.loads((FROZEN / "2-progress.json").read_bytes()) | {"progress": progress}

    with pytest.raises(Refused, match="how far its training had come"):
        decode(json.dumps(document).encode())


def test_the_bytes_of_the_second_schema_are_these():
    raw = (FROZEN / "2.json").read_bytes()

    golden = decode(raw)

    assert encode(golden) == raw
    assert golden.origin.description == "recorded in training, with peft 0.21.2 in BF16 on cuda"
    assert [sorted(sample.outputs) for sample in golden.samples] == [["logits"], ["last_hidden_state", "logits"]]
