"""LoRA of a diffusion transformer under today's names of diffusers, with an alpha beside every pair.

Trainers write such files: `transformer.….to_q.lora_A.weight` and `transformer.….to_q.alpha`. For Flux the library
takes the alphas; for its other models it leaves them out, and so the scale that was trained with.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from deltareg.delta.kind import BaseView, DeltaFiles, Match, Tensors, WeightUpdate
from deltareg.delta.layouts.bare_pairs.dotted import finder
from deltareg.delta.layouts.bare_pairs.pair import PairUpdate
from deltareg.delta.layouts.bare_pairs.pair_kind import PairDelta, PairKind
from deltareg.delta.layouts.bare_pairs.plan import PairPlan, PairTensorName
from deltareg.delta.maths.formula import Ops, Tensor
from deltareg.errors import Problem
from deltareg.tensors.array import to_f32, view

_START = "transformer."
_ROLES = {".lora_B.weight": "up", ".lora_A.weight": "down", ".alpha": "alpha"}
_FACTORS = tuple(ending for ending, role in _ROLES.items() if role != "alpha")
_METADATA = "lora_adapter_metadata"
_TAKES_THEM = "FluxTransformer2DModel"
_FIX = "write the scale into lora_B and take the alphas out, or save it with save_lora_adapter"


@dataclass(frozen=True, slots=True)
class PairOfLikeName(PairUpdate):
    """A pair whose module's name ends in that of another module with an alpha of its own.

    The library takes the first alpha whose module the name ends in, so the two have to be equal.

    Attributes:
        others: The other modules' alphas.
    """

    others: tuple[Tensor, ...] = ()

    def fault(self, ops: Ops) -> Problem | None:
        """Return the problem of a zero alpha, or of two that differ."""
        assert self.alpha is not None
        own = _number(self.alpha)
        other = next((alpha for alpha in self.others if _number(alpha) != own), None)
        if other is None:
            return PairUpdate.fault(self, ops)
        message = f"diffusers may take {other.name} in its place, as its module's name ends in that one's"
        return Problem("ambiguous", message, tensor=self.alpha.name, fix=_FIX)


@dataclass(frozen=True)
class PairsWithAlphas(PairDelta):
    """A delta in this layout."""

    def plan(self, tensors: Tensors, base: BaseView) -> PairPlan:
        """Pair the factors, and keep those apart whose names the library mixes up."""
        plan = super().plan(tensors, base)
        alphas = {name.removesuffix(".alpha"): t for name, t in tensors.items() if name.endswith(".alpha")}
        plan.effects = [
            replace(effect, update=_held_apart(effect.update, alphas))
            if isinstance(effect, WeightUpdate) and isinstance(effect.update, PairUpdate)
            else effect
            for effect in plan.effects
        ]
        return plan


@dataclass(frozen=True)
class PairsWithAlphasKind(PairKind):
    """The reader of such files."""

    def recognise(self, files: DeltaFiles, base: BaseView) -> Match | None:
        """Recognise a file by its names; metadata with a config is of another layout."""
        is_ours = any(name.startswith(_START) and name.endswith(".alpha") for name in files.names)
        has_config = any(_METADATA in header.metadata for header in files.headers.values())
        return super().recognise(files, base) if is_ours and not has_config else None

    def parse(self, files: DeltaFiles, base: BaseView) -> PairsWithAlphas:
        """Read the ranks from the shapes."""
        delta = super().parse(files, base)
        return PairsWithAlphas(**{f.name: getattr(delta, f.name) for f in fields(delta)})


def read(name: str) -> PairTensorName | None:
    """Parse a name by its beginning and its ending."""
    ending = next((ending for ending in _ROLES if name.endswith(ending)), "")
    is_ours = ending and name.startswith(_START)
    return PairTensorName(name.removesuffix(ending), _ROLES[ending]) if is_ours else None


def find_left_out(files: DeltaFiles, base: BaseView) -> list[Problem]:
    """Find alphas that the library would leave out for this base."""
    config = base.components.get("transformer", base.config)
    name = next((name for name in sorted(files.names) if name.endswith(".alpha")), "")
    class_name = config.get("_class_name")
    if class_name == _TAKES_THEM or not name:
        return []
    message = f"diffusers takes an alpha beside lora_A for Flux only, and loads {class_name or 'this base'} without it"
    return [Problem("ambiguous", message, tensor=name, fix=_FIX)]


def _held_apart(update: PairUpdate, alphas: dict[str, Tensor]) -> PairUpdate:
    if update.alpha is None:
        return update
    others = tuple(_alphas_of_ends(update.alpha.name.removesuffix(".alpha"), alphas))
    own = {f.name: getattr(update, f.name) for f in fields(update)}
    return PairOfLikeName(**own, others=others) if others else update


def _alphas_of_ends(module: str, alphas: dict[str, Tensor]) -> Iterator[Tensor]:
    parts = module.removeprefix(_START).split(".")
    ends = (".".join(parts[at:]) for at in range(1, len(parts)))
    yield from (alphas[_START + end] for end in ends if _START + end in alphas)


def _number(alpha: Tensor) -> float:
    return float(np.ravel(to_f32(view(alpha.read(), alpha.dtype, alpha.shape), alpha.dtype))[0])


DIFFUSERS_ALPHAS = PairsWithAlphasKind(
    "diffusers with alphas", read, finder, refused=find_left_out, library="diffusers"
)
