"""BEFT: a number is added to every output of some linear layers, as one more bias.

h + v (arXiv 2509.15974). On a layer with a bias that is b' = b + v, which folds; on one without,
it can only be attached.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from deltareg.delta.kind import ActivationHook, BaseView, DeltaFiles, Effect, Match, WeightUpdate
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.factors import AddVector
from deltareg.delta.layouts.peft.keys import read_keys
from deltareg.delta.layouts.peft.peft_kind import PeftDelta, PeftKind, Site
from deltareg.delta.maths.formula import Array, Ops, Tensor

_MARKER = "beft_bias"


@dataclass(frozen=True, slots=True)
class NoSettings:
    """BEFT has none."""


@dataclass(frozen=True, slots=True)
class AddedBias:
    """b + v, with v stored as one row."""

    row: Tensor
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        return weight + ops.load(self.row).reshape(-1)[start:stop]


class Beft:
    """BEFT as the library writes it; which layers have a bias decides whether it folds."""

    name = "bitfit"
    layout = "peft BEFT"

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        return _kind().recognise(files, base)

    @classmethod
    def parse(cls, files: DeltaFiles, base: BaseView) -> PeftDelta[NoSettings]:
        keys = read_keys(files.names, frozenset({_MARKER})).read.values()
        adapted = [key.module for key in keys if key.marker == _MARKER]
        has_biases = all(base.names.tensor(f"{module}.bias") for module in adapted)
        return replace(_kind(), foldable=has_biases).parse(files, base)


def _kind() -> PeftKind[NoSettings]:
    roles = {(_MARKER, ""): _MARKER}
    return PeftKind("bitfit", "beft", "BEFT", roles, _read, _effects, foldable=False)


def _read(fields: Fields) -> NoSettings:
    fields.ignore("init_weights")
    return NoSettings()


def _effects(site: Site, settings: NoSettings) -> Iterable[Effect]:
    return _build_bias_effect(site)


def _build_bias_effect(site: Site) -> Iterator[Effect]:
    vector, n_out = site.tensors[_MARKER], site.out_in()[0]
    if vector.shape != (1, n_out) or len(site.shape) != 2:
        raise site.refuse("shape", f"{list(vector.shape)} is no bias for {n_out} outputs")
    if site.bias:
        yield WeightUpdate(site.bias, AddedBias(vector), site.own)
    else:
        yield ActivationHook(site.path, "after", {}, site.own, AddVector(vector, 1.0))
