"""A LoRA between two layouts: what it does to each module, whatever its names and shapes were."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from deltareg.client.convert.matrices import InMemoryTensor, elements, same_bytes, widen_tensor
from deltareg.delta.kind import BaseView, Effect, WeightUpdate
from deltareg.delta.layouts.bare_pairs.pair import PairUpdate
from deltareg.delta.layouts.peft.experts import ExpertIn, ExpertOut, ExpertStack
from deltareg.delta.layouts.peft.written import alpha_for
from deltareg.delta.maths.formula import Tensor
from deltareg.delta.maths.updates import Factor, LowRank, WeightDecomposed
from deltareg.errors import InvalidInput

ONE_DTYPE = "save all of them in one dtype"
_EMBEDDING = "lora_embedding_A"
_OTHER = "push it as it is: deltareg push PATH NS/NAME --base BASE"


@dataclass(frozen=True, slots=True)
class AdaptedModule:
    """A module with its factors, y + alpha / r · b a x, as a layer applies them.

    Attributes:
        module: Its path in the running network.
        target: Its weight in the base's files.
        a: (r, n_in), or of a convolution (r, n_in, h, w).
        b: (n_out, r), or of a convolution (n_out, r, 1, 1).
        alpha: The numerator of the scale.
        magnitude: The magnitude of DoRA, one number for each output.
        is_flipped: Whether the base stores the weight (in, out), or it is an embedding.
        is_embedding: Whether the module is an embedding: its rows change by (b a)ᵀ.
    """

    module: str
    target: str
    a: Tensor
    b: Tensor
    alpha: float
    magnitude: Tensor | None = None
    is_flipped: bool = False
    is_embedding: bool = False

    @property
    def rank(self) -> int:
        """Size of the inner dimension."""
        return self.a.shape[0]

    @property
    def scale(self) -> float:
        """The factor on the product."""
        return self.alpha / self.rank

    @property
    def effect(self) -> WeightUpdate:
        """The module's effect on the base's weight."""
        first, second = (self.a, self.b) if self.is_flipped else (self.b, self.a)
        flipped = self.is_flipped
        low_rank = LowRank(Factor(first, flipped), Factor(second, flipped), self.scale)
        if self.magnitude is None:
            return WeightUpdate(self.target, low_rank, {})
        outputs = WeightDecomposed(low_rank, self.magnitude, "columns" if flipped else "rows")
        return WeightUpdate(self.target, outputs, {})


@dataclass(frozen=True, slots=True)
class ConvertedLora:
    """All modules of a LoRA.

    Attributes:
        source: The layout that it was read from, for people.
        modules: Its modules.
        source_bytes: Bytes of the files that it was read from.
        effects: Its effects, as the reader of its layout reports them; empty if `modules` are all.
        documents: Other files to copy.
        metadata: The metadata of its tensor files.
        trained_on: The base's name in its own config; empty if it has none.
        left_out: What is left out, each with the reason.
    """

    source: str
    modules: Sequence[AdaptedModule]
    source_bytes: int
    effects: Sequence[Effect] = ()
    documents: Mapping[str, bytes | memoryview] = field(default_factory=dict[str, "bytes | memoryview"])
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    trained_on: str = ""
    left_out: tuple[str, ...] = ()

    @property
    def is_decomposed(self) -> bool:
        """Whether it is DoRA.

        Raises:
            InvalidInput: Some modules are, and others are not.
        """
        plain = [module for module in self.modules if module.magnitude is None]
        if plain and len(plain) < len(self.modules):
            message = f"{plain[0].module} is plain LoRA and other modules are DoRA"
            raise InvalidInput(f"no config can say that {message}", fix="convert them one by one")
        return not plain


def modules_of(effects: Iterable[Effect], base: BaseView) -> list[AdaptedModule]:
    """Return the modules of a LoRA that a kind has read.

    Raises:
        InvalidInput: An effect is not a pair of factors on a weight of the base.
    """
    return [_module(effect, base) for effect in effects]


def path_of(target: str, base: BaseView) -> str:
    """Return a module's path in the running network, given its weight in the base's files."""
    return (base.names.memory(target) or target).removesuffix(".weight")


def number_of(tensor: Tensor) -> float:
    """Return the single number in a tensor."""
    return float(np.max(widen_tensor(tensor)))


def is_same(one: Sequence[AdaptedModule], other: Sequence[AdaptedModule]) -> bool:
    """Whether two lists hold the same modules, factors bit for bit and scales as float32."""
    by_target = {module.target: module for module in other}
    return by_target.keys() == {module.target for module in one} and all(
        _is_alike(module, by_target[module.target]) for module in one
    )


def _module(effect: Effect, base: BaseView) -> AdaptedModule:
    if not isinstance(effect, WeightUpdate) or effect.reads or effect.shape or effect.dtype:
        place = getattr(effect, "target", "") or getattr(effect, "module", "")
        message = f"more than a pair of factors is there for {place}: a saved, grown or untied part"
        raise InvalidInput(f"only a LoRA has a form in other layouts, and {message}", fix=_OTHER)
    path, target = path_of(effect.target, base), effect.target
    match effect.update:
        case PairUpdate() as pair:
            return _pair(effect.target, pair, path)
        case WeightDecomposed(direction=direction, magnitude=magnitude):
            return _low_rank(effect, direction, path, magnitude)
        case LowRank() as direction:
            return _low_rank(effect, direction, path, None)
        case ExpertStack():
            message = f"{target} is a stack of experts in the base's files, which are no modules"
            raise InvalidInput(f"it has no other form: {message}", fix=_OTHER)
        case other:
            message = f"what changes {target} is {type(other).__name__}"
            raise InvalidInput(f"only LoRA and DoRA have a form there, and {message}", fix=_OTHER)


def _pair(target: str, pair: PairUpdate, path: str) -> AdaptedModule:
    if pair.core is not None:
        raise InvalidInput(
            f"{pair.core.name} lies between two factors, and peft has no such layer", fix="push the file as it is"
        )
    alpha = float(pair.rank) if pair.alpha is None else number_of(pair.alpha)
    return AdaptedModule(path, target, pair.down, pair.up, alpha, is_flipped=pair.is_flipped)


def _low_rank(effect: WeightUpdate, direction: LowRank, path: str, magnitude: Tensor | None) -> AdaptedModule:
    left, right = direction.left, direction.right
    if isinstance(left, ExpertOut) and isinstance(right, ExpertIn):
        return _of_expert(effect.target, left, right, path, direction.scale)
    assert isinstance(left, Factor)
    assert isinstance(right, Factor)
    a, b = (left.tensor, right.tensor) if left.flipped else (right.tensor, left.tensor)
    return AdaptedModule(
        path,
        effect.target,
        a,
        b,
        _alpha(direction.scale, a.shape[0]),
        magnitude,
        is_flipped=left.flipped,
        is_embedding=_EMBEDDING in effect.consumes.values(),
    )


def _of_expert(target: str, left: ExpertOut, right: ExpertIn, path: str, scale: float) -> AdaptedModule:
    """Return one expert's own factors from those of all."""
    rank, first = right.rank, right.expert * right.rank
    a = elements(right.stacked)[first : first + rank]
    rows = elements(left.stacked)[left.first : left.first + left.height]
    b = rows.reshape(left.height, rank, -1)[:, :, left.expert]
    stacked = right.stacked
    return AdaptedModule(
        path,
        target,
        InMemoryTensor(stacked.name, stacked.dtype, a),
        InMemoryTensor(left.stacked.name, left.stacked.dtype, b),
        _alpha(scale, rank),
    )


def _alpha(scale: float, rank: int) -> float:
    """Return the numerator of a scale, as round a number as possible."""
    plain = float(f"{scale * rank:.12g}")
    return plain if plain / rank == scale else alpha_for(scale, rank)


def _is_alike(one: AdaptedModule, other: AdaptedModule) -> bool:
    m, n = (b"" if x.magnitude is None else bytes(x.magnitude.read()) for x in (one, other))
    is_near = math.isclose(one.scale, other.scale, rel_tol=1e-7)
    is_of_one = is_near and one.module == other.module and m == n
    return is_of_one and same_bytes(one.a, other.a) and same_bytes(one.b, other.b)
