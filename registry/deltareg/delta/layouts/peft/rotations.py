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


def identity_blocks(blocks: Array, ops: Ops) -> Array:
    """Return identities of the size and number of the blocks."""
    count, size, _ = blocks.shape
    return (ops.zeros(count, size, size) + 1.0) * ops.identity(size).reshape(1, size, size)


def cayley(skew: Array, ops: Ops) -> Array:
    """Return (I - Q)(I + Q)⁻¹ of every block."""
    identity = identity_blocks(skew, ops)
    return (identity - skew) @ ops.inverse(identity + skew)


def neumann(skew: Array, terms: int, ops: Ops) -> Array:
    """Approximate a rotation by I + 2Q + 2Q² + … + Qⁿ, with `terms` terms in all.

    The last term has no factor of two, and three terms give the same as four (Qiu et al. 2025,
    arXiv 2506.19847, and the library). The sign of Q is the opposite of that in `cayley`.
    """
    total = identity_blocks(skew, ops)
    if terms > 1:
        total = total + skew * 2.0
    if terms > 2:
        power = skew @ skew
        total = total + power * 2.0
        for _ in range(3, terms - 1):
            power = power @ skew
            total = total + power * 2.0
        total = total + power @ skew
    return total


def multiply_blocks(matrix: Array, blocks: Array, ops: Ops) -> Array:
    """Multiply a matrix (n, b·s) from the right by blocks; a single block serves all places."""
    count, size, _ = blocks.shape
    rows, width = matrix.shape
    if count == 1:
        product = matrix.reshape(rows * (width // size), size) @ blocks.reshape(size, size)
        return product.reshape(rows, width)
    parts = ops.permute(matrix.reshape(rows, count, size), 1, 0, 2)
    return ops.permute(parts @ blocks, 1, 0, 2).reshape(rows, width)
