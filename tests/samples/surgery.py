"""Operations on the bytes, tensors and configs of small deltas; no framework, nothing executed.

An operation that takes parameters gives a function that changes a folder in place.
"""

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CANARY = "PICKLE_CANARY"
_ATTENTION = "base_model.model.model.layers.{}.self_attn.{}"
Q0 = _ATTENTION.format(0, "q_proj")
_DTYPES = {"F32": np.float32, "BF16": np.uint16}
Tensors = dict[str, np.ndarray]
Change = Callable[[Path], None]


def read_tensors(path: Path) -> Tensors:
    """Read a small safetensors file as arrays, in the order of their data."""
    header, data = _split(path.read_bytes())
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(data[slice(*entry["data_offsets"])], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    }


def write_tensors(path: Path, tensors: Tensors) -> None:
    """Write float32 arrays as a safetensors file, byte for byte the same every time."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, array in tensors.items():
        header[name] = _entry(array, at)
        at += array.nbytes
    path.write_bytes(_joined(header, b"".join(array.tobytes() for array in tensors.values())))


def _entry(array: np.ndarray, begin: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": list(array.shape), "data_offsets": [begin, begin + array.nbytes]}


def _split(raw: bytes) -> tuple[dict, bytes]:
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def _joined(header: dict, data: bytes) -> bytes:
    return _framed(json.dumps(header, separators=(",", ":")).encode(), data)


def _framed(text: bytes, data: bytes) -> bytes:
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def on_bytes(change: Callable[[bytes], bytes]) -> Change:
    """Change the bytes of the weights."""

    def break_it(folder: Path) -> None:
        path = folder / WEIGHTS
        path.write_bytes(change(path.read_bytes()))

    return break_it


def on_tensors(change: Callable[[Tensors], Tensors]) -> Change:
    """Change the tensors of the weights."""

    def break_it(folder: Path) -> None:
        write_tensors(folder / WEIGHTS, change(read_tensors(folder / WEIGHTS)))

    return break_it


def on_config(**fields: object) -> Change:
    """Overwrite fields of the config."""

    def break_it(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text()) | fields
        (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True))

    return break_it


def renamed(old: str, new: str) -> Change:
    """Change a part of every tensor name."""
    return on_tensors(lambda ts: {name.replace(old, new): t for name, t in ts.items()})


def scaled(part: str, factor: float) -> Change:
    """Multiply every tensor whose name has a part."""

    def scale(name: str, t: np.ndarray) -> np.ndarray:
        return (t * np.float32(factor)).astype(np.float32) if part in name else t

    return on_tensors(lambda ts: {name: scale(name, t) for name, t in ts.items()})


def one_value(value: float) -> Change:
    """Put one value into the first A factor."""

    def change(ts: Tensors) -> Tensors:
        name = f"{Q0}.lora_A.weight"
        sick = ts[name].copy()
        sick[0, 3] = value
        return ts | {name: sick}

    return on_tensors(change)


def with_tensor(name: str, array: np.ndarray) -> Change:
    """Add a tensor."""
    return on_tensors(lambda ts: ts | {name: array.astype(np.float32)})


def swap_factors(tensors: Tensors) -> Tensors:
    """Put A under B's name, and the other way round."""
    swap = {"lora_A": "lora_B", "lora_B": "lora_A"}
    return {".".join(swap.get(word, word) for word in name.split(".")): t for name, t in tensors.items()}


def drop_half(tensors: Tensors) -> Tensors:
    """Drop the B factors of layer 1."""
    return {name: t for name, t in tensors.items() if "layers.1" not in name or "lora_A" in name}


def narrow(tensors: Tensors) -> Tensors:
    """Cut eight columns off the first A factor."""
    name = f"{Q0}.lora_A.weight"
    return tensors | {name: np.ascontiguousarray(tensors[name][:, :-8])}


def duplicate_key(raw: bytes) -> bytes:
    """Name the first tensor twice in the header."""
    header, data = _split(raw)
    first = next(name for name in header if name != "__metadata__")
    text = json.dumps(header, separators=(",", ":"))
    again = json.dumps({first: header[first]}, separators=(",", ":"))
    return _framed(f"{text[:-1]},{again[1:]}".encode(), data)


def overlap(raw: bytes) -> bytes:
    """Let the last tensor begin 16 bytes early, where the one before it still is."""
    header, data = _split(raw)
    *_, last = sorted((n for n in header if n != "__metadata__"), key=_begin(header))
    begin, end = header[last]["data_offsets"]
    header[last]["data_offsets"] = [begin - 16, end - 16]
    return _joined(header, data[:-16])


def hole(raw: bytes) -> bytes:
    """Put 16 bytes before the last tensor that belong to none."""
    header, data = _split(raw)
    *_, last = sorted((n for n in header if n != "__metadata__"), key=_begin(header))
    begin, end = header[last]["data_offsets"]
    header[last]["data_offsets"] = [begin + 16, end + 16]
    return _joined(header, data[:begin] + bytes(16) + data[begin:])


def _begin(header: dict) -> Callable[[str], int]:
    return lambda name: header[name]["data_offsets"][0]


def lfs_pointer(raw: bytes) -> bytes:
    """Give what Git LFS leaves where the file was not fetched."""
    oid = "0" * 64
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(raw)}\n".encode()


def handmade_pickle() -> bytes:
    """Give a pickle that, if anything executed it, would create an empty file `PICKLE_CANARY`.

    Written opcode by opcode (PEP 307): protocol 2, GLOBAL builtins.open, a tuple of two strings,
    REDUCE. Nothing here imports the module that could execute it.
    """
    texts = b"".join(b"X" + struct.pack("<I", len(t)) + t for t in (CANARY.encode(), b"w"))
    return b"\x80\x02cbuiltins\nopen\n" + texts + b"\x86R."


def as_pickle(folder: Path) -> None:
    """Replace the weights by a plain pickle."""
    (folder / WEIGHTS).unlink()
    (folder / "adapter_model.bin").write_bytes(handmade_pickle())


def as_torch_archive(folder: Path) -> None:
    """Replace the weights by a zip that holds a pickle, as torch saves."""
    (folder / WEIGHTS).unlink()
    with zipfile.ZipFile(folder / "adapter_model.bin", "w") as archive:
        for name, data in (("data.pkl", handmade_pickle()), ("version", b"3\n")):
            archive.writestr(zipfile.ZipInfo(f"adapter_model/{name}"), data)


def add_code(folder: Path) -> None:
    """Put a Python file beside the weights."""
    (folder / "modeling_tiny.py").write_text('"""Code, which never travels with a delta."""\n')


def repeat_config_key(folder: Path) -> None:
    """Say `lora_alpha` twice in the config."""
    text = (folder / CONFIG).read_text().rstrip()
    (folder / CONFIG).write_text(text[:-1].rstrip() + ',\n  "lora_alpha": 4000\n}')


def rename_file(name: str) -> Change:
    """Give the only file another name."""

    def break_it(folder: Path) -> None:
        (path,) = folder.iterdir()
        path.rename(folder / name)

    return break_it


def without(name: str) -> Change:
    """Remove a file."""
    return lambda folder: (folder / name).unlink()
