"""Values of the stack machine: names that stand for things, storages, tensors over them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from deltareg.errors import Problem, Refused
from deltareg.tensors.header import ITEM_BYTES

# The names that a file of tensors may hold: what they stand for here.
STORAGES: dict[str, str] = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "Float8_e4m3fnStorage": "F8_E4M3",
    "Float8_e5m2Storage": "F8_E5M2",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}
MAPPING, SIZE = "collections.OrderedDict", "torch.Size"
TENSOR, PARAMETER = "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"
CALLABLE = frozenset({MAPPING, SIZE, TENSOR, PARAMETER})
KNOWN = CALLABLE | {f"torch.{name}" for name in STORAGES}
_MOST_DIMENSIONS = 8
_LARGEST = 1 << 48


@dataclass(frozen=True, slots=True)
class PickleGlobal:
    """A name that the file refers to; it is never imported."""

    text: str


@dataclass(frozen=True, slots=True)
class TorchStorage:
    """A run of elements that tensors are views of.

    Attributes:
        key: Its name in the archive.
        dtype: The dtype of its elements, as safetensors spells it.
        elements: How many there are.
    """

    key: str
    dtype: str
    elements: int


@dataclass(frozen=True, slots=True)
class TensorView:
    """A tensor: a part of a storage, with strides that need not match its shape.

    Attributes:
        storage: The storage that it is a view of.
        offset: The index of its first element.
        shape: Dimensions.
        strides: How many elements apart neighbours are, along each dimension.
    """

    storage: TorchStorage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ArchiveTensor:
    """A readable tensor of an archive.

    Attributes:
        name: Its name.
        view: Which part of which storage.
        data: The storage's bytes.
    """

    name: str
    view: TensorView
    data: memoryview

    @property
    def dtype(self) -> str:
        """Its dtype, as safetensors spells it."""
        return self.view.storage.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions."""
        return self.view.shape

    def read(self, start: int = 0, stop: int | None = None) -> memoryview:
        """Return the bytes of rows `start:stop`, in the order of the shape."""
        size = ITEM_BYTES[self.dtype]
        words = np.frombuffer(self.data, f"<u{size}")[self.view.offset :]
        strides = [step * size for step in self.view.strides]
        whole = np.lib.stride_tricks.as_strided(words, self.shape, strides, writeable=False)
        rows = whole[start:stop] if self.shape else whole
        return np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data


def call(name: str, args: tuple[object, ...]) -> object:
    """Return what a call of one of `CALLABLE` stands for.

    Raises:
        Refused: The arguments are not those of a tensor or an empty mapping.
    """
    if name == MAPPING and not args:
        return dict[object, object]()
    if name == SIZE and len(args) == 1 and isinstance(args[0], tuple):
        return cast("tuple[object, ...]", args[0])
    if name == PARAMETER and args and isinstance(args[0], TensorView):
        return args[0]
    if name == TENSOR and len(args) >= 4:
        return _tensor(*args[:4])
    raise make_refusal(f"{name} is called with arguments that make no tensor")


def storage(value: object) -> TorchStorage:
    """Read a persistent id: the word, the type, a key, where it was, the count, no view.

    Raises:
        Refused: It is something else.
    """
    if not isinstance(value, tuple):
        raise make_refusal("something other than a storage is kept outside of the pickle")
    word, kind, key, _, count, *more = (*cast("tuple[object, ...]", value), *[None] * 5)[:6]
    dtype = STORAGES.get(kind.text.removeprefix("torch.")) if isinstance(kind, PickleGlobal) else None
    is_plain = word == "storage" and isinstance(key, str) and key.isascii() and key.isdecimal()
    if not is_plain or dtype is None or not is_index(count) or more != [None]:
        raise make_refusal("a storage is described in a way that is not known here")
    return TorchStorage(cast("str", key), dtype, cast("int", count))


def is_index(value: object) -> bool:
    """Whether a value is a count or an index."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def make_refusal(why: str, code: str = "pickle") -> Refused:
    """Build the error that refuses an archive."""
    fix = "save the tensors again with safetensors, where you trust the file"
    return Refused([Problem(code, f"{why}; nothing of it was carried out", fix=fix)])


def bytes_of(data: Mapping[str, memoryview], stored: TorchStorage) -> memoryview:
    """Return a storage's bytes.

    Raises:
        Refused: The archive does not hold them all.
    """
    expected_bytes = stored.elements * ITEM_BYTES[stored.dtype]
    storage_data = data.get(stored.key)
    if storage_data is None or storage_data.nbytes < expected_bytes:
        size = 0 if storage_data is None else storage_data.nbytes
        raise make_refusal(f"storage {stored.key} has {size} bytes, {expected_bytes} are expected", "truncated")
    return storage_data[:expected_bytes]


def _tensor(held: object, offset: object, shape: object, strides: object) -> TensorView:
    if not isinstance(held, TorchStorage) or not is_index(offset):
        raise make_refusal("a tensor is made of something other than a storage")
    dims, steps = _indices(shape), _indices(strides)
    if len(dims) != len(steps) or len(dims) > _MOST_DIMENSIONS:
        raise make_refusal(f"a tensor has {len(dims)} dimensions and {len(steps)} strides")
    first, count = cast("int", offset), math.prod(dims)
    last = first + sum((n - 1) * step for n, step in zip(dims, steps, strict=True))
    if count == 0:
        raise make_refusal(f"a tensor of shape {list(dims)} holds nothing", "header")
    if last >= held.elements:
        raise make_refusal(f"a tensor of shape {list(dims)} reaches beyond its storage", "header")
    if count > held.elements:  # a stride of zero would make terabytes of a few bytes
        raise make_refusal(f"a tensor of shape {list(dims)} repeats the elements of its storage", "limits")
    return TensorView(held, first, dims, steps)


def _indices(value: object) -> tuple[int, ...]:
    values = cast("Sequence[object]", value) if isinstance(value, (tuple, list)) else ()
    if not isinstance(value, (tuple, list)) or not all(map(is_index, values)):
        raise make_refusal("a shape or a stride is not made of counts")
    return tuple(cast("Sequence[int]", values))
