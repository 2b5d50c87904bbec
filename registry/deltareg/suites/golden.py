"""Golden outputs: what a publisher's own process computed with a delta, to be computed again.

They travel with the version in one JSON file, `deltareg-golden.json` (docs/format.md). Of every
position the largest values and their places are kept, not all of them: they show a wrong base, a
wrong scale or a wrong head as well as all would, and stay small. They are compared by value: other
kernels round otherwise, so no digest of outputs could be demanded.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import cast

import numpy as np
from numpy.typing import NDArray

from deltareg.documents.json_values import is_count, is_list, is_object
from deltareg.errors import InvalidInput, Problem, Refused
from deltareg.tensors.array import F32, Raw, view
from deltareg.tensors.header import strict_json_object

GOLDEN_FILE = "deltareg-golden.json"
SCHEMA = "deltareg.golden/1"
MOST_BYTES = 4 << 20
KEPT = 20
INPUT_DTYPES = {"float32": "F32", "int64": "I64", "int32": "I32", "uint8": "U8", "bool": "BOOL"}
_FIX = "push again with --golden FILE"


@dataclass(frozen=True, slots=True)
class Recorded:
    """The largest values of one output.

    Attributes:
        shape: The output's.
        places: (rows, k): along the last dimension, the largest first.
        values: (rows, k): what is there.
    """

    shape: tuple[int, ...]
    places: NDArray[np.int32]
    values: F32


@dataclass(frozen=True, slots=True)
class Golden:
    """Inputs of a network and what came out.

    Attributes:
        inputs: By parameter of the network's forward.
        outputs: By name in the network's answer.
    """

    inputs: Mapping[str, Raw]
    outputs: Mapping[str, Recorded]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far outputs are from recorded ones.

    Attributes:
        output: The one that is farthest off.
        difference: max |recorded - found| over max(1, RMS of what is recorded); NaN stays NaN.
        agreement: The share of positions whose largest value is at the same place.
    """

    output: str
    difference: float
    agreement: float


def record(inputs: Mapping[str, Raw], outputs: Mapping[str, F32]) -> Golden:
    """Keep the largest values of every output that has a dimension."""
    kept = {name: _largest(values) for name, values in outputs.items() if values.size}
    return Golden(inputs, {name: found for name, found in kept.items() if found.shape})


def compare(golden: Golden, outputs: Mapping[str, F32]) -> Comparison:
    """Hold outputs against recorded ones; one that is missing or of another shape is all wrong."""
    found = [_compare(name, kept, outputs.get(name)) for name, kept in golden.outputs.items()]
    # A NaN is the farthest of all; max() alone would pass over it.
    worst = max(found, key=lambda one: np.inf if np.isnan(one.difference) else one.difference)
    return Comparison(worst.output, worst.difference, min(one.agreement for one in found))


def encode(golden: Golden) -> bytes:
    """Write the file.

    Raises:
        InvalidInput: It would be too large.
    """
    inputs = {
        name: {
            "dtype": INPUT_DTYPES[value.dtype.name],
            "shape": list(value.shape),
            "data": _text(value),
        }
        for name, value in sorted(golden.inputs.items())
    }
    outputs = {
        name: {
            "shape": list(kept.shape),
            "places": _text(kept.places),
            "values": _text(kept.values),
        }
        for name, kept in sorted(golden.outputs.items())
    }
    raw = json.dumps({"schema": SCHEMA, "inputs": inputs, "outputs": outputs}).encode()
    if len(raw) > MOST_BYTES:
        raise InvalidInput(
            f"golden outputs of {len(raw)} bytes, at most {MOST_BYTES}",
            fix="record fewer or shorter inputs",
        )
    return raw


def decode(raw: bytes) -> Golden:
    """Read what `encode` wrote.

    Raises:
        Refused: `bad_config`: it is something else.
    """
    if len(raw) > MOST_BYTES:
        raise _bad(f"{len(raw)} bytes, at most {MOST_BYTES}")
    document = strict_json_object(raw)
    inputs, outputs = document.get("inputs"), document.get("outputs")
    if document.get("schema") != SCHEMA or not is_object(inputs) or not is_object(outputs):
        raise _bad(f"it is not of the schema {SCHEMA}")
    if not inputs or not outputs:
        raise _bad("it holds no inputs, or no outputs")
    try:
        return Golden(
            {name: _input(entry) for name, entry in inputs.items()},
            {name: _output(entry) for name, entry in outputs.items()},
        )
    except (InvalidInput, ValueError, binascii.Error) as error:
        raise _bad(str(error)) from error


def _largest(values: F32) -> Recorded:
    rows = values.reshape(-1, values.shape[-1]) if values.shape else values.reshape(1, 1)
    places = np.argsort(-rows, axis=-1, kind="stable")[:, :KEPT].astype("<i4")
    kept = np.take_along_axis(rows, places, axis=-1).astype("<f4")
    return Recorded(values.shape, places, kept)


def _compare(name: str, kept: Recorded, found: F32 | None) -> Comparison:
    if found is None or found.shape != kept.shape:
        return Comparison(name, float("inf"), 0.0)
    rows = found.reshape(-1, found.shape[-1])
    there = np.take_along_axis(rows, kept.places, axis=-1)
    scale = max(1.0, float(np.sqrt(np.mean(np.square(kept.values, dtype=np.float64)))))
    agreement = np.count_nonzero(rows.argmax(axis=-1) == kept.places[:, 0]) / len(rows)
    largest = np.max(np.abs(np.subtract(there, kept.values)))
    return Comparison(name, float(largest) / scale, agreement)


def _input(entry: object) -> Raw:
    if not is_object(entry) or entry.get("dtype") not in INPUT_DTYPES.values():
        raise InvalidInput("an input is of no dtype that a network takes")
    dtype = str(entry["dtype"])
    value = view(_bytes(entry.get("data")), dtype, _shape(entry.get("shape")))
    return value.astype(np.bool_) if dtype == "BOOL" else value


def _output(entry: object) -> Recorded:
    if not is_object(entry):
        raise InvalidInput("an output is no object")
    shape = _shape(entry.get("shape"))
    if not shape or 0 in shape:
        raise InvalidInput("an output has no values")
    size = (prod(shape[:-1]), min(KEPT, shape[-1]))
    places = view(_bytes(entry.get("places")), "I32", size).astype(np.int32)
    values = view(_bytes(entry.get("values")), "F32", size).astype(np.float32)
    if not 0 <= int(places.min()) <= int(places.max()) < shape[-1]:
        raise InvalidInput("a place is outside of its output")
    return Recorded(shape, places, values)


def _shape(value: object) -> tuple[int, ...]:
    if not is_list(value) or len(value) > 8 or not all(is_count(n, below=1 << 31) for n in value):
        raise InvalidInput("a shape is no list of sizes")
    return tuple(cast("list[int]", value))


def _bytes(value: object) -> bytes:
    if not isinstance(value, str):
        raise InvalidInput("data is no text")
    return base64.b64decode(value, validate=True)


def _text(array: NDArray[np.generic]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _bad(why: str) -> Refused:
    return Refused([Problem("bad_config", f"{GOLDEN_FILE}: {why}", fix=_FIX)])
