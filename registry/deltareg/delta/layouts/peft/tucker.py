"""Kernels as a small core between two factors (Hyeon-Woo et al. 2021, arXiv 2108.06098, prop. 3).

K[o, i, h, w] = Σ T[p, q, h, w] · A[p, o] · B[q, i]; a kernel of one dimension has w = 1.
"""

import math

from deltareg.delta.layouts.peft.peft_kind import Site
from deltareg.delta.layouts.peft.sides import check_rank, require, sizes
from deltareg.delta.maths.formula import Array, Ops, Tensor


def tucker_rows(core: Tensor, a: Tensor, b: Tensor, start: int, stop: int, ops: Ops) -> Array:
    """Return rows `start:stop` of the kernel, (n, n_in·h·w).

    Args:
        core: T (r, r, h, w).
        a: (r, n_out).
        b: (r, n_in).
        start: First output.
        stop: One past the last.
        ops: The operations.
    """
    p, q, height, width = core.shape
    inner = ops.permute(ops.load(core), 0, 2, 3, 1).reshape(p * height * width, q) @ ops.load(b)
    outer = ops.load(a)[:, start:stop].T @ inner.reshape(p, height * width * b.shape[1])
    by_place = outer.reshape(-1, height * width, b.shape[1])
    return ops.permute(by_place, 0, 2, 1).reshape(-1, b.shape[1] * height * width)


def has_core(site: Site, *roles: str, is_told: bool, is_needed: bool = True) -> bool:
    """Whether a site has cores, which it must if the config says so for a wide kernel.

    Args:
        site: The adapted module.
        *roles: The cores.
        is_told: `use_effective_conv2d`.
        is_needed: Whether other tensors of the site need them.

    Raises:
        Refused: `missing_tensors` or `unexpected_tensors` when config and tensors disagree.
    """
    cores = [role for role in roles if role in site.tensors]
    is_wide = len(site.shape) > 2 and math.prod(site.shape[2:]) > 1
    if cores and not (is_told and is_wide):
        why = "use_effective_conv2d is not set" if is_wide else "the layer has no wide kernel"
        raise site.refuse("unexpected_tensors", f"it is a core, and {why}", cores[0])
    if cores or (is_told and is_wide and is_needed):
        require(site, *roles)
    return bool(cores)


def check_core(site: Site, core: str, a: str, b: str, rank: float) -> None:
    """Check the shapes of a core and its factors against rank and kernel.

    Raises:
        Refused: `rank` or `shape`.
    """
    shape, left, right = sizes(site, core, 4), sizes(site, a), sizes(site, b)
    check_rank(site, (shape[0], shape[1], left[0], right[0]), rank)
    if shape[2:] != (*site.shape[2:], 1)[:2]:
        raise site.refuse("shape", f"{list(shape)} is no core of {list(site.shape)}", core)
