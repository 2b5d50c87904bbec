"""The values that packed weights stand for, in float32, by the formulas of each scheme.

- fp8: w · scale, with one scale for a block, a row or all (DeepSeek-AI 2024, arXiv 2412.19437,
  section 3.3; `weight_scale_inv` is the factor, whatever its name says).
- int8: (w - zero) · scale; of bitsandbytes w · SCB / 127 (Dettmers et al. 2022, arXiv 2208.07339).
- gptq: (q - zero - 1) · scale, by groups of inputs (Frantar et al. 2022, arXiv 2210.17323, as
  AutoGPTQ stores it; the second form of its checkpoints has no 1).
- awq: (q - zero) · scale, eight numbers a word in the order 0 2 4 6 1 3 5 7 (Lin et al. 2023, arXiv
  2306.00978, as AutoAWQ's gemm stores it).
- bnb4: map[q] · absmax by blocks, the maxima packed once more (Dettmers et al. 2023, arXiv
  2305.14314, section 3).
- mxfp4: e2m1 · 2^(scale - 127) by 32 (OCP Microscaling 1.0, section 5.3).
"""

from collections.abc import Callable, Iterator, Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray

from deltareg.delta.maths.formula import Tensor
from deltareg.delta.quantised.packed import PackedWeight, bits_of
from deltareg.documents.json_values import is_count, is_list
from deltareg.errors import DeltaregError, InvalidInput
from deltareg.tensors.array import to_f32, view
from deltareg.tensors.header import strict_json_object
from deltareg.words import Scheme

F32 = NDArray[np.float32]
Bytes = NDArray[np.uint8]
_ROWS = 1024
_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
_E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
_E8M0_BIAS = 127


def values(
    packed: PackedWeight, tensors: Mapping[str, Tensor], scheme: Scheme, fields: Mapping[str, object]
) -> Iterator[F32]:
    """Yield a weight's values, a block of its first dimension after another.

    Args:
        packed: The weight.
        tensors: All tensors of the base by name.
        scheme: The scheme of its packing.
        fields: The fields of the base's config about it.

    Raises:
        InvalidInput: Its parts do not fit each other, or have an unknown form.
    """
    parts = {role: tensors[name] for role, name in packed.parts.items()}
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # a finding of `finite`, no warning
            yield from _FORMULAS[scheme](parts, fields)
    except (ValueError, IndexError, KeyError, TypeError, DeltaregError) as error:
        raise InvalidInput(
            f"{packed.name} is not packed as {scheme} in a form that is known here: {error}",
            fix="pack it by the library's default form, or verify on the root alone",
        ) from error


def _fp8(parts: Mapping[str, Tensor], fields: Mapping[str, object]) -> Iterator[F32]:
    weight, scale = parts["weight"], _floats(parts.get("scale_inv") or parts["scale"])
    for start, raw in _blocks(weight):
        rows = to_f32(raw, weight.dtype)
        yield rows * _spread(scale, weight.shape, start, len(rows), _block_size(fields))


def _int8(parts: Mapping[str, Tensor], _fields: Mapping[str, object]) -> Iterator[F32]:
    weight = parts["weight"]
    if "SCB" in parts:
        scale = (_floats(parts["SCB"]) / np.float32(127)).reshape(-1, 1)
    else:
        scale = _floats(parts["scale"])
    zeros = _raw(parts["zeros"]).astype(np.float32) if "zeros" in parts else None
    for start, raw in _blocks(weight):
        rows = raw.astype(np.float32)
        if zeros is not None:
            rows = rows - _spread(zeros, weight.shape, start, len(rows), None)
        yield rows * _spread(scale, weight.shape, start, len(rows), None)


def _gptq(parts: Mapping[str, Tensor], fields: Mapping[str, object]) -> Iterator[F32]:
    bits = _whole_bits(fields)
    numbers = _unpack_words(_raw(parts["weight"]), bits, axis=0)
    zeros = _unpack_words(_raw(parts["zeros"]), bits, axis=1)
    zeros += 0 if fields.get("checkpoint_format") == "gptq_v2" else 1
    scale = _floats(parts["scale"])
    height = len(numbers)
    if "groups" in parts:
        groups = _raw(parts["groups"]).astype(np.int64)
    else:
        groups = np.arange(height) // (height // len(scale))
    yield np.ascontiguousarray(((numbers - zeros[groups]) * scale[groups]).T)


def _awq(parts: Mapping[str, Tensor], fields: Mapping[str, object]) -> Iterator[F32]:
    if str(fields.get("version", "gemm")).lower() != "gemm" or _whole_bits(fields) != 4:
        raise ValueError("only awq's gemm in four bits is known")
    place = np.argsort(_AWQ_ORDER)
    numbers, zeros = (_in_order(_raw(parts[role]), place) for role in ("weight", "zeros"))
    scale = _floats(parts["scale"])
    groups = np.arange(len(numbers)) // (len(numbers) // len(scale))
    yield np.ascontiguousarray(((numbers - zeros[groups]) * scale[groups]).T)


def _bnb4(parts: Mapping[str, Tensor], _fields: Mapping[str, object]) -> Iterator[F32]:
    state = strict_json_object(bytes(parts["state"].read()))
    size, shape = _count(state, "blocksize"), _shape(state)
    absmax = _raw(parts["absmax"])
    if "nested_absmax" in parts:
        offset = state.get("nested_offset", 0.0)
        step = _count(state, "nested_blocksize")
        largest = _repeat_factors(_floats(parts["nested_absmax"]), step, absmax.size)
        factors = _floats(parts["nested_map"])[absmax.astype(np.int64)] * largest
        factors = factors + np.float32(offset if isinstance(offset, int | float) else 0)
    else:
        factors = to_f32(absmax, parts["absmax"].dtype)
    packed = _raw(parts["weight"]).reshape(-1).astype(np.uint8, copy=False)
    numbers = np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)[: prod(shape)]
    scale = _repeat_factors(factors.reshape(-1), size, numbers.size)
    yield (_floats(parts["map"])[numbers] * scale).reshape(shape)


