"""The small array language that formulas are written in; NumPy, torch and bare shapes all speak it.

A formula uses operators on `Array` and the operations of `Ops`, nothing else. So the same lines
fold a weight with NumPy, run on a device with torch, and are checked on shapes before a byte is
read (`deltareg.delta.shapes`). Every array of real numbers is float32; indices are NumPy integers.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deltareg.errors import Problem
from deltareg.words import Convention

Integers = NDArray[np.int64]
Function = Literal[
    "abs",
    "cos",
    "exp",
    "gelu",
    "gelu_new",
    "leaky_relu",
    "log",
    "relu",
    "sigmoid",
    "silu",
    "sin",
    "sqrt",
    "tanh",
    "trunc",
]


class Array(Protocol):
    """What formulas may use of an array; NumPy and torch arrays both have it. Always float32."""

    @property
    def T(self) -> "Array":  # noqa: N802  # the name that NumPy and torch share
        """The transpose of a matrix."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions."""
        ...

    def __neg__(self) -> "Array":
        """Change the sign."""
        ...

    def __add__(self, other: "Array | float") -> "Array":
        """Add elementwise."""
        ...

    def __sub__(self, other: "Array | float") -> "Array":
        """Subtract elementwise."""
        ...

    def __mul__(self, other: "Array | float") -> "Array":
        """Multiply elementwise; dimensions of one repeat."""
        ...

    def __truediv__(self, other: "Array | float") -> "Array":
        """Divide elementwise; dimensions of one repeat."""
        ...

    def __matmul__(self, other: "Array") -> "Array":
        """Multiply as matrices: the last two dimensions, leading ones as a batch."""
        ...

    def __getitem__(self, key: slice | tuple[slice, ...], /) -> "Array":
        """Take a slice."""
        ...

    def reshape(self, *shape: int) -> "Array":
        """View it under another shape."""
        ...


class Tensor(Protocol):
    """A tensor of a file; without its data, `read` raises `InvalidInput`."""

    @property
    def name(self) -> str:
        """Its name in the file."""
        ...

    @property
    def dtype(self) -> str:
        """The safetensors dtype."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions."""
        ...

    def read(self, start: int = 0, stop: int | None = None) -> memoryview:
        """Give the bytes of rows `start:stop` of the first dimension (all, for a scalar)."""
        ...


