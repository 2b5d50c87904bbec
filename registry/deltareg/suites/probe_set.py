"""Probe sets: the samples that checks run on, read strictly from texts, JSON lines or tensors."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from deltareg.errors import InvalidInput
from deltareg.suites.probe_lines import read_lines
from deltareg.suites.samples import FIX, Samples
from deltareg.suites.suite import ProbeSet
from deltareg.tensors.array import to_f32, view
from deltareg.tensors.header import FLOAT_DTYPES, LENGTH_BYTES, TensorInfo, header_length, parse_header

__all__ = ["LABELS", "TARGETS", "Samples", "read_samples"]

LABELS = "labels"
TARGETS = "targets"
_MOST_SAMPLES = 100_000


def read_samples(probe_set: ProbeSet, raw: bytes) -> Samples:
    """Read a probe set.

    Args:
        probe_set: As the suite has it.
        raw: The content of its file; ignored if the texts are in the suite.

    Raises:
        InvalidInput: The file is not of the type that its name says.
        Refused: It ends in .safetensors and is not such a file.
    """
    if probe_set.texts:
        return Samples(probe_set.texts)
    name = probe_set.file
    if name.endswith(".safetensors"):
        return _tensors(raw, name)
    lines = list(_lines(raw, name))
    if name.endswith(".jsonl"):
        return read_lines(lines, name)
    return Samples(tuple(line for _, line in lines))


def _lines(raw: bytes, name: str) -> Iterator[tuple[int, str]]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} is not UTF-8: {error}", fix=FIX) from error
    numbered = enumerate((line.rstrip("\r") for line in text.split("\n")), 1)
    lines = [(n, line) for n, line in numbered if line.strip()]
    if not 0 < len(lines) <= _MOST_SAMPLES:
        raise InvalidInput(f"{name} has {len(lines)} samples, not 1 to {_MOST_SAMPLES}", fix=FIX)
    return iter(lines)


def _tensors(raw: bytes, name: str) -> Samples:
    start = LENGTH_BYTES + header_length(raw[:LENGTH_BYTES], len(raw))
    header = parse_header(raw[:start], len(raw))
    arrays = {one.name: _array(raw[start + one.begin : start + one.end], one) for one in header.tensors.values()}
    labels, written = arrays.pop(LABELS, None), arrays.pop(TARGETS, None)
    counts = {value.shape[0] if value.ndim else 0 for value in arrays.values()}
    count = next(iter(counts), 0)
    if len(counts) != 1 or not 0 < count <= _MOST_SAMPLES:
        raise InvalidInput(f"{name}: the tensors do not hold one row a sample", fix=FIX)
    targets = () if written is None else _targets(written, count, name)
    if labels is None:
        return Samples(arrays=arrays, targets=targets)
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise InvalidInput(f"{name}: labels are {count} whole numbers, one a sample", fix=FIX)
    return Samples(arrays=arrays, labels=labels.astype(np.int64), targets=targets)


def _targets(written: NDArray[np.generic], count: int, name: str) -> tuple[str, ...]:
    """Read one text per row: UTF-8 bytes, padded with zeros."""
    if written.ndim != 2 or len(written) != count or written.dtype != np.uint8:
        raise InvalidInput(
            f"{name}: targets are {count} rows of U8, the UTF-8 of each text filled up with zeros", fix=FIX
        )
    try:
        targets = tuple(row.tobytes().rstrip(b"\0").decode() for row in written)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name}: targets are not UTF-8: {error}", fix=FIX) from error
    if not all(targets):
        raise InvalidInput(f"{name}: the target of row {targets.index('')} is empty", fix=FIX)
    return targets


def _array(data: bytes, tensor: TensorInfo) -> NDArray[np.generic]:
    raw = view(data, tensor.dtype, tensor.shape)
    if tensor.dtype in FLOAT_DTYPES:
        return to_f32(raw, tensor.dtype).copy()
    return (raw.astype(np.bool_) if tensor.dtype == "BOOL" else raw).copy()
