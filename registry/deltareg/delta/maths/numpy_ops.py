"""The operations of `formula.Ops` on NumPy: the reference, and folding without torch."""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from deltareg.delta.maths.formula import Array, Function, Integers, Tensor
from deltareg.errors import InvalidInput
from deltareg.tensors.array import F32, integers, to_f32, view


class NumPyOps:
    """`deltareg.delta.maths.formula.Ops` on NumPy."""

    def load(self, tensor: Tensor, start: int = 0, stop: int | None = None, *, is_part: bool = False) -> Array:
        raw = tensor.read(start, stop)
        height = _height(tensor.shape, start, stop)
        shape = (height, *tensor.shape[1:]) if tensor.shape else ()
        return _array(to_f32(view(raw, tensor.dtype, shape), tensor.dtype))

    def integers(self, tensor: Tensor, start: int = 0, stop: int | None = None) -> Integers:
        return stored_integers(tensor, start, stop)

    def zeros(self, *shape: int) -> Array:
        return _array(np.zeros(shape, dtype=np.float32))

    def identity(self, size: int) -> Array:
        return _array(np.eye(size, dtype=np.float32))

    def apply(self, function: Function, array: Array) -> Array:
        return _array(_FUNCTIONS[function](_f32(array)))

    def softmax(self, array: Array) -> Array:
        values = _f32(array)
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
        return _array(powers / powers.sum(axis=-1, keepdims=True))

    def total(self, array: Array, axis: int) -> Array:
        return _array(_f32(array).sum(axis=axis, keepdims=True))

    def row_norms(self, matrix: Array) -> Array:
        return _array(np.linalg.norm(_f32(matrix), axis=1, keepdims=True))

    def column_norms(self, matrix: Array) -> Array:
        return _array(np.linalg.norm(_f32(matrix), axis=0, keepdims=True))

    def permute(self, array: Array, *dims: int) -> Array:
        return _array(np.transpose(_f32(array), dims))

    def concat(self, parts: Sequence[Array], axis: int) -> Array:
        return _array(np.concatenate([_f32(part) for part in parts], axis=axis))

    def take(self, array: Array, places: Integers, axis: int) -> Array:
        _check_places(places, array.shape[axis])
        return _array(np.take(_f32(array), places, axis=axis))

    def scatter(self, shape: Sequence[int], places: Sequence[Integers], values: Array) -> Array:
        for along, size in zip(places, shape, strict=True):
            _check_places(along, size)
        result = np.zeros(tuple(shape), dtype=np.float32)
        np.add.at(result, tuple(places), _f32(values))
        return _array(result)

    def top(self, array: Array, count: int) -> tuple[Array, Integers]:
        values = _f32(array)
        places = np.argsort(-values, axis=-1, kind="stable")[..., :count].astype(np.int64)
        return _array(np.take_along_axis(values, places, axis=-1)), places

    def with_rows(self, matrix: Array, rows: Sequence[int] | Integers, values: Array) -> Array:
        numbers = np.asarray(rows, dtype=np.int64)
        inside = (numbers >= 0) & (numbers < matrix.shape[0])
        copy = _f32(matrix).copy()
        copy[numbers[inside]] = _f32(values)[inside]
        return _array(copy)

    def kron(self, left: Array, right: Array) -> Array:
        return _array(np.kron(_f32(left), _f32(right)))

    def inverse(self, matrices: Array) -> Array:
        try:
            return _array(np.linalg.inv(_f32(matrices)))
        except np.linalg.LinAlgError as error:
            raise InvalidInput("a matrix of the delta cannot be inverted") from error

    def inverse_fourier(self, spectrum: Array) -> Array:
        # numpy.fft widens to float64; the result is rounded once.
        return _array(np.fft.ifft2(_f32(spectrum)).real.astype(np.float32))

    def convolve(self, images: Array, kernel: Array, padding: int) -> Array:
        edges = ((0, 0), (0, 0), (padding, padding), (padding, padding))
        padded, weights = np.pad(_f32(images), edges), _f32(kernel)
        windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[2:], (2, 3))
        return _array(np.einsum("bchwij,ocij->bohw", windows, weights, optimize=True))

    def svd_part(self, matrix: Array, rank: int) -> Array:
        left, sizes, right = np.linalg.svd(_f32(matrix), full_matrices=False)
        return _array((left[:, :rank] * sizes[:rank]) @ right[:rank])

    def qr_part(self, matrix: Array, rank: int) -> Array:
        q, r = np.linalg.qr(_f32(matrix))
        return _array(q[:, :rank] @ r[:rank])

    def orthonormal(self, matrix: Array) -> Array:
        return _array(np.linalg.qr(_f32(matrix))[0])

    def solve(self, matrix: Array, right: Array) -> Array:
        wide, other = _f32(matrix).astype(np.float64), _f32(right).astype(np.float64)
        try:
            return _array(np.linalg.solve(wide, other).astype(np.float32))
        except np.linalg.LinAlgError as error:
            raise InvalidInput("a matrix of the delta cannot be inverted") from error

    def add_scaled(self, weight: Array, product: Array, scale: float) -> Array:
        values = _f32(product)
        values *= scale
        values += _f32(weight)
        return product


def stored_integers(tensor: Tensor, start: int = 0, stop: int | None = None) -> Integers:
    """Read rows `start:stop` of an integer tensor.

    Raises:
        InvalidInput: It is not an integer tensor, or a value does not fit 64 bits with a sign.
    """
    height = _height(tensor.shape, start, stop)
    shape = (height, *tensor.shape[1:]) if tensor.shape else ()
    return integers(view(tensor.read(start, stop), tensor.dtype, shape), tensor.dtype)


def _array(values: NDArray[np.floating[Any]]) -> Array:  # F32, which types of NumPy 2.5 lose on the way
    return cast("Array", values)


def _f32(array: Array) -> F32:
    return cast("F32", array)


def _height(shape: tuple[int, ...], start: int, stop: int | None) -> int:
    return len(range(*slice(start, stop).indices(shape[0]))) if shape else 1


def _check_places(places: Integers, size: int) -> None:
    """Refuse places out of range: a negative one would silently count from the end."""
    if places.size and not 0 <= int(places.min()) <= int(places.max()) < size:
        raise InvalidInput(f"an index of the delta is not within the {size} that there are")


def _sigmoid(values: F32) -> F32:
    return cast("F32", 0.5 * (np.tanh(0.5 * values) + 1.0))


def _gelu(values: F32) -> F32:
    # One value at a time: NumPy has no error function, and gates and adapters are small.
    erf = np.vectorize(math.erf, otypes=[np.float64])
    halves = 0.5 * (1.0 + erf(values / math.sqrt(2.0)))
    return cast("F32", (values * halves).astype(np.float32))


def _gelu_new(values: F32) -> F32:
    inner = math.sqrt(2.0 / math.pi) * (values + 0.044715 * values**3)
    return cast("F32", 0.5 * values * (1.0 + np.tanh(inner)))


_FUNCTIONS: dict[Function, Callable[[F32], F32]] = {
    "abs": np.abs,
    "cos": np.cos,
    "exp": np.exp,
    "gelu": _gelu,
    "gelu_new": _gelu_new,
    "leaky_relu": lambda x: cast("F32", np.where(x > 0, x, np.float32(0.01) * x)),
    "log": np.log,
    "relu": lambda x: np.maximum(x, np.float32(0)),
    "sigmoid": _sigmoid,
    "silu": lambda x: cast("F32", x * _sigmoid(x)),
    "sin": np.sin,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "trunc": np.trunc,
}
