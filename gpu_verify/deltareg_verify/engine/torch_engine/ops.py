"""The operations of `deltareg.delta.maths.formula.Ops` in torch, on any device."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch.nn import functional

from deltareg.delta.maths.formula import Array, Function, Integers, Tensor
from deltareg.delta.maths.numpy_ops import stored_integers
from deltareg.errors import InvalidInput
from deltareg_verify.engine.torch_engine.streamed import StreamPlacement

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
REAL = frozenset({"F64", "F32", "F16", "BF16"})
# Of a delta alone: a base that holds any keeps scales beside them, and is no network as it is.
_EIGHT_BITS = {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}
with warnings.catch_warnings():
    # torch warns once that it does not guard memory that may only be read. Nothing here writes to
    # any: the formulas run on NumPy as well, which does guard it.
    warnings.simplefilter("ignore")
    torch.frombuffer(bytes(1), dtype=torch.uint8)


def read_rows(tensor: Tensor, start: int = 0, stop: int | None = None) -> torch.Tensor:
    """Read rows of a tensor in its own dtype, onto the CPU.

    Raises:
        InvalidInput: torch has no such dtype.
    """
    dtype = DTYPES.get(tensor.dtype) or _EIGHT_BITS.get(tensor.dtype)
    if dtype is None:
        raise InvalidInput(f"{tensor.name} is {tensor.dtype}, which this engine does not read")
    data = bytearray(tensor.read(start, stop))  # torch wants memory that it may write
    flat = torch.frombuffer(data, dtype=dtype)
    return flat.reshape(-1, *tensor.shape[1:]) if tensor.shape else flat.reshape(())


def borrow_rows(tensor: Tensor, start: int = 0, stop: int | None = None) -> torch.Tensor:
    """Return rows in their own dtype, read-only: they may be the memory of the file itself.

    Raises:
        InvalidInput: torch has no such dtype.
    """
    if tensor.dtype not in DTYPES:
        return read_rows(tensor, start, stop)
    flat = torch.frombuffer(tensor.read(start, stop), dtype=DTYPES[tensor.dtype])
    if flat.data_ptr() % flat.element_size():  # a header of odd length; torch wants it aligned
        return read_rows(tensor, start, stop)
    return flat.reshape(-1, *tensor.shape[1:]) if tensor.shape else flat.reshape(())


@dataclass(frozen=True, slots=True)
class TorchOps:
    """Reads and measures on one device.

    Attributes:
        device: The device of the arrays.
        placing: Where new weights are computed for each call; None computes them once, to stay.
    """

    device: torch.device
    placing: StreamPlacement | None = None

    def load(self, tensor: Tensor, start: int = 0, stop: int | None = None, *, is_part: bool = False) -> Array:
        """Read rows `start:stop` as float32: exact but for F64, which is rounded."""
        if tensor.dtype not in REAL and tensor.dtype not in _EIGHT_BITS:
            raise InvalidInput(f"{tensor.name} is {tensor.dtype}, which holds no real numbers")
        return as_array(read_rows(tensor, start, stop).to(self.device, torch.float32))

    def rows(self, tensor: Tensor, start: int, stop: int) -> torch.Tensor:
        """Return rows as float32, read-only: they may be the memory of the file itself."""
        if tensor.dtype not in REAL:
            raise InvalidInput(f"{tensor.name} is {tensor.dtype}, which holds no real numbers")
        return borrow_rows(tensor, start, stop).to(self.device, torch.float32)

    def integers(self, tensor: Tensor, start: int = 0, stop: int | None = None) -> Integers:
        """Read rows of whole numbers, as NumPy arrays."""
        return stored_integers(tensor, start, stop)

    def nothing(self) -> torch.Tensor:
        """Return a placeholder for a weight that does not matter."""
        return torch.empty(0, device=self.device)

    def zeros(self, *shape: int) -> Array:
        """Return an array of zeros."""
        return as_array(torch.zeros(shape, device=self.device))

    def identity(self, size: int) -> Array:
        """Return the identity matrix."""
        return as_array(torch.eye(size, device=self.device))

    def apply(self, function: Function, array: Array) -> Array:
        """Apply a function to every element."""
        return as_array(_FUNCTIONS[function](as_torch(array)))

    def softmax(self, array: Array) -> Array:
        """Softmax over the last dimension."""
        return as_array(torch.softmax(as_torch(array), dim=-1))

    def total(self, array: Array, axis: int) -> Array:
        """Sum over a dimension, which is kept."""
        return as_array(as_torch(array).sum(dim=axis, keepdim=True))

    def row_norms(self, matrix: Array) -> Array:
        """Return the Euclidean norm of every row."""
        return as_array(torch.linalg.vector_norm(as_torch(matrix), dim=1, keepdim=True))

    def column_norms(self, matrix: Array) -> Array:
        """Return the Euclidean norm of every column."""
        return as_array(torch.linalg.vector_norm(as_torch(matrix), dim=0, keepdim=True))

    def permute(self, array: Array, *dims: int) -> Array:
        """Permute the dimensions."""
        return as_array(as_torch(array).permute(dims))

    def concat(self, parts: Sequence[Array], axis: int) -> Array:
        """Join arrays along a dimension."""
        return as_array(torch.cat([as_torch(part) for part in parts], dim=axis))

    def take(self, array: Array, places: Integers, axis: int) -> Array:
        """Take elements along a dimension."""
        source = as_torch(array)
        return as_array(source.index_select(axis, self._places(places, source.shape[axis])))

    def scatter(self, shape: Sequence[int], places: Sequence[Integers], values: Array) -> Array:
        """Return zeros with values added at places."""
        result = torch.zeros(tuple(shape), device=self.device)
        at = tuple(self._places(p, size) for p, size in zip(places, shape, strict=True))
        return as_array(result.index_put(at, as_torch(values), accumulate=True))

    def top(self, array: Array, count: int) -> tuple[Array, Integers]:
        """Return the largest of the last dimension, the first of equal ones first."""
        values, places = torch.sort(as_torch(array), dim=-1, descending=True, stable=True)
        return as_array(values[..., :count]), places[..., :count].cpu().numpy()

    def with_rows(self, matrix: Array, rows: Sequence[int] | Integers, values: Array) -> Array:
        """Put values in place of rows; rows out of range are left out."""
        numbers = np.asarray(rows, dtype=np.int64)
        inside = (numbers >= 0) & (numbers < matrix.shape[0])
        result = as_torch(matrix).clone()
        places, is_inside = (torch.from_numpy(array).to(self.device) for array in (numbers[inside], inside))
        result[places] = as_torch(values)[is_inside]
        return as_array(result)

    def kron(self, left: Array, right: Array) -> Array:
        """Return the Kronecker product."""
        return as_array(torch.kron(as_torch(left).contiguous(), as_torch(right).contiguous()))

    def inverse(self, matrices: Array) -> Array:
        """Return the inverses of square matrices."""
        try:
            return as_array(torch.linalg.inv(as_torch(matrices)))
        except RuntimeError as error:
            raise InvalidInput("a matrix of the delta cannot be inverted") from error

    def inverse_fourier(self, spectrum: Array) -> Array:
        """Return the real part of the inverse transform of a real spectrum."""
        return as_array(torch.fft.ifft2(as_torch(spectrum)).real)

    def convolve(self, images: Array, kernel: Array, padding: int) -> Array:
        """Convolve in 2-D with stride one."""
        return as_array(functional.conv2d(as_torch(images), as_torch(kernel), padding=padding))

    def svd_part(self, matrix: Array, rank: int) -> Array:
        """Return the part of a matrix that its largest singular values make up."""
        u, s, v = torch.linalg.svd(as_torch(matrix), full_matrices=False)
        return as_array((u[:, :rank] * s[:rank]) @ v[:rank])

    def qr_part(self, matrix: Array, rank: int) -> Array:
        """Return Q[:, :rank] @ R[:rank] of a matrix."""
        q, r = torch.linalg.qr(as_torch(matrix))
        return as_array(q[:, :rank] @ r[:rank])

    def orthonormal(self, matrix: Array) -> Array:
        """Return Q of the QR decomposition of a matrix."""
        return as_array(torch.linalg.qr(as_torch(matrix))[0])

    def solve(self, matrix: Array, right: Array) -> Array:
        """Return the inverse of a matrix times another, in double precision."""
        wide, other = as_torch(matrix).double(), as_torch(right).double()
        try:
            return as_array(torch.linalg.solve(wide, other).float())
        except RuntimeError as error:
            raise InvalidInput("a matrix of the delta cannot be inverted") from error

    def add_scaled(self, weight: Array, product: Array, scale: float) -> Array:
        """Return a weight plus a multiple of a product, written into the product's memory."""
        return as_array(as_torch(product).mul_(scale).add_(as_torch(weight)))

    def _places(self, places: Integers, size: int) -> torch.Tensor:
        if places.size and not 0 <= int(places.min()) <= int(places.max()) < size:
            raise InvalidInput(f"an index of the delta is not within the {size} that there are")
        return torch.from_numpy(places).to(self.device)


