"""Files of probe sets: written from rows, and cut to a number of samples."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from deltareg.client.disk.weights_file import TensorSlot, write_header
from deltareg.suites.drafting.draft import SampleSource
from deltareg.suites.drafting.measures import DraftMeasure
from deltareg.suites.drafting.rows import DataRow
from deltareg.tensors.array import view
from deltareg.tensors.header import LENGTH_BYTES, header_length, parse_header

Line = Mapping[str, object]


def write_lines(path: Path, rows: Sequence[DataRow], source: SampleSource, measure: DraftMeasure) -> None:
    """Write rows as the lines that a check of the measure reads."""
    numbers = {label: at for at, label in enumerate(source.classes)}
    write = _FORMS[measure.form]
    lines = (write(row, numbers) for row in rows)
    path.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines), encoding="utf-8")


def cut_file(source: Path, out: Path, n: int) -> None:
    """Copy the first samples of a probe file."""
    if source.suffix == ".safetensors":
        _cut_tensors(source.read_bytes(), out, n)
        return
    with source.open(encoding="utf-8") as file:
        lines = [line for _, line in zip(range(n), file, strict=False)]
    out.write_text("".join(lines), encoding="utf-8")


def _cut_tensors(raw: bytes, out: Path, n: int) -> None:
    start = LENGTH_BYTES + header_length(raw[:LENGTH_BYTES], len(raw))
    tensors = list(parse_header(raw[:start], len(raw)).tensors.values())
    slots = [TensorSlot(one.name, one.dtype, (min(n, one.shape[0]), *one.shape[1:])) for one in tensors]
    with out.open("wb") as file:
        file.write(write_header(slots, {}))
        for one in tensors:
            values = view(raw[start + one.begin : start + one.end], one.dtype, one.shape)
            file.write(np.ascontiguousarray(values[:n]).tobytes())


def _texts(row: DataRow, _: Mapping[str, int]) -> Line:
    return {"text": f"{row.text}\n{row.target}" if row.target else row.text}


def _labelled_line(row: DataRow, numbers: Mapping[str, int]) -> Line:
    return {"text": row.text, "label": numbers[row.label]}


def _targets(row: DataRow, _: Mapping[str, int]) -> Line:
    return {"text": row.text, "target": row.target}


def _ranked_line(row: DataRow, _: Mapping[str, int]) -> Line:
    return {"text": row.text, "relevant": [row.target], "others": list(row.others)}


_FORMS: Mapping[str, Callable[[DataRow, Mapping[str, int]], Line]] = {
    "texts": _texts,
    "labelled": _labelled_line,
    "targets": _targets,
    "ranked": _ranked_line,
}
