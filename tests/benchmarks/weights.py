"""Sets of weights for the codec's benchmark: a fine-tune and its base, in safetensors files.

A set is a folder with `tuned.safetensors` and, unless it stands alone, `base.safetensors` of the
same names and shapes. Elements are words of raw bits, whatever their dtype: every codec gets, and
has to give back, bits.
"""

import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import platformdirs

from deltareg.digest import tensor_digest
from deltareg.identity.manifest import Piece
from deltareg.tensors.header import ITEM_BYTES, parse_header

WORDS: dict[int, np.dtype] = {2: np.dtype("<u2"), 4: np.dtype("<u4")}
_CUT = "cut"

Tensors = Mapping[str, np.ndarray]


def cache_folder() -> Path:
    """Give the folder for everything that is made once: `DELTAREG_BENCH_DIR` names another."""
    named = os.environ.get("DELTAREG_BENCH_DIR")
    folder = Path(named) if named else Path(platformdirs.user_cache_dir("deltareg-bench"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True)
class Weights:
    """A set in memory. Tensors are views of one stretch of bytes, in the order of the file."""

    name: str
    dtype: str
    tensors: Tensors
    data: np.ndarray
    base: Tensors | None = None
    against: np.ndarray | None = None
    folder: Path | None = None

    @property
    def item_bytes(self):
        return ITEM_BYTES[self.dtype]

    @property
    def words(self):
        """All elements, one after another."""
        return self.data.view(WORDS[self.item_bytes])

    @property
    def base_words(self):
        assert self.against is not None
        return self.against.view(WORDS[self.item_bytes])

    @cached_property
    def pieces(self) -> Mapping[str, Piece]:
        return {name: _piece(self.dtype, array) for name, array in self.tensors.items()}

    @cached_property
    def base_pieces(self) -> Mapping[str, Piece]:
        return {name: _piece(self.dtype, array) for name, array in (self.base or {}).items()}

    @cached_property
    def changed(self) -> float | None:
        """The share of elements whose bits differ from the base's."""
        if self.against is None:
            return None
        starts = range(0, self.words.size, 1 << 24)
        parts = (slice(at, at + starts.step) for at in starts)
        found = sum(int((self.words[p] != self.base_words[p]).sum()) for p in parts)
        return found / self.words.size

    def cut(self, most_bytes: int) -> "Weights":
        """Take a stretch of at most so many bytes out of the middle, as one tensor."""
        size = min(most_bytes, self.data.size) // self.item_bytes * self.item_bytes
        begin = (self.data.size - size) // 2 // self.item_bytes * self.item_bytes
        part = slice(begin, begin + size)
        against = None if self.against is None else self.against[part]
        kind = WORDS[self.item_bytes]
        base = None if against is None else {_CUT: against.view(kind)}
        tensors = {_CUT: self.data[part].view(kind)}
        return Weights(self.name, self.dtype, tensors, self.data[part], base, against)

    def files(self, scratch: Path) -> tuple[Path, Path | None]:
        """Give the paths of fine-tune and base; a cut is written into `scratch` first."""
        folder = self.folder
        if folder is None:
            folder = scratch
            write(folder / "tuned.safetensors", self.dtype, self.tensors)
            if self.base is not None:
                write(folder / "base.safetensors", self.dtype, self.base)
        return folder / "tuned.safetensors", None if self.base is None else folder / ("base.safetensors")


def load(name: str, folder: Path) -> Weights:
    """Read a set that was written."""
    dtype, tensors, data = read(folder / "tuned.safetensors")
    path = folder / "base.safetensors"
    if not path.exists():
        return Weights(name, dtype, tensors, data, folder=folder)
    base_dtype, base, against = read(path)
    if base_dtype != dtype or list(base) != list(tensors):
        raise SystemExit(f"{folder} does not hold a pair: remove it")
    return Weights(name, dtype, tensors, data, base, against, folder)


def read(path: Path) -> tuple[str, dict[str, np.ndarray], np.ndarray]:
    """Read a file of one dtype: the dtype, its tensors as words, and all their bytes."""
    with path.open("rb") as file:
        first = file.read(8)
        raw = first + file.read(int.from_bytes(first, "little"))
    header = parse_header(raw, path.stat().st_size)
    data = np.fromfile(path, np.uint8, offset=len(raw))
    tensors = {
        info.name: data[info.begin : info.end].view(WORDS[ITEM_BYTES[info.dtype]]).reshape(info.shape)
        for info in sorted(header.tensors.values(), key=lambda info: info.begin)
    }
    (dtype,) = {info.dtype for info in header.tensors.values()}
    return dtype, tensors, data


def write(path: Path, dtype: str, tensors: Tensors) -> Path:
    """Write tensors of words in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(header(dtype, {name: array.shape for name, array in tensors.items()}))
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).data)
    return path


def header(dtype: str, shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """Write the header of a file of one dtype."""
    entries, at = {}, 0
    for name, shape in shapes.items():
        end = at + math.prod(shape) * ITEM_BYTES[dtype]
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def made(folder: Path, make) -> Path:
    """Give a folder; what is not there yet is made under another name and moved when complete."""
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        make(partial)
        partial.rename(folder)
    return folder


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """Round float32 to the words of a dtype, ties to even."""
    if dtype == "F32":
        return np.ascontiguousarray(values).view("<u4")
    if dtype == "F16":
        return values.astype("<f2").view("<u2")
    bits = np.ascontiguousarray(values).view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def widened(words: np.ndarray) -> np.ndarray:
    """Read bf16 words as float32."""
    return (words.astype("<u4") << 16).view("<f4")


def _piece(dtype: str, array: np.ndarray) -> Piece:
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    return Piece(tensor_digest(dtype, array.shape, [flat]), dtype, array.shape, array.nbytes)