@dataclass(frozen=True, slots=True)
class KeepingOps(TorchOps):
    """The same operations for formulas that run with every forward: tensors read once stay on the device.

    Only whole tensors are kept, as long as this object lives.
    """

    kept: dict[int, tuple[Tensor, Array]] = field(default_factory=dict[int, "tuple[Tensor, Array]"])

    def load(self, tensor: Tensor, start: int = 0, stop: int | None = None, *, is_part: bool = False) -> Array:
        """Read rows of a tensor, or return them from the cache."""
        if start or stop is not None:
            return TorchOps.load(self, tensor, start, stop)
        if id(tensor) not in self.kept:  # the tensor is kept as well, so its identity stays its own
            self.kept[id(tensor)] = (tensor, TorchOps.load(self, tensor))
        return self.kept[id(tensor)][1]


def as_array(tensor: torch.Tensor) -> Array:
    """Turn a tensor into an array of a formula."""
    return cast(Array, tensor)


def as_torch(array: Array) -> torch.Tensor:
    """Turn an array of a formula into a tensor."""
    return cast(torch.Tensor, array)


_FUNCTIONS: dict[Function, Callable[[torch.Tensor], torch.Tensor]] = {
    "abs": torch.abs,
    "cos": torch.cos,
    "exp": torch.exp,
    "gelu": functional.gelu,
    "gelu_new": lambda x: functional.gelu(x, approximate="tanh"),
    "leaky_relu": functional.leaky_relu,
    "log": torch.log,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "sin": torch.sin,
    "sqrt": torch.sqrt,
    "tanh": torch.tanh,
    "trunc": torch.trunc,
}
