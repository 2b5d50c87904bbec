"""The weights that the tensors of a packed base stand for, as far as headers show.

A scheme stores a weight as several tensors: values in few bits, scales, zero points. Here they are
grouped under the weight's name in the base that was packed, with its shape there.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

from deltareg.tensors.derived import TensorSpec
from deltareg.words import Scheme

_F8 = frozenset({"F8_E4M3", "F8_E5M2"})
_WORD_BITS = 32
_NF4, _FP4 = ".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4"
# What stands beside a weight and is no part of it: scales of activations and of the cache.
_ASIDE = (
    ".input_scale",
    ".output_scale",
    ".input_zero_point",
    ".k_scale",
    ".v_scale",
    ".weight_format",
    ".weight_shape",
    ".weight_g_idx",
    ".input_global_scale",
    ".activation_scale",
)


Headers = Mapping[str, TensorSpec]


@dataclass(frozen=True, slots=True)
class PackedWeight:
    """A weight that is stored in few bits.

    Attributes:
        name: Its name in the base that was packed.
        parts: Names of its tensors, by role: `weight`, `scale`, `zeros`, and so on.
        shape: Its shape there; None if only the values show it.
        elements: The largest number of elements that it may have.
    """

    name: str
    parts: Mapping[str, str]
    shape: tuple[int, ...] | None
    elements: int


@dataclass(frozen=True, slots=True)
class PackedContents:
    """The tensors of a packed base, by what they are.

    Attributes:
        packed: Packed weights, by the name of the weight that they stand for.
        plain: Tensors that are stored unpacked.
        aside: Tensors that belong to no weight.
    """

    packed: dict[str, PackedWeight] = field(default_factory=dict[str, PackedWeight])
    plain: list[str] = field(default_factory=list[str])
    aside: list[str] = field(default_factory=list[str])


def contents(headers: Headers, scheme: Scheme, fields: Mapping[str, object]) -> PackedContents:
    """Group the tensors of a base.

    Args:
        headers: All of its tensors by name.
        scheme: The scheme of its packing.
        fields: The config's fields about it; may be empty.
    """
    result = PackedContents()
    used: set[str] = set()
    for packed in _READERS[scheme](headers, fields):
        result.packed[packed.name] = packed
        used |= set(packed.parts.values())
    for name in headers:
        if name not in used:
            (result.aside if name.endswith(_ASIDE) else result.plain).append(name)
    return result


def bits_of(fields: Mapping[str, object]) -> int:
    """Return the bits per value; four if the config does not say."""
    bits = fields.get("bits", fields.get("w_bit", 4))
    return bits if isinstance(bits, int) and bits in {2, 4, 8} else 4


def _eight_bits(dtypes: frozenset[str]) -> Callable[..., Iterator[PackedWeight]]:
    """Return a reader for schemes that keep the shape: one byte a value, and scales beside it."""

    def read(headers: Headers, _fields: Mapping[str, object]) -> Iterator[PackedWeight]:
        for name, header in headers.items():
            if header.dtype not in dtypes:
                continue
            module = name.removesuffix(".weight")
            beside = {
                "scale_inv": f"{name}_scale_inv",
                "scale": f"{name}_scale",
                "zeros": f"{name}_zero_point",
                "SCB": f"{module}.SCB",
            }
            parts = {role: other for role, other in beside.items() if other in headers}
            if parts.keys() - {"zeros"}:
                shape = header.shape
                yield PackedWeight(name, {"weight": name, **parts}, shape, prod(shape))

    return read


def _four_bits(headers: Headers, fields: Mapping[str, object], *, is_awq: bool) -> Iterator[PackedWeight]:
    """Read GPTQ and AWQ: words of 32 bits along the input (GPTQ) or the output (AWQ)."""
    in_word = _WORD_BITS // bits_of(fields)
    for module, header in _ending(headers, ".qweight"):
        if len(header.shape) != 2:
            continue
        beside = {"zeros": "qzeros", "scale": "scales", "groups": "g_idx"}
        parts = {r: n for r, end in beside.items() if (n := f"{module}.{end}") in headers}
        height, width = header.shape
        shape = (width * in_word, height) if is_awq else (width, height * in_word)
        parts["weight"] = f"{module}.qweight"
        yield PackedWeight(f"{module}.weight", parts, shape, prod(shape))


def _gptq(headers: Headers, fields: Mapping[str, object]) -> Iterator[PackedWeight]:
    return _four_bits(headers, fields, is_awq=False)


def _awq(headers: Headers, fields: Mapping[str, object]) -> Iterator[PackedWeight]:
    return _four_bits(headers, fields, is_awq=True)


def _bnb4(headers: Headers, _fields: Mapping[str, object]) -> Iterator[PackedWeight]:
    """Read bitsandbytes: two values a byte in one column; the shape is in the data."""
    for name, header in headers.items():
        states = [name + end for end in (_NF4, _FP4) if name + end in headers]
        if header.dtype != "U8" or not states:
            continue
        beside = {
            "absmax": "absmax",
            "map": "quant_map",
            "nested_absmax": "nested_absmax",
            "nested_map": "nested_quant_map",
        }
        parts = {r: n for r, end in beside.items() if (n := f"{name}.{end}") in headers}
        parts |= {"weight": name, "state": states[0]}
        yield PackedWeight(name, parts, None, 2 * prod(header.shape))


def _mxfp4(headers: Headers, _fields: Mapping[str, object]) -> Iterator[PackedWeight]:
    """Read MXFP4 as gpt-oss has it: (experts, out, groups, 16) for (experts, in, out)."""
    for name, header in _ending(headers, "_blocks"):
        if len(header.shape) == 4 and f"{name}_scales" in headers:
            experts, out, groups, row = header.shape
            shape = (experts, groups * row * 2, out)
            parts = {"weight": f"{name}_blocks", "scale": f"{name}_scales"}
            yield PackedWeight(name, parts, shape, prod(shape))


def _ending(headers: Headers, end: str) -> Iterable[tuple[str, TensorSpec]]:
    return [(n.removesuffix(end), header) for n, header in headers.items() if n.endswith(end)]


_READERS: dict[Scheme, Callable[..., Iterator[PackedWeight]]] = {
    "fp8": _eight_bits(_F8),
    "int8": _eight_bits(frozenset({"I8"})),
    "gptq": _gptq,
    "awq": _awq,
    "bnb4": _bnb4,
    "mxfp4": _mxfp4,
}
