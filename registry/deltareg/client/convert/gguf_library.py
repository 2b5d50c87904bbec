"""The parts of the `gguf` package in use; an extra installs it. It has every network's names."""

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
        """Return the value as a Python value."""
        ...


class GgufTensor(Protocol):
    """A tensor of a file.

    Attributes:
        name: Its name.
        shape: Dimensions, the last first.
        tensor_type: How its elements are stored.
        data: The elements; rows of bytes if they are quantised.
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
        """Set the type of the file."""
        ...

    def add_string(self, key: str, val: str) -> None:
        """Add a text value."""
        ...

    def add_float32(self, key: str, val: float) -> None:
        """Add a number."""
        ...

    def add_tensor(self, name: str, tensor: Values) -> None:
        """Add a tensor."""
        ...

    def write_header_to_file(self) -> None:
        """Write the header."""
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
        """Return the name of a tensor that a library calls `key`; None if it has none."""
        ...


class GgufQuants(Protocol):
    """What the package knows of stored elements."""

    def dequantize(self, data: Values, qtype: GgufKind) -> NDArray[np.float32]:
        """Return the numbers that stored elements stand for."""
        ...


class GgufLibrary(Protocol):
    """The package, as far as it is used here."""

    MODEL_ARCH_NAMES: Mapping[GgufKind, str]
    quants: GgufQuants

    def GGUFReader(self, path: Path) -> GgufReader:  # noqa: N802  # its name there
        """Open a file for reading."""
        ...

    def GGUFWriter(self, path: Path, arch: str) -> GgufWriter:  # noqa: N802  # its name there
        """Start a new file."""
        ...

    def get_tensor_name_map(self, arch: GgufKind, n_blocks: int) -> GgufNames:
        """Return the tensor names of an architecture."""
        ...


def gguf() -> GgufLibrary:
    """Import and return the package.

    Raises:
        Misconfigured: The package is not installed.
    """
    try:
        return cast("GgufLibrary", import_module("gguf"))
    except ImportError as error:
        raise Misconfigured(
            "files of llama.cpp are read and written with the package gguf, which is not installed",
            fix="pip install 'deltareg[gguf]', then again",
        ) from error
