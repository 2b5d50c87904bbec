"""Converts LoRA of single experts to LoRA of all experts of a layer as one, and back.

Networks keep all experts of a layer in one parameter, gate and up projections in one as well, and
peft adapts that parameter (`target_parameters`): factors A (experts · r, n_in), expert by expert,
and B (n_out, r · experts), the expert running fastest. Older checkpoints and vLLM have a pair of
factors for each expert and projection. Gate and up of rank r become one pair of rank 2 r, each with
its own half of A and B; factors of fewer rows than the rank are padded with zeros, which change
nothing.

The way back is exact whatever the factors are: each projection takes its rows of B and all of A.
Where each of B's columns belongs to one projection, as they do after a conversion, it takes only
its half.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deltareg.client.bases.bases import KnownBase
from deltareg.client.convert import to_peft
from deltareg.client.convert.expert_proof import is_kept
from deltareg.client.convert.levelled import of_one_scale
from deltareg.client.convert.lora import ONE_DTYPE, AdaptedModule, ConvertedLora, is_same, modules_of
from deltareg.client.convert.matrices import InMemoryTensor, elements
from deltareg.client.convert.writing import Conversion, OutputTensor, copy_tensor
from deltareg.delta.delta_manifest import Assessment
from deltareg.delta.kind import Effect, WeightUpdate
from deltareg.delta.layouts.peft.config import CONFIG_FILE
from deltareg.delta.layouts.peft.experts import ExpertOut
from deltareg.delta.layouts.peft.keys import BASE_LAYER, PREFIX
from deltareg.delta.layouts.peft.written import alpha_for
from deltareg.delta.maths.updates import LowRank
from deltareg.delta.names.name_map import ParameterPart as Place
from deltareg.errors import IntegrityFailure, InvalidInput
from deltareg.tensors.array import TYPE_NAMES

_DOWN = "down_proj"
Proof = Callable[[Assessment], None]


@dataclass(frozen=True, slots=True)
class _Stack:
    """One parameter that holds all experts, with the factors of each.

    Attributes:
        path: Its name in the running network.
        heights: Rows of each of its projections.
        width: n_in.
        experts: How many there are.
        modules: (expert, projection) -> factors; an expert may have none.
    """

    path: str
    heights: tuple[int, ...]
    width: int
    experts: int
    modules: Mapping[tuple[int, int], AdaptedModule]

    @property
    def ranks(self) -> list[int]:
        """The largest rank of each projection."""
        return [
            max((m.rank for (_, place), m in self.modules.items() if place == at), default=0)
            for at in range(len(self.heights))
        ]

    @property
    def rank(self) -> int:
        """The rank of the whole parameter."""
        return sum(self.ranks)

    @property
    def scale(self) -> float:
        """The factor on all products."""
        return next(iter(self.modules.values())).scale

    @property
    def dtype(self) -> str:
        """The dtype of the factors.

        Raises:
            InvalidInput: The factors have several dtypes.
        """
        dtypes = {t.dtype for module in self.modules.values() for t in (module.a, module.b)}
        if len(dtypes) > 1:
            message = f"the factors of {self.path} are {' and '.join(sorted(dtypes))}"
            raise InvalidInput(f"{message}, and as one tensor they would have one dtype", fix=ONE_DTYPE)
        return dtypes.pop()

    def factors(self) -> tuple[InMemoryTensor, InMemoryTensor]:
        """Return A (experts · r, n_in) and B (n_out, r · experts)."""
        dtype, rank = self.dtype, self.rank
        a = np.zeros((self.experts, rank, self.width), TYPE_NAMES[dtype])
        b = np.zeros((sum(self.heights), rank, self.experts), TYPE_NAMES[dtype])
        columns, rows = (np.cumsum([0, *sizes]) for sizes in (self.ranks, self.heights))
        for (expert, place), module in self.modules.items():
            first = int(columns[place])
            a[expert, first : first + module.rank] = elements(module.a)
            b[rows[place] : rows[place + 1], first : first + module.rank, expert] = elements(module.b)
        stacked_a = a.reshape(self.experts * rank, self.width)
        stacked_b = b.reshape(sum(self.heights), rank * self.experts)
        return InMemoryTensor(self.path, dtype, stacked_a), InMemoryTensor(self.path, dtype, stacked_b)


def fuse(lora: ConvertedLora, known: KnownBase) -> Conversion:
    """Plan the conversion of single experts' factors to factors of one parameter.

    Raises:
        InvalidInput: It has no factors of single experts, or needs one scale and has several.
    """
    stacks = _stacks(lora.modules, known)
    others = [m for m in lora.modules if _place(m, known) is None]
    if not stacks:
        raise InvalidInput("no module of it is a single expert", fix="leave --to out")
    if lora.is_decomposed:
        message = "it is DoRA, which peft has not for parameters of experts"
        raise InvalidInput(message, fix="leave --to out, or train them without DoRA")
    names = [module.module for module in others] + [stack.path for stack in stacks]
    ranks = {m.module: m.rank for m in others} | {s.path: s.rank for s in stacks}
    alphas = {m.module: m.alpha for m in others}
    alphas |= {stack.path: alpha_for(stack.scale, stack.rank) for stack in stacks}
    config = {
        **to_peft.adapter_config("LORA", lora.trained_on),
        **to_peft.pattern_config(ranks, alphas, alpha_key="lora_alpha"),
        "target_modules": sorted(names[: len(others)]),
        "target_parameters": sorted(names[len(others) :]),
    }
    plain = [part for module in others for part in to_peft.parts(module, known)]

    def prove(written: Assessment) -> None:
        by_target = {m.target: m for m in modules_of(written.account.effects, known.view)}
        if not is_kept(lora.modules, by_target, _firsts(stacks)):
            raise IntegrityFailure("the fused factors are not those of the single experts")

    return _conversion(lora, "lora of fused experts", [*plain, *_write_factors(stacks)], config, prove)


def split(lora: ConvertedLora, known: KnownBase) -> Conversion:
    """Plan the conversion to factors of each expert and projection.

    Raises:
        InvalidInput: No factors are of all experts of a layer.
    """
    stacks = _stacks(lora.modules, known)
    if not stacks or not _has_stacked(lora.effects):
        raise InvalidInput("no factors of it are those of all experts", fix="leave --to out")
    halves = {m.target: m for stack in stacks for m in _halve_factors(stack)}
    modules = [halves.get(module.target, module) for module in lora.modules]
    config = {**to_peft.adapter_config("LORA", lora.trained_on), **to_peft.factor_config(modules)}

    def prove(written: Assessment) -> None:
        if not is_same(modules, modules_of(written.account.effects, known.view)):
            raise IntegrityFailure("the factors of single experts are not those of the fused ones")

    parts = [part for module in modules for part in to_peft.parts(module, known)]
    return _conversion(lora, "lora of single experts", parts, config, prove)


def _conversion(
    lora: ConvertedLora, result: str, parts: list[OutputTensor], config: Mapping[str, object], prove: Proof
) -> Conversion:
    return Conversion(
        source=lora.source,
        result=result,
        files={to_peft.WEIGHTS_FILE: parts},
        source_bytes=lora.source_bytes,
        metadata={**lora.metadata, "format": "pt"},
        beside={**lora.documents, CONFIG_FILE: to_peft.as_document(config)},
        left_out=lora.left_out,
        prove=prove,
    )


def _place(module: AdaptedModule, known: KnownBase) -> Place | None:
    return known.view.names.part(module.target)


def _stacks(modules: Sequence[AdaptedModule], known: KnownBase) -> list[_Stack]:
    """Group the modules that are parts of one parameter, each group at one scale."""
    stacks: dict[str, dict[tuple[int, int], AdaptedModule]] = defaultdict(dict)
    for module in modules:
        place = _place(module, known)
        if place is not None:
            stacks[place.whole][place.row, place.place] = module
    sizes = _sizes(known) if stacks else {}
    return [_stack(path, stacks[path], sizes[path]) for path in sorted(stacks)]


def _stack(
    path: str, found: Mapping[tuple[int, int], AdaptedModule], sizes: Mapping[tuple[int, int], tuple[int, ...]]
) -> _Stack:
    places = sorted({place for _, place in sizes})
    level = of_one_scale(list(found.values()), "peft's LoRA of fused experts")
    modules = dict(zip(found, level, strict=True))
    heights = tuple(sizes[0, place][0] for place in places)
    return _Stack(path, heights, sizes[0, 0][1], 1 + max(row for row, _ in sizes), modules)


def _sizes(known: KnownBase) -> dict[str, dict[tuple[int, int], tuple[int, ...]]]:
    """Return the shapes of the base's matrices that are parts of one parameter."""
    sizes: dict[str, dict[tuple[int, int], tuple[int, ...]]] = defaultdict(dict)
    for name, record in known.view.tensors.items():
        place = known.view.names.part(name)
        if place is not None:
            sizes[place.whole][place.row, place.place] = record.shape
    return sizes


