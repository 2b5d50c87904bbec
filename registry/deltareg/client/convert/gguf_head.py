"""Checks the head of a GGUF file before its library reads it: every length lies within the file.

The library trusts the counts in the file, and would count to 2⁶⁴ in a file of a hundred bytes.
"""

import struct
from pathlib import Path
from typing import BinaryIO, Never

from deltareg.errors import Problem, Refused

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_TEXT, _LIST = 8, 9
_MOST_VALUES, _MOST_TENSORS, _MOST_DIMENSIONS = 4096, 200_000, 4
_LONGEST_NAME, _MOST_ITEMS = 1024, 1 << 20


def check_head(path: Path) -> None:
    """Check the head of a file.

    Raises:
        Refused: It is not a GGUF file, or its head claims more than the file holds.
    """
    with path.open("rb") as file:
        _Head(file, path.name, path.stat().st_size).check()


class _Head:
    """A head that is being checked."""

    def __init__(self, file: BinaryIO, name: str, size_bytes: int) -> None:
        self._file, self._name, self._left = file, name, size_bytes

    def check(self) -> None:
        """Walk the head from its first byte to its last."""
        if self._take(4) != _MAGIC:
            self._refuse("it does not begin as one")
        version = self._number(4)
        if version not in _VERSIONS:
            self._refuse(f"version {version} is not known here")
        tensors, values = self._number(8), self._number(8)
        if tensors > _MOST_TENSORS or values > _MOST_VALUES:
            self._refuse(f"it says that it has {tensors} tensors and {values} values")
        for _ in range(values):
            self._text(_LONGEST_NAME)
            self._value(self._number(4))
        for _ in range(tensors):
            self._text(_LONGEST_NAME)
            dimensions = self._number(4)
            if dimensions > _MOST_DIMENSIONS:
                self._refuse(f"a tensor of {dimensions} dimensions")
            self._skip(8 * dimensions + 4 + 8)

    def _value(self, kind: int) -> None:
        if kind in _SIZES:
            self._skip(_SIZES[kind])
        elif kind == _TEXT:
            self._text(self._left)
        elif kind == _LIST:
            self._list()
        else:
            self._refuse(f"a value of type {kind}")

    def _list(self) -> None:
        kind, count = self._number(4), self._number(8)
        if count > _MOST_ITEMS:
            self._refuse(f"a list of {count} items")
        if kind in _SIZES:
            self._skip(_SIZES[kind] * count)
        elif kind == _TEXT:
            for _ in range(count):
                self._text(self._left)
        else:
            self._refuse(f"a list of type {kind}")

    def _text(self, longest: int) -> None:
        length = self._number(8)
        if length > longest:
            self._refuse(f"a text of {length} bytes")
        self._skip(length)

    def _number(self, size_bytes: int) -> int:
        form = "<I" if size_bytes == struct.calcsize("<I") else "<Q"
        return int(struct.unpack(form, self._take(size_bytes))[0])

    def _take(self, size_bytes: int) -> bytes:
        self._spend(size_bytes)
        return self._file.read(size_bytes)

    def _skip(self, size_bytes: int) -> None:
        self._spend(size_bytes)
        self._file.seek(size_bytes, 1)

    def _spend(self, size_bytes: int) -> None:
        self._left -= size_bytes
        if self._left < 0:
            self._refuse("its head goes beyond its end")

    def _refuse(self, why: str) -> Never:
        message = f"{self._name} is no GGUF file: {why}"
        raise Refused([Problem("header", message, fix="copy it again")])
