"""Proves that factors of all experts hold those of single ones, and nothing else of effect."""

from collections.abc import Mapping, Sequence

import numpy as np

from deltareg.client.convert.lora import AdaptedModule
from deltareg.client.convert.matrices import elements


def is_kept(
    wanted: Sequence[AdaptedModule], found: Mapping[str, AdaptedModule], placed: Mapping[str, tuple[AdaptedModule, int]]
) -> bool:
    """Whether the result holds each module's factors, and zeros in B beside them.

    Zeros in between may change the order of summation, so folds are not compared.

    Args:
        wanted: The source's modules.
        found: The written modules, by target.
        placed: Target -> its factors at the scale of the whole, and where their columns begin.
    """
    own = {module.target: (module, 0) for module in wanted} | dict(placed)
    return own.keys() <= found.keys() and all(_is_block(own.get(target), module) for target, module in found.items())


def _is_block(placed: tuple[AdaptedModule, int] | None, written: AdaptedModule) -> bool:
    a, b = elements(written.a), elements(written.b)
    if placed is None:
        return not b.any()
    own, first = placed
    last = first + own.rank
    rest = np.delete(b, slice(first, last), axis=1)
    is_same_scale = np.float32(own.scale) == np.float32(written.scale)
    return bool(
        is_same_scale
        and not rest.any()
        and np.array_equal(a[first:last], elements(own.a).reshape(own.rank, -1))
        and np.array_equal(b[:, first:last], elements(own.b).reshape(-1, own.rank))
    )
