"""What is used of the `gguf` package, which an extra brings; it has the names of every network."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from deltareg.errors import Misconfigured

Values = NDArray[np.generic]


class GgufKind(Protocol):
    """A member of one of its enumerations."""

    name: str


class GgufField(Protocol):
    """A value of the file's head."""

    def contents(self) -> object:
        """Give it as a Python value."""
        ...


class GgufTensor(Protocol):
    """A tensor of a file.

    Attributes:
        name: Its name.
        shape: Dimensions, the last first.
        tensor_type: How its elements are stored.
        data: These, in rows of bytes where they are quantised.
    """

    name: str
    shape: Sequence[int]
    tensor_type: GgufKind
    data: Values


class GgufReader(Protocol):
    """An opened file."""

    fields: Mapping[str, GgufField]
    tensors: Sequence[GgufTensor]


class GgufWriter(Protocol):
    """A file that is being written."""

    def add_type(self, type_name: str) -> None:
        """Say what sort of file it is."""
        ...

    def add_string(self, key: str, val: str) -> None:
        """Add a text."""
        ...

    def add_float32(self, key: str, val: float) -> None:
        """Add a number."""
        ...

    def add_tensor(self, name: str, tensor: Values) -> None:
        """Add a tensor."""
        ...

    def write_header_to_file(self) -> None:
        """Write the beginning."""
        ...

    def write_kv_data_to_file(self) -> None:
        """Write the values."""
        ...

    def write_tensors_to_file(self) -> None:
        """Write the tensors."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class GgufNames(Protocol):
    """The names of one architecture's tensors."""

    def get_name(self, key: str, try_suffixes: Sequence[str] = ()) -> str | None:
        """Give the name of a tensor that a library spells `key`."""
        ...


class GgufQuants(Protocol):
    """What it knows of stored elements."""

    def dequantize(self, data: Values, qtype: GgufKind) -> NDArray[np.float32]:
        """Give the numbers that they stand for."""
        ...


class GgufLibrary(Protocol):
    """The package, as far as it is used."""

    MODEL_ARCH_NAMES: Mapping[GgufKind, str]
    quants: GgufQuants

    def GGUFReader(self, path: Path) -> GgufReader:  # noqa: N802  # its name there
        """Open a file."""
        ...

    def GGUFWriter(self, path: Path, arch: str) -> GgufWriter:  # noqa: N802  # its name there
        """Begin a file."""
        ...

    def get_tensor_name_map(self, arch: GgufKind, n_blocks: int) -> GgufNames:
        """Give the names of an architecture."""
        ...


def gguf() -> GgufLibrary:
    """Give the package.

    Raises:
        Misconfigured: It is not installed.
    """
    try:
        return cast("GgufLibrary", import_module("gguf"))
    except ImportError as error:
        raise Misconfigured(
            "files of llama.cpp are read and written with the package gguf, which is not installed",
            fix="pip install 'deltareg[gguf]', then again",
        ) from error