class Ops(Protocol):
    """The operations that NumPy and torch spell differently.

    An operation that is given shapes or indices which do not fit raises `InvalidInput`, on bare
    shapes at the latest; so does reading a tensor that holds no numbers of the right sort.
    """

    def load(self, tensor: Tensor, start: int = 0, stop: int | None = None, *, is_part: bool = False) -> Array:
        """Read rows `start:stop` of a tensor as float32: exact but for F64, which is rounded.

        A tensor with more rows than the weight has is refused, unless `is_part` says that the
        formula means to leave the others.
        """
        ...

    def integers(self, tensor: Tensor, start: int = 0, stop: int | None = None) -> Integers:
        """Read rows `start:stop` of whole numbers; on bare shapes they are all zero."""
        ...

    def zeros(self, *shape: int) -> Array:
        """Make an array of zeros."""
        ...

    def identity(self, size: int) -> Array:
        """Make the identity matrix (size, size)."""
        ...

    def apply(self, function: Function, array: Array) -> Array:
        """Apply a function to every element; `gelu_new` is the one with tanh, leaks are 0.01."""
        ...

    def softmax(self, array: Array) -> Array:
        """Give exp(x) / Σ exp(x) over the last dimension."""
        ...

    def total(self, array: Array, axis: int) -> Array:
        """Sum over one dimension, which stays with size one."""
        ...

    def row_norms(self, matrix: Array) -> Array:
        """Euclidean norm of every row: (n, m) -> (n, 1)."""
        ...

    def column_norms(self, matrix: Array) -> Array:
        """Euclidean norm of every column: (n, m) -> (1, m)."""
        ...

    def permute(self, array: Array, *dims: int) -> Array:
        """Put dimensions into another order."""
        ...

    def concat(self, parts: Sequence[Array], axis: int) -> Array:
        """Join arrays along a dimension."""
        ...

    def take(self, array: Array, places: Integers, axis: int) -> Array:
        """Take elements along a dimension: places (k,) -> that dimension has size k."""
        ...

    def scatter(self, shape: Sequence[int], places: Sequence[Integers], values: Array) -> Array:
        """Make zeros of a shape with `values` (k,) added at `places`, one (k,) per dimension."""
        ...

    def top(self, array: Array, count: int) -> tuple[Array, Integers]:
        """Give the largest of the last dimension, in falling order, and their places."""
        ...

    def with_rows(self, matrix: Array, rows: "Sequence[int] | Integers", values: Array) -> Array:
        """Put `values` (len(rows), …) in place of rows; a row that is not there is left out."""
        ...

    def kron(self, left: Array, right: Array) -> Array:
        """Kronecker product of matrices: (a, b), (c, d) -> (a·c, b·d)."""
        ...

    def inverse(self, matrices: Array) -> Array:
        """Invert matrices (…, n, n)."""
        ...

    def inverse_fourier(self, spectrum: Array) -> Array:
        """Give the real part of the inverse 2-D Fourier transform of a real spectrum (n, m)."""
        ...

    def convolve(self, images: Array, kernel: Array, padding: int) -> Array:
        """2-D convolution of stride one: (b, c, h, w) with kernel (out, c, kh, kw)."""
        ...

    def svd_part(self, matrix: Array, rank: int) -> Array:
        """Give what the `rank` largest singular values make up of a matrix: (n, m) -> (n, m)."""
        ...

    def qr_part(self, matrix: Array, rank: int) -> Array:
        """Give Q[:, :rank] @ R[:rank] of the matrix's QR decomposition: (n, m) -> (n, m)."""
        ...

    def orthonormal(self, matrix: Array) -> Array:
        """Give Q of the matrix's QR decomposition by Householder reflections: (n, m) -> (n, m).

        A column may have either sign by mathematics; it has LAPACK's.
        """
        ...

    def solve(self, matrix: Array, right: Array) -> Array:
        """Give matrix⁻¹ @ right, (n, n) and (n, m), in double precision and rounded once."""
        ...

    def add_scaled(self, weight: Array, product: Array, scale: float) -> Array:
        """Give weight + scale · product, the product rounded before the sum.

        The sum may take the place of `product`, which must be the caller's own.
        """
        ...


class Update(Protocol):
    """A formula for the new value of a weight."""

    @property
    def needs_whole(self) -> bool:
        """Whether `fold` must see all rows at once (most need only their own rows)."""
        ...

    @property
    def replaces(self) -> bool:
        """Whether the result does not depend on the weight that was there."""
        ...

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        """Give the new rows.

        Args:
            weight: Rows `start:stop` of the base weight, float32.
            start: First row.
            stop: One past the last row.
            ops: The array library's operations.

        Returns:
            The same rows after the update, float32, not rounded.
        """
        ...


@runtime_checkable
class StoredUpdate(Protocol):
    """An update whose result is a tensor of the delta, bit for bit, whatever its dtype."""

    @property
    def stored(self) -> Tensor:
        """The tensor."""
        ...


class FactoredUpdate(Protocol):
    """An update that is `scale · left @ right`: norms and angles come without the dense product."""

    def factors(self, ops: Ops) -> tuple[Array, Array, float]:
        """Give left (n_out, r), right (r, n_in) and the scale, in the orientation of the weight."""
        ...


@runtime_checkable
class Examined(Protocol):
    """An update with numbers of which only some make sense; they are held to it before any use."""

    def fault(self, ops: Ops) -> Problem | None:
        """Say what is wrong with the numbers; None when nothing is."""
        ...


@runtime_checkable
class AmbiguousUpdate(Protocol):
    """An update whose numbers could be new values as well as differences."""

    def read_as(self, convention: Convention) -> Update:
        """Give the update that they would be under one of the two."""
        ...


def is_factored(update: Update) -> TypeGuard[FactoredUpdate]:
    """Whether an update is a product; another formula may have a tensor named `factors`."""
    return callable(getattr(update, "factors", None))
