"""Probe sets: the samples that checks run on, read strictly from texts, JSON lines or tensors."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deltareg.documents.json_values import is_count, is_object
from deltareg.errors import InvalidInput
from deltareg.suites.suite import ProbeSet
from deltareg.tensors.array import to_f32, view
from deltareg.tensors.header import (
    FLOAT_DTYPES,
    LENGTH_BYTES,
    TensorInfo,
    header_length,
    parse_header,
)

LABELS = "labels"
_MOST_SAMPLES = 100_000
_FIX = "see docs/howto/suites.md"


@dataclass(frozen=True, slots=True)
class Samples:
    """What a check runs on.

    Attributes:
        texts: One a sample; empty where samples are tensors.
        arrays: By parameter of the network's forward, the first dimension counts samples.
        labels: (n,): The right class of each sample; None where there are none.
    """

    texts: tuple[str, ...] = ()
    arrays: Mapping[str, NDArray[np.generic]] = field(
        default_factory=dict[str, NDArray[np.generic]]
    )
    labels: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """How many there are."""
        first = next(iter(self.arrays.values()), None)
        return len(self.texts) if first is None else int(first.shape[0])

    def taken(self, rows: Sequence[int] | NDArray[np.int64]) -> "Samples":
        """Give the samples with these numbers, in their order."""
        chosen = np.asarray(rows, np.int64)
        return Samples(
            tuple(self.texts[row] for row in chosen) if self.texts else (),
            {name: value[chosen] for name, value in self.arrays.items()},
            None if self.labels is None else self.labels[chosen],
        )


def read_samples(probe_set: ProbeSet, raw: bytes) -> Samples:
    """Read a probe set.

    Args:
        probe_set: As the suite has it.
        raw: The content of its file; not looked at when the texts stand in the suite.

    Raises:
        InvalidInput: The file is not what its name says.
        Refused: It ends in .safetensors and is none.
    """
    if probe_set.texts:
        return Samples(probe_set.texts)
    name = probe_set.file
    if name.endswith(".safetensors"):
        return _tensors(raw, name)
    lines = list(_lines(raw, name))
    if name.endswith(".jsonl"):
        return _labelled(lines, name)
    return Samples(tuple(line for _, line in lines))


def _lines(raw: bytes, name: str) -> Iterator[tuple[int, str]]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} is not UTF-8: {error}", fix=_FIX) from error
    numbered = enumerate((line.rstrip("\r") for line in text.split("\n")), 1)
    found = [(n, line) for n, line in numbered if line.strip()]
    if not 0 < len(found) <= _MOST_SAMPLES:
        raise InvalidInput(f"{name} has {len(found)} samples, not 1 to {_MOST_SAMPLES}", fix=_FIX)
    return iter(found)


def _labelled(lines: list[tuple[int, str]], name: str) -> Samples:
    texts: list[str] = []
    labels: list[int] = []
    for number, line in lines:
        item = _json(line, f"{name}, line {number}")
        text, label = item.get("text", item.get("prompt")), item.get("label")
        if not isinstance(text, str) or not text:
            raise InvalidInput(f'{name}, line {number}: there is no "text"', fix=_FIX)
        texts.append(text)
        if label is not None:
            if not is_count(label, below=1 << 31):
                raise InvalidInput(
                    f'{name}, line {number}: "label" is the number of a class, from 0 on', fix=_FIX
                )
            labels.append(label)
    if labels and len(labels) < len(texts):
        raise InvalidInput(f"{name}: {len(labels)} of {len(texts)} lines have a label", fix=_FIX)
    return Samples(tuple(texts), labels=np.array(labels, np.int64) if labels else None)


def _json(line: str, where: str) -> Mapping[str, object]:
    try:
        item: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{where}: not valid JSON: {error}", fix=_FIX) from error
    if not is_object(item):
        raise InvalidInput(f"{where}: a line is an object with a text", fix=_FIX)
    return item


def _tensors(raw: bytes, name: str) -> Samples:
    start = LENGTH_BYTES + header_length(raw[:LENGTH_BYTES], len(raw))
    header = parse_header(raw[:start], len(raw))
    arrays = {
        one.name: _array(raw[start + one.begin : start + one.end], one)
        for one in header.tensors.values()
    }
    labels = arrays.pop(LABELS, None)
    counts = {value.shape[0] if value.ndim else 0 for value in arrays.values()}
    count = next(iter(counts), 0)
    if len(counts) != 1 or not 0 < count <= _MOST_SAMPLES:
        raise InvalidInput(f"{name}: the tensors do not hold one row a sample", fix=_FIX)
    if labels is None:
        return Samples(arrays=arrays)
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise InvalidInput(f"{name}: labels are {count} whole numbers, one a sample", fix=_FIX)
    return Samples(arrays=arrays, labels=labels.astype(np.int64))


def _array(data: bytes, tensor: TensorInfo) -> NDArray[np.generic]:
    raw = view(data, tensor.dtype, tensor.shape)
    if tensor.dtype in FLOAT_DTYPES:
        return to_f32(raw, tensor.dtype).copy()
    return (raw.astype(np.bool_) if tensor.dtype == "BOOL" else raw).copy()
