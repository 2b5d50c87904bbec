"""Golden outputs: written, read back, compared, and refused when they are something else."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.errors import InvalidInput, Refused
from deltareg.suites.golden import KEPT, MOST_BYTES, Golden, compare, decode, encode, record

IDS = {"input_ids": np.arange(6).reshape(2, 3)}


def outputs(*shape, seed=0):
    return {"logits": np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}


@pytest.mark.parametrize("shape", [(2, 3, 50), (4, 2), (7,)])
def test_outputs_agree_with_what_was_recorded_of_them(shape):
    golden = decode(encode(record(IDS, outputs(*shape))))

    found = compare(golden, outputs(*shape))

    assert (found.difference, found.agreement) == (0, 1)
    assert golden.outputs["logits"].values.shape[-1] == min(KEPT, shape[-1])


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int32, np.uint8, np.bool_])
def test_inputs_come_back_as_they_were(dtype):
    values = np.array([[0, 1], [1, 1]], dtype)

    found = decode(encode(record({"x": values}, outputs(2, 3)))).inputs["x"]

    assert found.dtype == dtype
    assert np.array_equal(found, values)


@given(st.floats(1e-3, 10), st.integers(0, 5))
def test_a_shift_of_all_values_is_the_difference(shift, row):
    golden = record(IDS, outputs(6, 8))
    other = outputs(6, 8)
    other["logits"][row] += np.float32(shift)

    assert compare(golden, other).difference == pytest.approx(shift, rel=1e-3)


WRONG = {
    "another place of the largest": {"logits": -outputs(2, 3, 50)["logits"]},
    "a NaN": {"logits": np.full((2, 3, 50), np.nan, np.float32)},
    "another shape": outputs(2, 3, 49),
    "another name": {"hidden": outputs(2, 3, 50)["logits"]},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_differs_is_never_within_a_tolerance(name):
    found = compare(record(IDS, outputs(2, 3, 50)), WRONG[name])

    assert not found.difference <= 0.5
    assert found.output == "logits"


def test_the_worst_output_is_named():
    both = {"a": outputs(2, 4)["logits"], "b": outputs(2, 4)["logits"]}

    found = compare(record(IDS, both), {**both, "b": both["b"] + 1})

    assert found.output == "b"


def test_a_file_that_would_be_too_large_is_refused():
    with pytest.raises(InvalidInput, match="at most"):
        encode(record({"x": np.zeros(MOST_BYTES // 4, np.int64)}, outputs(1, 2)))


def edited(**changes):
    document = json.loads(encode(record(IDS, outputs(2, 3))))
    return json.dumps(document | changes).encode()


def entry(**changes):
    document = json.loads(encode(record(IDS, outputs(2, 3))))
    return {"logits": document["outputs"]["logits"] | changes}


HOSTILE = {
    "no JSON": b"\x80\x04N.",
    "a list": b"[]",
    "another schema": edited(schema="deltareg.golden/2"),
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

    assert isinstance(golden, Golden)
    assert list(golden.outputs) == ["logits"]
