"""SSF: what a layer gives is scaled and shifted, y' = s (W x + b) + t.

Lian et al. 2022, arXiv 2210.08823, equation 1.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.delta import Array, Effect, Ops, PeftKind, Site, Tensor, WeightUpdate


@dataclass(frozen=True, slots=True)
class NoSettings:
    """SSF has none."""


@dataclass(frozen=True, slots=True)
class ScaledOutputs:
    """Rows of the weight, or of the bias, scaled."""

    scale: Tensor
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        ones = [1] * (len(weight.shape) - 1)
        return weight * ops.load(self.scale, start, stop).reshape(-1, *ones)


@dataclass(frozen=True, slots=True)
class Shifted:
    """The bias, shifted."""

    shift: Tensor
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        return weight + ops.load(self.shift, start, stop)


def effects(site: Site, settings: NoSettings) -> Iterable[Effect]:
    """Scale the weight; scale and shift the bias."""
    scale, shift = site.tensors["scale"], site.tensors["shift"]
    if not site.bias or site.is_transposed(scale.shape[0], site.shape[-1]):
        raise site.refuse("shape", "SSF is for layers with a bias, whose outputs are rows")
    yield WeightUpdate(site.target, ScaledOutputs(scale), {scale.name: "scale"})
    yield WeightUpdate(site.bias, ScaledOutputs(scale), {})
    yield WeightUpdate(site.bias, Shifted(shift), {shift.name: "shift"})


ROLES = {("ssf_scale", ""): "scale", ("ssf_shift", ""): "shift"}
SSF = PeftKind("ia3", "ssf", "SSF", ROLES, lambda _: NoSettings(), effects)
