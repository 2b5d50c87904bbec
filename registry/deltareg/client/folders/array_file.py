"""Arrays in a safetensors file that is not a delta: a network's inputs and outputs."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deltareg.client.folders.folder import MappedTensor, open_folder
from deltareg.errors import InvalidInput
from deltareg.tensors.array import to_f32, view
from deltareg.tensors.header import FLOAT_DTYPES


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """Read all tensors of a file; floats are returned as float32.

    Raises:
        NotFound: The file does not exist.
        Refused: It is not a safetensors file.
        InvalidInput: A tensor has a dtype that no network takes.
    """
    with open_folder(path) as folder:
        names = [name for name, file in folder.contents.items() if file.header is not None]
        return {tensor.name: _array(tensor) for name in names for tensor in folder.tensors_of(name).values()}


def _array(tensor: MappedTensor) -> NDArray[np.generic]:
    raw = view(tensor.read(), tensor.dtype, tensor.shape)
    if tensor.dtype in FLOAT_DTYPES:
        return to_f32(raw, tensor.dtype).copy()
    if tensor.dtype.startswith("F8"):
        raise InvalidInput(f"{tensor.name} is {tensor.dtype}, which no network takes as it is")
    return (raw.astype(np.bool_) if tensor.dtype == "BOOL" else raw).copy()
