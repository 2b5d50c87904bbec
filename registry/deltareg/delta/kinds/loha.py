"""LoHa: the elementwise product of two low-rank products.

W' = W + alpha / r · (A1 B1) ∘ (A2 B2) (Hyeon-Woo et al. 2021, arXiv 2108.06098, proposition 1). For
kernels with `use_effective_conv2d` each product goes through a core T (proposition 3).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta.kind import Effect
from deltareg.delta.layouts.peft.lycoris import LycorisSettings, read_settings
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.peft.sides import check_rank, plain_layer, sizes
from deltareg.delta.layouts.peft.tucker import check_core, has_core, tucker_rows
from deltareg.delta.maths.formula import Array, Ops, Tensor

_CORES = ("hada_t1", "hada_t2")
_FACTORS = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")


@dataclass(frozen=True, slots=True)
class HadamardFactor:
    """One of the two products: a @ b, or both through a core.

    Attributes:
        a: (n_out, r), or (r, n_out) where there is a core.
        b: (r, n_in).
        core: (r, r, h, w).
    """

    a: Tensor
    b: Tensor
    core: Tensor | None

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        """Return rows `start:stop` (n, n_in·h·w)."""
        if self.core is None:
            return ops.load(self.a, start, stop) @ ops.load(self.b)
        return tucker_rows(self.core, self.a, self.b, start, stop, ops)


@dataclass(frozen=True, slots=True)
class Hadamard:
    """W + scale · first ∘ second."""

    first: HadamardFactor
    second: HadamardFactor
    scale: float
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        product = self.first.rows(start, stop, ops) * self.second.rows(start, stop, ops)
        return weight + (product * self.scale).reshape(*weight.shape)


def effects(site: Site, settings: LycorisSettings) -> Iterable[Effect]:
    """Add the elementwise product of the two products to the weight."""
    rank = settings.rank(site.module)
    has_cores = has_core(site, *_CORES, is_told=settings.use_effective_conv2d)
    if has_cores:
        _check_cores(site, rank)
    else:
        _check_flat(site, rank)
    first, second = (_half(site, number, has_core=has_cores) for number in ("1", "2"))
    yield site.changes(Hadamard(first, second, settings.scale(site.module)))


def _check_flat(site: Site, told: float) -> None:
    w1_a, w1_b, w2_a, w2_b = (sizes(site, role) for role in _FACTORS)
    check_rank(site, (w1_a[1], w1_b[0], w2_a[1], w2_b[0]), told)
    plain_layer(site, w1_a[0], w1_b[1])
    if w2_a != w1_a or w2_b != w1_b:
        raise site.refuse("shape", "its two products differ in shape", "hada_w2_a")


def _check_cores(site: Site, told: float) -> None:
    for number in ("1", "2"):
        check_core(site, f"hada_t{number}", f"hada_w{number}_a", f"hada_w{number}_b", told)
        n_out, n_in = (sizes(site, f"hada_w{number}_{side}")[1] for side in "ab")
        plain_layer(site, n_out, n_in * math.prod(site.shape[2:]))


def _half(site: Site, number: str, *, has_core: bool) -> HadamardFactor:
    tensors = site.tensors
    core = tensors[f"hada_t{number}"] if has_core else None
    return HadamardFactor(tensors[f"hada_w{number}_a"], tensors[f"hada_w{number}_b"], core)


LOHA = PeftKind(
    "lora",
    "loha",
    "LOHA",
    {(role, ""): role for role in (*_FACTORS, *_CORES)},
    read_settings,
    effects,
    optional=frozenset(_CORES),
)
