"""LoKr: a Kronecker product of two small matrices, either of which may be a low-rank product.

W' = W + alpha / r · C ⊗ (A B) (Edalati et al. 2022, arXiv 2212.10650; Yeh et al. 2023, arXiv
2309.14859). The second may also be a kernel, or come from a core (`use_effective_conv2d`). Until 0.13 the
library left alpha / r out; the release that brought it brought `rank_dropout_scale` to the config too.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.lycoris import LycorisSettings, read_settings
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.releases import is_before
from deltareg.delta.layouts.peft.sides import check_rank, plain_layer, require, sizes
from deltareg.delta.layouts.peft.tucker import check_core, has_core, tucker_rows
from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.older_reading import OlderReading

_ROLES = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")
_SCALED_WITH, _SCALED_SINCE = "rank_dropout_scale", (0, 14)


@dataclass(frozen=True, slots=True)
class LokrFactor:
    """One of the two matrices: stored whole, as a @ b, or through a core.

    Attributes:
        tensors: The matrix, or a and b, or a, b and the core.
        height: Rows.
    """

    tensors: tuple[Tensor, ...]
    height: int

    def whole(self, ops: Ops) -> Array:
        """Return the matrix (height, …); a kernel's trailing dimensions are flat."""
        match self.tensors:
            case (stored,):
                return ops.load(stored).reshape(self.height, -1)
            case (a, b):
                return ops.load(a) @ ops.load(b)
            case (a, b, core):
                return tucker_rows(core, a, b, 0, self.height, ops)
            case _:
                raise AssertionError(self.tensors)


@dataclass(frozen=True, slots=True)
class Kronecker:
    """W + scale · first ⊗ second: row i·b + j is first[i] ⊗ second[j].

    Attributes:
        first: (a, c).
        second: (b, d·k), k the size of a kernel.
        scale: The factor on the product.
    """

    first: LokrFactor
    second: LokrFactor
    scale: float
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        rows = np.arange(start, stop)
        first = ops.take(self.first.whole(ops), rows // self.second.height, 0)
        second = ops.take(self.second.whole(ops), rows % self.second.height, 0)
        product = first.reshape(stop - start, -1, 1) @ second.reshape(stop - start, 1, -1)
        return weight + (product * self.scale).reshape(*weight.shape)


@dataclass(frozen=True, slots=True)
class KroneckerOfLines:
    """W + scale · first ⊗ second for kernels of one dimension, as the library multiplies them.

    It aligns the dimensions of a matrix (a, c) and a kernel (b, d, k) from the last one on, so the
    product is (b, a·d, c·k), which is then read as (out, in, k).
    """

    first: LokrFactor
    second: Tensor
    scale: float
    needs_whole = True
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        first, (b, d, k) = self.first.whole(ops), self.second.shape
        product = first.reshape(-1, 1) @ ops.load(self.second).reshape(1, -1)
        placed = ops.permute(product.reshape(*first.shape, b, d, k), 2, 0, 3, 1, 4)
        return weight + (placed * self.scale).reshape(*weight.shape)


def read(fields: Fields) -> LycorisSettings:
    """Read the settings; the shapes show how matrices are divided."""
    fields.ignore("decompose_both", "decompose_factor", _SCALED_WITH)
    settings = read_settings(fields)
    return _leave_unscaled(settings) if is_before(fields, _SCALED_WITH, _SCALED_SINCE) else settings


def find_older(fields: Fields) -> OlderReading | None:
    """Find out whether the release that wrote it left the scale out, and that makes a difference."""
    if not is_before(fields, _SCALED_WITH, _SCALED_SINCE):
        return None
    settings = read_settings(fields)
    if settings == _leave_unscaled(settings):
        return None
    difference = f"without alpha / r; today's multiplies by {settings.alpha / settings.r:.3g}"
    fields_of_today = {"alpha": settings.r, "alpha_pattern": fields.table("rank_pattern")}
    return OlderReading("peft 0.13 or earlier", difference, fields_of_today)


def _leave_unscaled(settings: LycorisSettings) -> LycorisSettings:
    return replace(settings, alpha=settings.r, alphas=settings.ranks)


def effects(site: Site, settings: LycorisSettings) -> Iterable[Effect]:
    """Add the Kronecker product to the weight."""
    rank = settings.rank(site.module)
    first, n_out, n_in = _first(site, rank)
    second, height, width = _second(site, settings, rank)
    plain_layer(site, n_out * height, n_in * width)
    scale = settings.scale(site.module)
    factor = site.tensors.get("lokr_w2")
    if factor is not None and len(factor.shape) == 3:
        yield site.changes(KroneckerOfLines(first, factor, scale))
    else:
        yield site.changes(Kronecker(first, second, scale))


def _first(site: Site, rank: float) -> tuple[LokrFactor, int, int]:
    if _is_whole(site, "lokr_w1"):
        height, width = sizes(site, "lokr_w1")
        return LokrFactor((site.tensors["lokr_w1"],), height), height, width
    return _product(site, "lokr_w1", rank)


def _second(site: Site, settings: LycorisSettings, rank: float) -> tuple[LokrFactor, int, int]:
    is_whole, is_declared = _is_whole(site, "lokr_w2"), settings.use_effective_conv2d
    if has_core(site, "lokr_t2", is_told=is_declared, is_needed=not is_whole):
        if is_whole:
            raise site.refuse("unexpected_tensors", "lokr_w2 is there whole as well", "lokr_t2")
        return _through_core(site, rank)
    if is_whole:
        shape = sizes(site, "lokr_w2", len(site.shape))
        if shape[2:] != site.shape[2:]:
            raise site.refuse("shape", f"{list(shape)} is no kernel of {list(site.shape)}")
        return LokrFactor((site.tensors["lokr_w2"],), shape[0]), shape[0], math.prod(shape[1:])
    return _product(site, "lokr_w2", rank)


def _through_core(site: Site, rank: float) -> tuple[LokrFactor, int, int]:
    check_core(site, "lokr_t2", "lokr_w2_a", "lokr_w2_b", rank)
    tensors = tuple(site.tensors[role] for role in ("lokr_w2_a", "lokr_w2_b", "lokr_t2"))
    height, width = tensors[0].shape[1], tensors[1].shape[1] * math.prod(site.shape[2:])
    return LokrFactor(tensors, height), height, width


def _product(site: Site, name: str, rank: float) -> tuple[LokrFactor, int, int]:
    a, b = sizes(site, f"{name}_a"), sizes(site, f"{name}_b")
    check_rank(site, (a[1], b[0]), rank)
    return LokrFactor((site.tensors[f"{name}_a"], site.tensors[f"{name}_b"]), a[0]), a[0], b[1]


def _is_whole(site: Site, name: str) -> bool:
    """Return whether a matrix is stored whole and not as factors; one of the two must be."""
    factors = (f"{name}_a", f"{name}_b")
    if name not in site.tensors:
        require(site, *factors)
        return False
    extra = [role for role in factors if role in site.tensors]
    if extra:
        raise site.refuse("unexpected_tensors", f"{name} is there whole as well", extra[0])
    return True


LOKR = PeftKind(
    "lora",
    "lokr",
    "LOKR",
    {(role, ""): role for role in _ROLES},
    read,
    effects,
    optional=frozenset(_ROLES),
    older=find_older,
)
