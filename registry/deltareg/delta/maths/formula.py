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
from deltareg.tensors.derived import TensorSpec
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
    """The array operators that formulas may use; NumPy and torch arrays have them. Always float32."""

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
        """Return a view with another shape."""
        ...


class Tensor(TensorSpec, Protocol):
    """A tensor of a file; without its data, `read` raises `InvalidInput`."""

    def read(self, start: int = 0, stop: int | None = None) -> memoryview:
        """Return the bytes of rows `start:stop` of the first dimension (all, for a scalar)."""
        ...


class Ops(Protocol):
    """The operations that NumPy and torch spell differently.

    Operations raise `InvalidInput` for shapes or indices that do not fit, on bare shapes at the
    latest. So does reading a tensor that does not hold numbers of the right sort.
    """

    def load(self, tensor: Tensor, start: int = 0, stop: int | None = None, *, is_part: bool = False) -> Array:
        """Read rows `start:stop` of a tensor as float32: exact except for F64, which is rounded.

        A tensor with more rows than the weight has is refused, unless `is_part` says that the
        formula leaves the others out on purpose.
        """
        ...

    def integers(self, tensor: Tensor, start: int = 0, stop: int | None = None) -> Integers:
        """Read rows `start:stop` of an integer tensor; on bare shapes all values are zero."""
        ...

    def zeros(self, *shape: int) -> Array:
        """Build an array of zeros."""
        ...

    def identity(self, size: int) -> Array:
        """Build the identity matrix (size, size)."""
        ...

    def apply(self, function: Function, array: Array) -> Array:
        """Apply a function to every element; `gelu_new` uses tanh, leaky slopes are 0.01."""
        ...

    def softmax(self, array: Array) -> Array:
        """Return exp(x) / Σ exp(x) over the last dimension."""
        ...

    def total(self, array: Array, axis: int) -> Array:
        """Sum over one dimension, which is kept with size one."""
        ...

    def row_norms(self, matrix: Array) -> Array:
        """Return the Euclidean norm of every row: (n, m) -> (n, 1)."""
        ...

    def column_norms(self, matrix: Array) -> Array:
        """Return the Euclidean norm of every column: (n, m) -> (1, m)."""
        ...

    def permute(self, array: Array, *dims: int) -> Array:
        """Reorder dimensions."""
        ...

    def concat(self, parts: Sequence[Array], axis: int) -> Array:
        """Join arrays along a dimension."""
        ...

    def take(self, array: Array, places: Integers, axis: int) -> Array:
        """Take elements along a dimension: places (k,) -> that dimension has size k."""
        ...

    def scatter(self, shape: Sequence[int], places: Sequence[Integers], values: Array) -> Array:
        """Build zeros of a shape with `values` (k,) added at `places`, one (k,) per dimension."""
        ...

    def top(self, array: Array, count: int) -> tuple[Array, Integers]:
        """Return the `count` largest of the last dimension, in falling order, and their places."""
        ...

    def with_rows(self, matrix: Array, rows: "Sequence[int] | Integers", values: Array) -> Array:
        """Replace rows by `values` (len(rows), …); a row that does not exist is skipped."""
        ...

    def kron(self, left: Array, right: Array) -> Array:
        """Return the Kronecker product of matrices: (a, b), (c, d) -> (a·c, b·d)."""
        ...

    def inverse(self, matrices: Array) -> Array:
        """Invert matrices (…, n, n)."""
        ...

    def inverse_fourier(self, spectrum: Array) -> Array:
        """Return the real part of the inverse 2-D Fourier transform of a real spectrum (n, m)."""
        ...

    def convolve(self, images: Array, kernel: Array, padding: int) -> Array:
        """2-D convolution of stride one: (b, c, h, w) with kernel (out, c, kh, kw)."""
        ...

    def svd_part(self, matrix: Array, rank: int) -> Array:
        """Return the part of a matrix from its `rank` largest singular values: (n, m) -> (n, m)."""
        ...

    def qr_part(self, matrix: Array, rank: int) -> Array:
        """Return Q[:, :rank] @ R[:rank] of the matrix's QR decomposition: (n, m) -> (n, m)."""
        ...

    def orthonormal(self, matrix: Array) -> Array:
        """Return Q of the matrix's QR decomposition by Householder reflections: (n, m) -> (n, m).

        The sign of a column is not determined mathematically; it is LAPACK's.
        """
        ...

    def solve(self, matrix: Array, right: Array) -> Array:
        """Return matrix⁻¹ @ right, (n, n) and (n, m), in double precision and rounded once."""
        ...

    def add_scaled(self, weight: Array, product: Array, scale: float) -> Array:
        """Return weight + scale · product, the product rounded before the sum.

        The sum may overwrite `product`, which must belong to the caller.
        """
        ...


class Update(Protocol):
    """A formula for the new value of a weight."""

    @property
    def needs_whole(self) -> bool:
        """Whether `fold` must see all rows at once (most formulas need only their own rows)."""
        ...

    @property
    def replaces(self) -> bool:
        """Whether the result does not depend on the weight before it."""
        ...

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        """Return the new rows.

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
    """An update whose result is a tensor of the delta, bit for bit, in any dtype."""

    @property
    def stored(self) -> Tensor:
        """The tensor."""
        ...


class FactoredUpdate(Protocol):
    """An update that is `scale · left @ right`: norms and angles need no dense product."""

    def factors(self, ops: Ops) -> tuple[Array, Array, float]:
        """Return left (n_out, r), right (r, n_in) and the scale, in the orientation of the weight."""
        ...


@runtime_checkable
class Examined(Protocol):
    """An update that checks its values before they are used, since only some make sense."""

    def fault(self, ops: Ops) -> Problem | None:
        """Return the problem of its values; None if there is none."""
        ...


@runtime_checkable
class AmbiguousUpdate(Protocol):
    """An update whose values could be new weights as well as differences."""

    def read_as(self, convention: Convention) -> Update:
        """Return the update under one of the two conventions."""
        ...


def is_factored(update: Update) -> TypeGuard[FactoredUpdate]:
    """Whether an update is a product; another formula may have a tensor named `factors`."""
    return callable(getattr(update, "factors", None))
