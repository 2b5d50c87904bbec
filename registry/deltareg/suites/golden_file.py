"""The file of golden outputs that is stored with a version: `deltareg-golden.json`.

docs/format.md has its two schemas; the first, without the origin of outputs, is only read. It is
not a safetensors file, since several libraries take any such file in a folder for the delta (ADR
50).
"""

import base64
import binascii
import json
from dataclasses import asdict
from math import prod
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from deltareg.documents.json_values import is_count, is_list, is_object
from deltareg.errors import InvalidInput, Problem, Refused
from deltareg.suites.golden import HOWS, KEPT, MOST_ROWS, GoldenOrigin, GoldenOutputs, GoldenSample, RecordedOutput
from deltareg.suites.training_progress import TrainingProgress
from deltareg.suites.training_start import TrainingStart
from deltareg.tensors.array import Raw, view
from deltareg.tensors.header import strict_json_object

GOLDEN_FILE = "deltareg-golden.json"
SCHEMA, FIRST_SCHEMA = "deltareg.golden/2", "deltareg.golden/1"
MOST_BYTES = 4 << 20
INPUT_DTYPES = {"float32": "F32", "int64": "I64", "int32": "I32", "uint8": "U8", "bool": "BOOL"}
DTYPES = ("F32", "BF16", "F16")
_MOST_SAMPLES, _MOST_WORDS, _MOST_LETTERS = 64, 64, 200
_Told = TypeVar("_Told", TrainingStart, TrainingProgress)
_LATER = (("pairs", "matched"), ("closed", "closed_last"), ("rows", "distinct_rows"))
"""What is counted since a later release than the first: each with what it counts of these."""
_START, _PROGRESS = TypeAdapter(TrainingStart), TypeAdapter(TrainingProgress)
_FIX = "record them again: deltareg golden record FOLDER --base BASE; or push with --no-golden"


def encode(golden: GoldenOutputs) -> bytes:
    """Encode the file.

    Raises:
        InvalidInput: It would be too large.
    """
    origin = golden.origin
    recorded = {
        "how": origin.how,
        "dtype": origin.dtype,
        "device": origin.device,
        "quantised": origin.quantised,
        "software": dict(sorted(origin.software.items())),
        "weights": dict(sorted(origin.weights.items())),
        **({"base": origin.base} if origin.base else {}),  # since this release; older ones read past it
    }
    samples = [_sample_fields(sample) for sample in golden.samples]
    optional = {"training": golden.training, "progress": golden.progress}
    optional_fields = {name: _told_fields(one) for name, one in optional.items() if one is not None}
    document = {"schema": SCHEMA, "recorded": recorded, **optional_fields, "samples": samples}
    raw = json.dumps(document, allow_nan=False).encode()
    if len(raw) > MOST_BYTES:
        raise InvalidInput(
            f"golden outputs of {len(raw)} bytes, at most {MOST_BYTES}", fix="record fewer or shorter inputs"
        )
    return raw


def decode(raw: bytes) -> GoldenOutputs:
    """Read the output of `encode`, or of the previous release's.

    Raises:
        Refused: `bad_config`: it is not such a file.
    """
    if len(raw) > MOST_BYTES:
        raise _bad(f"{len(raw)} bytes, at most {MOST_BYTES}")
    document = strict_json_object(raw)
    schema = document.get("schema")
    if schema not in (FIRST_SCHEMA, SCHEMA):  # whatever it is: a list has no hash
        raise _bad(f"it is not of the schema {SCHEMA}")
    try:
        if schema == FIRST_SCHEMA:
            return GoldenOutputs((_sample(document),))
        return GoldenOutputs(
            _samples(document.get("samples")),
            _origin(document.get("recorded")),
            _parse_section(_START, document.get("training"), "how its training began"),
            _parse_section(_PROGRESS, document.get("progress"), "how far its training had come"),
        )
    except (InvalidInput, ValueError, binascii.Error) as error:
        raise _bad(error.message if isinstance(error, InvalidInput) else str(error)) from error


def _told_fields(one: TrainingStart | TrainingProgress) -> dict[str, object]:
    """Return the fields of a section; what a later release counts only where it did, so old bytes stay."""
    fields = asdict(one)
    if isinstance(one, TrainingStart):
        shown = fields["shown"]
        left_out = {"marks", *(name for counted in _LATER if not shown[counted[0]] for name in counted)}
        fields["shown"] = {name: value for name, value in shown.items() if name not in left_out}
    return fields


