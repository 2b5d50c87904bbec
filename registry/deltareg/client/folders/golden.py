"""`push --golden FILE`: the publisher's own outputs, made ready to travel with the version."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deltareg.client.folders.array_file import read_arrays
from deltareg.client.folders.folder import Folder, MappedFile
from deltareg.errors import Conflict, InvalidInput
from deltareg.suites.golden import GOLDEN_FILE, INPUT_DTYPES, encode, record

Arrays = Mapping[str, NDArray[np.generic]]
_FIX = "save tensors inputs.NAME and outputs.NAME, named as the network's forward names them"


def add_golden(folder: Folder, path: Path) -> None:
    """Put golden outputs into an opened folder, as one more file of it.

    Args:
        folder: The delta.
        path: A safetensors file with tensors `inputs.NAME` and `outputs.NAME`.

    Raises:
        InvalidInput: The file holds something else.
        Conflict: The folder has golden outputs already.
    """
    if GOLDEN_FILE in folder.contents:
        raise Conflict(
            f"the folder holds a {GOLDEN_FILE}", fix="take it out, or leave --golden out"
        )
    arrays = read_arrays(path)
    inputs, outputs = _below("inputs.", arrays), _below("outputs.", arrays)
    why = _fault(arrays, inputs, outputs)
    if why:
        raise InvalidInput(f"{path} holds no golden outputs: {why}", fix=_FIX)
    real = {name: value.astype(np.float32) for name, value in outputs.items()}
    raw = encode(record(inputs, real))
    folder.contents[GOLDEN_FILE] = MappedFile(GOLDEN_FILE, memoryview(raw))


def _fault(arrays: Arrays, inputs: Arrays, outputs: Arrays) -> str:
    odd = [name for name in arrays if not name.startswith(("inputs.", "outputs."))]
    foreign = [name for name, value in inputs.items() if value.dtype.name not in INPUT_DTYPES]
    flat = [n for n, v in outputs.items() if v.dtype != np.float32 or not v.ndim or not v.size]
    match odd, foreign, flat:
        case [name, *_], _, _:
            return f"it holds {name}"
        case _, [name, *_], _:
            return f"inputs.{name} is {inputs[name].dtype}"
        case _, _, [name, *_]:
            return f"outputs.{name} is no array of real numbers"
        case _:
            return "" if inputs and outputs else "it lacks inputs, or outputs"


def _below(prefix: str, arrays: Arrays) -> Arrays:
    return {n.removeprefix(prefix): value for n, value in arrays.items() if n.startswith(prefix)}
