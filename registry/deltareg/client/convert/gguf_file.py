"""Reads LoRA adapters of llama.cpp, one GGUF file each.

`blk.0.attn_q.weight.lora_a` is (r, n_in) and `lora_b` (n_out, r); of the embedding `lora_a` is
(vocabulary, r), and of experts both are stacks. One `adapter.lora.alpha` counts for all, over the
rank of each; zero means a scale of one to llama.cpp.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from deltareg.client.bases.bases import KnownBase
from deltareg.client.convert.gguf_head import check_head
from deltareg.client.convert.gguf_library import GgufTensor, gguf
from deltareg.client.convert.gguf_names import EMBEDDING, GgufNetwork, network_of
from deltareg.client.convert.lora import AdaptedModule, ConvertedLora, path_of
from deltareg.client.convert.matrices import InMemoryTensor
from deltareg.client.convert.ties import check_untied
from deltareg.delta.layouts.peft.config import is_number
from deltareg.errors import Problem, Refused
from deltareg.tensors.array import F32

ENDING = ".gguf"
ALPHA, SORT, KIND = "adapter.lora.alpha", "general.type", "adapter.type"
ARCHITECTURE = "general.architecture"
INVOCATION = "adapter.alora.invocation_tokens"
LETTERS = {".lora_a": "a", ".lora_b": "b"}
_UNREADABLE = (ValueError, KeyError, IndexError, TypeError, OverflowError)


def find_gguf(path: Path) -> Path | None:
    """Return the GGUF file at a path, or that of a folder without other weights; else None.

    Raises:
        Refused: The folder holds several GGUF files, or one that is not a regular file.
    """
    if path.is_file():
        return path if path.name.endswith(ENDING) else None
    candidates = sorted(path.glob(f"*{ENDING}")) if path.is_dir() else []
    if not candidates or any(path.glob("*.safetensors")):
        return None
    odd = next((file for file in candidates if not file.is_file()), None)
    if odd is not None:
        message, fix = f"{odd} is not a regular file", "replace it by the file itself"
        raise Refused([Problem("link", message, fix=fix)])
    if len(candidates) > 1:
        message = f"{path} holds {len(candidates)} GGUF files: {candidates[0].name}, {candidates[1].name}"
        raise Refused([Problem("ambiguous", message, fix=f"name one of them: {candidates[0]}")])
    return candidates[0]


def read(path: Path, known: KnownBase) -> ConvertedLora:
    """Read the factors of an adapter file.

    Raises:
        Refused: The file is not a LoRA, is damaged, or is for another network.
        InvalidInput: It is unknown here how llama.cpp stores such a network.
        Misconfigured: The package `gguf` is not installed.
    """
    library, network = gguf(), network_of(known.view)
    check_head(path)
    try:
        reader = library.GGUFReader(path)
        values = {tensor.name: _values(tensor) for tensor in reader.tensors}
        fields = {key: field.contents() for key, field in reader.fields.items()}
    except _UNREADABLE as error:
        message = f"{path.name} is no GGUF file that its own library reads: {str(error)[:80]}"
        raise Refused([Problem("header", message, fix="copy it again")]) from error
    _check_sort(path, fields, network)
    modules = _modules(values, network, _told_alpha(fields))
    if not modules:
        raise Refused([Problem("empty", f"{path.name} holds no tensor", fix="copy it again")])
    check_untied(modules, known.view, "llama.cpp")
    return ConvertedLora("gguf", modules, path.stat().st_size)


def _values(tensor: GgufTensor) -> F32:
    """Return a tensor as float32; every type stands for exact numbers."""
    shape = tuple(int(size) for size in reversed(tensor.shape))
    try:
        values = gguf().quants.dequantize(tensor.data, tensor.tensor_type)
    except NotImplementedError as error:  # how the library says so: of integers, and of new types
        message = f"it is stored as {tensor.tensor_type.name}, which gguf does not read as numbers"
        fix = "convert it anew as F32, F16, BF16 or Q8_0, or upgrade gguf"
        raise Refused([Problem("header", message, tensor=tensor.name, fix=fix)]) from error
    return np.array(values, np.float32).reshape(shape)


def _told_alpha(told: Mapping[str, object]) -> float:
    """Return the one alpha of a file; zero if it has none."""
    alpha = told.get(ALPHA, 0.0)
    if is_number(alpha):
        return float(cast("float", alpha))
    message = f"{ALPHA} is {str(alpha)[:40]}, and no numerator of a scale"
    raise Refused([Problem("bad_config", message, fix="convert it anew from what was trained")])


def _check_sort(path: Path, told: Mapping[str, object], network: GgufNetwork) -> None:
    if (told.get(SORT), told.get(KIND)) != ("adapter", "lora"):
        what = f"{SORT} {str(told.get(SORT))[:40]!r}, {KIND} {str(told.get(KIND))[:40]!r}"
        message = f"{path.name} is no LoRA adapter of llama.cpp: {what}"
        raise Refused([Problem("unknown_kind", message, fix="name the adapter's file")])
    if told.get(ARCHITECTURE) != network.architecture:
        architecture = str(told.get(ARCHITECTURE))[:40]
        message = f"{path.name} is for a network {architecture!r}, and the base is {network.architecture}"
        raise Refused([Problem("base_mismatch", message, fix="name the base it is for")])
    if INVOCATION in told:
        message = f"{path.name} is an activated LoRA, which acts from its invocation tokens on"
        raise Refused([Problem("unknown_kind", message, fix="convert the folder that peft wrote")])


def _modules(values: Mapping[str, F32], network: GgufNetwork, alpha: float) -> list[AdaptedModule]:
    pairs: dict[str, dict[str, F32]] = {}
    for name, value in values.items():
        weight, end = name[: -len(".lora_a")], name[-len(".lora_a") :]
        if end not in LETTERS:
            message = "llama.cpp adds it to nothing, or as no factor"
            raise Refused([Problem("unexpected_tensors", message, tensor=name, fix="take it out")])
        if not np.isfinite(value).all():
            message = "it holds NaN or infinity"
            fix = "the training run diverged: convert a checkpoint from before it did"
            raise Refused([Problem("non_finite", message, tensor=name, fix=fix)])
        pairs.setdefault(weight, {})[LETTERS[end]] = value
    targets = network.targets()
    return [
        module
        for weight in sorted(pairs)
        for module in _modules_of(weight, pairs[weight], targets.get(weight, []), network, alpha)
    ]


def _modules_of(
    weight: str, pair: Mapping[str, F32], targets: Sequence[str], network: GgufNetwork, alpha: float
) -> list[AdaptedModule]:
    """Return one module, or one for each expert of a stack."""
    if not targets:
        message = f"the base has no weight that llama.cpp calls {weight}"
        raise Refused([Problem("no_tensor_applied", message, tensor=weight, fix="check the base")])
    if len(pair) != 2:
        message = f"{weight} has only one of its two factors"
        raise Refused([Problem("missing_tensors", message, tensor=weight, fix="convert it again")])
    a, b = pair["a"], pair["b"]
    if len(targets) == 1:
        return [_module(weight, a, b, targets[0], network, alpha)]
    if {a.ndim, b.ndim} != {3} or {len(a), len(b)} != {len(targets)}:
        message = f"lora_a {list(a.shape)} and lora_b {list(b.shape)} are not of {len(targets)} experts"
        raise Refused([Problem("shape", message, tensor=weight, fix="check the base")])
    return [_module(weight, a[n], b[n], target, network, alpha) for n, target in enumerate(targets)]


def _module(weight: str, a: F32, b: F32, target: str, network: GgufNetwork, alpha: float) -> AdaptedModule:
    is_embedding, shape = weight == EMBEDDING, network.base.tensors[target].shape
    a, expected_shape = (a.T, shape[::-1]) if is_embedding else (a, shape)
    is_pair = a.ndim == b.ndim == 2 and a.shape[0] == b.shape[1]
    if not is_pair or (b.shape[0], a.shape[1]) != expected_shape:
        message = f"factors {list(a.shape)} and {list(b.shape)} do not fit {target} {list(shape)}"
        raise Refused([Problem("shape", message, tensor=weight, fix="check the base")])
    b = network.reorder_rows(target, b, back=True)
    return AdaptedModule(
        path_of(target, network.base),
        target,
        InMemoryTensor(f"{weight}.lora_a", "F32", a),
        InMemoryTensor(f"{weight}.lora_b", "F32", b),
        _alpha(alpha, a.shape[0]),
        is_flipped=is_embedding,
        is_embedding=is_embedding,
    )


def _alpha(told: float, rank: int) -> float:
    """Return the numerator of the scale, as the shortest number that float32 rounds to it."""
    return float(str(np.float32(told))) if told else float(rank)