def _sample_fields(sample: GoldenSample) -> dict[str, object]:
    inputs = {
        name: {"dtype": INPUT_DTYPES[value.dtype.name], "shape": list(value.shape), "data": _text(value)}
        for name, value in sorted(sample.inputs.items())
    }
    outputs = {
        name: {
            "shape": list(output.shape),
            **({} if output.rows is None else {"rows": _text(output.rows)}),
            "places": _text(output.places),
            "values": _text(output.values),
        }
        for name, output in sorted(sample.outputs.items())
    }
    return {"inputs": inputs, "outputs": outputs}


def _samples(value: object) -> tuple[GoldenSample, ...]:
    if not is_list(value) or not 0 < len(value) <= _MOST_SAMPLES:
        raise InvalidInput(f"it holds no list of 1 to {_MOST_SAMPLES} samples")
    return tuple(_sample(one) for one in value)


def _sample(value: object) -> GoldenSample:
    fields = value if is_object(value) else {}
    inputs, outputs = fields.get("inputs"), fields.get("outputs")
    if not is_object(inputs) or not is_object(outputs) or not inputs or not outputs:
        raise InvalidInput("it holds no inputs, or no outputs")
    return GoldenSample(
        {name: _input(entry) for name, entry in inputs.items()},
        {name: _output(entry) for name, entry in outputs.items()},
    )


def _origin(value: object) -> GoldenOrigin:
    if not is_object(value):
        raise InvalidInput("it does not say how it was recorded")
    how, dtype = value.get("how"), value.get("dtype")
    if how not in tuple(HOWS) or dtype not in ("", *DTYPES):
        raise InvalidInput(f"it was recorded {str(how)[:40]!r} in {str(dtype)[:20]!r}")
    words = {"base": value.get("base", "")} | {name: value.get(name) for name in ("device", "quantised")}
    odd = [name for name, word in words.items() if not _is_word(word)]
    if odd:
        raise InvalidInput(f"its {odd[0]} is no word")
    return GoldenOrigin(
        how,
        str(dtype),
        str(words["device"]),
        str(words["quantised"]),
        _words(value.get("software"), "software"),
        _words(value.get("weights"), "weights"),
        str(words["base"]),
    )


def _parse_section(form: TypeAdapter[_Told], value: object, what: str) -> _Told | None:
    """Parse a section about training; fields that this release does not know are ignored."""
    if value is None:
        return None
    try:
        return form.validate_python(value)
    except ValidationError as error:
        raise InvalidInput(f"it does not say in numbers {what}") from error


def _words(value: object, name: str) -> dict[str, str]:
    if not is_object(value) or len(value) > _MOST_WORDS:
        raise InvalidInput(f"its {name} is no table of at most {_MOST_WORDS} words")
    if not all(_is_word(key) and _is_word(word) for key, word in value.items()):
        raise InvalidInput(f"its {name} is no table of words")
    return {key: str(word) for key, word in value.items()}


def _is_word(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MOST_LETTERS and value.isprintable()


def _input(entry: object) -> Raw:
    if not is_object(entry) or entry.get("dtype") not in INPUT_DTYPES.values():
        raise InvalidInput("an input is of no dtype that a network takes")
    dtype = str(entry["dtype"])
    value = view(_bytes(entry.get("data")), dtype, _shape(entry.get("shape")))
    return value.astype(np.bool_) if dtype == "BOOL" else value


def _output(entry: object) -> RecordedOutput:
    if not is_object(entry):
        raise InvalidInput("an output is no object")
    shape = _shape(entry.get("shape"))
    if not shape or 0 in shape:
        raise InvalidInput("an output has no values")
    count = prod(shape[:-1])
    rows = None if "rows" not in entry else _rows(entry["rows"], below=count)
    size = (count if rows is None else len(rows), min(KEPT, shape[-1]))
    places = view(_bytes(entry.get("places")), "I32", size).astype(np.int32)
    values = view(_bytes(entry.get("values")), "F32", size).astype(np.float32)
    if not 0 <= int(places.min()) <= int(places.max()) < shape[-1]:
        raise InvalidInput("a place is outside of its output")
    return RecordedOutput(shape, places, values, rows)


def _rows(value: object, *, below: int) -> NDArray[np.int32]:
    raw = _bytes(value)
    rows = view(raw, "I32", (len(raw) // 4,)).astype(np.int32)
    if not 0 < len(rows) <= MOST_ROWS or not 0 <= int(rows.min()) <= int(rows.max()) < below:
        raise InvalidInput("a row is outside of its output")
    return rows


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