def _mxfp4(parts: Mapping[str, Tensor], _fields: Mapping[str, object]) -> Iterator[F32]:
    blocks, scales = parts["weight"], _raw(parts["scale"]).astype(np.int32) - _E8M0_BIAS
    for expert in range(blocks.shape[0]):
        shape = (1, *blocks.shape[1:])
        packed = view(blocks.read(expert, expert + 1), blocks.dtype, shape)[0].astype(np.uint8)
        numbers = np.stack([_E2M1[packed & 15], _E2M1[packed >> 4]], axis=-1)
        rows = np.ldexp(numbers.reshape(*packed.shape[:2], -1), scales[expert][..., None])
        yield np.ascontiguousarray(rows.reshape(packed.shape[0], -1).T)[None].astype(np.float32)


def _blocks(tensor: Tensor) -> Iterator[tuple[int, NDArray[np.generic]]]:
    for start in range(0, tensor.shape[0], _ROWS):
        stop = min(start + _ROWS, tensor.shape[0])
        yield start, view(tensor.read(start, stop), tensor.dtype, (stop - start, *tensor.shape[1:]))


def _spread(scale: F32, shape: tuple[int, ...], start: int, rows: int, block: tuple[int, int] | None) -> F32:
    """Return the factor of each value of some rows; `scale` has one for all, a row, or a block."""
    if scale.size == 1:
        return scale.reshape(())
    grid = scale.reshape(-1, 1) if scale.ndim == 1 else scale
    high, wide = _steps(grid.shape, shape[-2:], block)
    lead = grid.shape[:-2]
    if lead:  # a stack: the rows are matrices
        part = grid[start : start + rows]
        spread = np.repeat(np.repeat(part, high, -2), wide, -1)
        return spread[..., : shape[-2], : shape[-1]]
    factors = grid[np.arange(start, start + rows) // high]
    return np.repeat(factors, wide, -1)[:, : shape[-1]]


def _steps(grid: tuple[int, ...], shape: tuple[int, ...], block: tuple[int, int] | None) -> tuple[int, int]:
    """Return how many rows and columns share one factor."""
    steps: list[int] = []
    for place, (cells, size) in enumerate(zip(grid[-2:], shape, strict=True)):
        declared = None if block is None else block[place]
        if declared is not None and -(-size // declared) == cells:  # the last block may be cut
            steps.append(declared)
        elif size % cells == 0:
            steps.append(size // cells)
        else:
            raise ValueError(f"{cells} factors for {size} numbers")
    return steps[0], steps[1]


def _block_size(fields: Mapping[str, object]) -> tuple[int, int] | None:
    declared = fields.get("weight_block_size")
    if is_list(declared) and len(declared) == 2:
        high, wide = declared
        if is_count(high) and is_count(wide) and high and wide:
            return high, wide
    return None


def _whole_bits(fields: Mapping[str, object]) -> int:
    declared = fields.get("bits", fields.get("w_bit", 4))
    if declared != bits_of(fields):
        raise ValueError(f"{declared} bits a number are not known")
    return bits_of(fields)


def _unpack_words(words: NDArray[np.generic], bits: int, *, axis: int) -> NDArray[np.int32]:
    """Unpack the values from 32-bit words, lowest bits first, along an axis."""
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    spread = (words.view(np.uint32)[..., None] >> shifts) & np.uint32((1 << bits) - 1)
    height, width = words.shape
    if axis == 1:
        return spread.reshape(height, -1).astype(np.int32)
    return spread.transpose(0, 2, 1).reshape(-1, width).astype(np.int32)


def _in_order(words: NDArray[np.generic], place: NDArray[np.intp]) -> NDArray[np.int32]:
    numbers = _unpack_words(words, 4, axis=1).reshape(len(words), -1, len(place))
    return numbers[..., place].reshape(len(words), -1)


def _raw(tensor: Tensor) -> NDArray[np.generic]:
    return view(tensor.read(), tensor.dtype, tensor.shape)


def _floats(tensor: Tensor) -> F32:
    return to_f32(_raw(tensor), tensor.dtype)


def _repeat_factors(factors: F32, step: int, size: int) -> F32:
    """Return a factor for every value; each factor applies to `step` values in a row."""
    if factors.size != -(-size // step):
        raise ValueError(f"{factors.size} factors for {size} numbers, {step} each")
    return np.repeat(factors, step)[:size]


def _count(state: Mapping[str, object], key: str) -> int:
    number = state[key]
    if not is_count(number, below=1 << 20) or not number:
        raise ValueError(f"{key} is {str(number)[:40]}")
    return number


def _shape(state: Mapping[str, object]) -> tuple[int, ...]:
    declared = state["shape"]
    if not is_list(declared) or len(declared) > 8:
        raise ValueError("it has no shape")
    sizes = [size for size in declared if is_count(size, below=1 << 40)]
    if len(sizes) < len(declared):
        raise ValueError("its shape is none")
    return tuple(sizes)


_FORMULAS: dict[Scheme, Callable[..., Iterator[F32]]] = {
    "fp8": _fp8,
    "int8": _int8,
    "gptq": _gptq,
    "awq": _awq,
    "bnb4": _bnb4,
    "mxfp4": _mxfp4,
}