def _write_factors(stacks: Sequence[_Stack]) -> list[OutputTensor]:
    """Write the factors of each parameter; of two in one module the inner one comes first."""
    paths, parts = {stack.path for stack in stacks}, list[OutputTensor]()
    for stack in stacks:
        module, _, name = stack.path.rpartition(".")
        is_inner = name != _DOWN and f"{module}.{_DOWN}" in paths
        key = f"{PREFIX}{module}.{BASE_LAYER}." if is_inner else f"{PREFIX}{module}."
        parts += [
            copy_tensor(f"{key}lora_{letter}.weight", tensor)
            for letter, tensor in zip("AB", stack.factors(), strict=True)
        ]
    return parts


def _firsts(stacks: Sequence[_Stack]) -> dict[str, tuple[AdaptedModule, int]]:
    """Return each module's factors at their stack's scale, and their first column there."""
    return {
        module.target: (module, int(sum(stack.ranks[:place])))
        for stack in stacks
        for (_, place), module in stack.modules.items()
    }


def _halve_factors(stack: _Stack) -> list[AdaptedModule]:
    """Give each projection its half of the factors if the other half does nothing to it."""
    half, places = stack.ranks[0] // 2, len(stack.heights)
    modules = list(stack.modules.items())
    if places != 2 or not half or any(m.rank != 2 * half for _, m in modules):
        return [module for _, module in modules]
    other = {0: slice(half, None), 1: slice(0, half)}
    own = {0: slice(0, half), 1: slice(half, None)}
    if any(elements(module.b)[:, other[place]].any() for (_, place), module in modules):
        return [module for _, module in modules]
    return [
        replace(
            module,
            a=InMemoryTensor(module.a.name, module.a.dtype, elements(module.a)[own[place]]),
            b=InMemoryTensor(module.b.name, module.b.dtype, elements(module.b)[:, own[place]]),
            alpha=alpha_for(module.scale, half),
        )
        for (_, place), module in modules
    ]


def _has_stacked(effects: Sequence[Effect]) -> bool:
    updates = (effect.update for effect in effects if isinstance(effect, WeightUpdate))
    return any(isinstance(u, LowRank) and isinstance(u.left, ExpertOut) for u in updates)
