"""Rotations made of small blocks, and the layers whose inputs they rotate: OFT, BOFT and relatives.

A skew-symmetric Q gives the rotation (I - Q)(I + Q)⁻¹ (Cayley 1846), which is what orthogonal
fine-tuning trains (Qiu et al. 2023, arXiv 2306.07280). Blocks are (b, s, s), side by side on the
diagonal of a matrix of b·s rows.
"""

import numpy as np

from deltareg.delta.layouts.peft.peft_kind import Site
from deltareg.delta.maths.formula import Array, Ops


def inputs_of(site: Site) -> int:
    """Return the number of inputs of a layer that is stored (out, in, …).

    Raises:
        Refused: `shape`: it is stored (in, out), and the library adapts no such layer in this way.
    """
    if site.base.names.is_transposed(site.reads or site.target):
        raise site.refuse("shape", f"{site.target} is stored (in, out), and the library turns no such layer")
    return site.out_in()[1]


def as_matrix(weight: Array) -> Array:
    """View a kernel (out, in, h, w) as the matrix (out, in·h·w)."""
    return weight.reshape(weight.shape[0], -1) if len(weight.shape) != 2 else weight


def skew_blocks(upper: Array, size: int, ops: Ops) -> Array:
    """Build skew-symmetric blocks from the entries right of their diagonals.

    Args:
        upper: (b, size·(size - 1)/2), row by row.
        size: Rows of a block.
        ops: The array library's operations.

    Returns:
        (b, size, size).
    """
    count = upper.shape[0]
    rows, columns = np.triu_indices(size, 1)
    blocks = np.repeat(np.arange(count), len(rows))
    places = (blocks, np.tile(rows, count), np.tile(columns, count))
    half = ops.scatter((count, size, size), places, upper.reshape(-1))
    return half - ops.permute(half, 0, 2, 1)


def shorten_blocks(blocks: Array, limit: float, ops: Ops) -> Array:
    """Scale every block (b, s, s) that is longer than the limit down to it; leave the others alone."""
    count, size, _ = blocks.shape
    lengths = ops.row_norms(blocks.reshape(count, size * size))
    longest = ops.apply("relu", lengths - limit) + limit  # the larger of the two
    return blocks * ((ops.zeros(count, 1) + limit) / longest).reshape(count, 1, 1)


def divide_inputs(n_in: int, size: int, number: int) -> int:
    """Return the rows of a block, by its size or, where that is zero, by the number of blocks.

    A number that does not divide the inputs is replaced by the nearest that does; the smaller one
    wins a tie. That is how the library adjusts it.
    """
    requested = size or number
    if requested >= n_in:
        nearest = n_in
    else:
        divisors = (d for d in range(1, n_in + 1) if n_in % d == 0)
        nearest = min(divisors, key=lambda d: (abs(d - requested), d))
    return nearest if size else n_in // nearest


def identity_blocks(blocks: Array, ops: Ops) -> Array:
    """Return identities of the size and number of the blocks."""
    count, size, _ = blocks.shape
    return (ops.zeros(count, size, size) + 1.0) * ops.identity(size).reshape(1, size, size)


def cayley(skew: Array, ops: Ops) -> Array:
    """Return (I - Q)(I + Q)⁻¹ of every block."""
    identity = identity_blocks(skew, ops)
    return (identity - skew) @ ops.inverse(identity + skew)


def neumann(skew: Array, terms: int, ops: Ops, *, is_last_whole: bool = False) -> Array:
    """Approximate a rotation by I + 2Q + 2Q² + … + Qⁿ, with `terms` terms in all.

    The last term has no factor of two, and three terms give the same as four (Qiu et al. 2025,
    arXiv 2506.19847, and the library). The sign of Q is the opposite of that in `cayley`.

    Args:
        skew: Q of every block (b, s, s).
        terms: How many terms there are.
        ops: The array library's operations.
        is_last_whole: Whether the last term has a factor of two as well, as in peft 0.16 and 0.17.
    """
    total = identity_blocks(skew, ops)
    if terms > 1:
        total = total + skew * 2.0
    if terms > 2:
        power = skew @ skew
        total = total + power * 2.0
        for _ in range(3, terms if is_last_whole else terms - 1):
            power = power @ skew
            total = total + power * 2.0
        if not is_last_whole:
            total = total + power @ skew
    return total


def skew_of(square: Array, ops: Ops) -> Array:
    """Return the skew-symmetric half of whole blocks (b, s, s): (X - Xᵀ) / 2."""
    return (square - ops.permute(square, 0, 2, 1)) * 0.5


def multiply_blocks(matrix: Array, blocks: Array, ops: Ops) -> Array:
    """Multiply a matrix (n, b·s) from the right by blocks; a single block serves all places."""
    count, size, _ = blocks.shape
    rows, width = matrix.shape
    if count == 1:
        product = matrix.reshape(rows * (width // size), size) @ blocks.reshape(size, size)
        return product.reshape(rows, width)
    parts = ops.permute(matrix.reshape(rows, count, size), 1, 0, 2)
    return ops.permute(parts @ blocks, 1, 0, 2).reshape(rows, width)
