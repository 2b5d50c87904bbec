"""Golden outputs of a folder that is pushed: those in it, or those given beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deltareg.client.folders.array_file import read_arrays
from deltareg.client.folders.folder import Folder, MappedFile
from deltareg.client.results.reports import GoldenReport, RecordedForward
from deltareg.errors import InvalidInput, NotFound
from deltareg.host.weights_files import weights_digests
from deltareg.suites.golden import GoldenOrigin, GoldenOutputs, sample_of
from deltareg.suites.golden_file import GOLDEN_FILE, INPUT_DTYPES, MOST_BYTES, decode, encode

Arrays = Mapping[str, NDArray[np.generic]]
_FIX = "save tensors inputs.NAME and outputs.NAME, named as the network's forward names them"


def read_golden(path: Path) -> GoldenReport:
    """Read the golden outputs of a delta's folder, or of a file.

    Raises:
        NotFound: There are none.
        Refused: The file holds something else.
    """
    file = path / GOLDEN_FILE if path.is_dir() else path
    golden = decode(_read_recorded(file))
    origin = golden.origin
    return GoldenReport(
        origin.description,
        origin.how,
        origin.dtype,
        origin.device,
        origin.quantised,
        dict(origin.software),
        list(changed_weights(file.parent, origin)),
        [RecordedForward(sorted(one.inputs), sorted(one.outputs)) for one in golden.samples],
        "" if golden.training is None else golden.training.summary,
        "" if golden.progress is None else golden.progress.description,
    )


def golden_file(path: Path) -> bytes:
    """Return a file of golden outputs as a version carries it.

    Args:
        path: A safetensors file with tensors `inputs.NAME` and `outputs.NAME`, or a JSON file that
            was recorded elsewhere.

    Raises:
        InvalidInput: The file holds something else.
        Refused: It is a JSON file that was not recorded.
        NotFound: There is no such file.
    """
    return _read_recorded(path) if path.suffix == ".json" else _pack_golden(path)


def add_kept(folder: Folder, raw: bytes) -> None:
    """Add golden outputs from elsewhere to an opened folder; nothing on disk changes."""
    folder.drop(GOLDEN_FILE)
    folder.contents[GOLDEN_FILE] = MappedFile(GOLDEN_FILE, memoryview(raw))
    folder.left_out[:] = [one for one in folder.left_out if not one.startswith(GOLDEN_FILE)]


def leave_golden_out(folder: Folder, *, why: str) -> None:
    """Remove the golden outputs from an opened folder, and list them among what is left out."""
    if folder.drop(GOLDEN_FILE):
        folder.left_out.append(f"{GOLDEN_FILE} ({why})")


def origin_in(folder: Folder) -> GoldenOrigin | None:
    """Return where the golden outputs of an opened folder come from; None if it has none.

    Raises:
        Refused: The file holds something else.
    """
    file = folder.contents.get(GOLDEN_FILE)
    return None if file is None else decode(bytes(file.data)).origin


def changed_weights(folder: Path, origin: GoldenOrigin) -> Sequence[str]:
    """Return the tensor files that have changed since the outputs were recorded."""
    if not origin.weights:
        return ()
    now = weights_digests(folder)
    return [name for name, digest in origin.weights.items() if now.get(name) != digest]


def _read_recorded(path: Path) -> bytes:
    if not path.is_file():
        raise NotFound(f"there is no file {path}", fix="deltareg golden record FOLDER --base BASE")
    if path.stat().st_size > MOST_BYTES:
        raise InvalidInput(f"{path} holds no golden outputs: more than {MOST_BYTES} bytes")
    raw = path.read_bytes()
    decode(raw)
    return raw


def _pack_golden(path: Path) -> bytes:
    arrays = read_arrays(path)
    inputs, outputs = _below("inputs.", arrays), _below("outputs.", arrays)
    why = _fault(arrays, inputs, outputs)
    if why:
        raise InvalidInput(f"{path} holds no golden outputs: {why}", fix=_FIX)
    real = {name: value.astype(np.float32) for name, value in outputs.items()}
    return encode(GoldenOutputs((sample_of(inputs, real),)))


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
