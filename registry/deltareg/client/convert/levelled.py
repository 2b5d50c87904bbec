"""One rank and one scale for all modules, for layouts that allow only one; exact, or refused."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from deltareg.client.convert.lora import AdaptedModule
from deltareg.client.convert.matrices import pad_tensor, scale_tensor
from deltareg.delta.layouts.peft.written import alpha_for
from deltareg.errors import InvalidInput


def of_one_rank(modules: Sequence[AdaptedModule]) -> list[AdaptedModule]:
    """Pad factors with zeros until all have the largest rank; their product stays the same."""
    rank = max(module.rank for module in modules)
    return [
        replace(
            module,
            a=pad_tensor(module.a, rank, axis=0),
            b=pad_tensor(module.b, rank, axis=1),
            alpha=alpha_for(module.scale, rank) if module.rank != rank else module.alpha,
        )
        for module in modules
    ]


def of_one_rank_each(modules: Sequence[AdaptedModule], group: Callable[[str], str | None]) -> list[AdaptedModule]:
    """Pad factors to one rank within each group.

    Args:
        modules: The modules.
        group: Returns the group of a module, given its weight in the base; None if it is in none.
    """
    groups: dict[str | None, list[AdaptedModule]] = defaultdict(list)
    for module in modules:
        groups[group(module.target)].append(module)
    alone = groups.pop(None, [])
    return [*alone, *(module for found in groups.values() for module in of_one_rank(found))]


def of_one_scale(modules: Sequence[AdaptedModule], who: str) -> list[AdaptedModule]:
    """Move differences between scales into B, where that only shifts the exponent.

    Raises:
        InvalidInput: It would round B.
    """
    scale = Counter(module.scale for module in modules).most_common(1)[0][0]
    return [_rescale(module, scale, scale * module.rank, who) for module in modules]


def of_one_alpha(modules: Sequence[AdaptedModule], who: str) -> list[AdaptedModule]:
    """Move differences between the scales' numerators into B, where that only shifts the exponent.

    Raises:
        InvalidInput: It would round B.
    """
    alpha = Counter(module.alpha for module in modules).most_common(1)[0][0]
    return [_rescale(module, alpha / module.rank, alpha, who) for module in modules]


def _rescale(module: AdaptedModule, scale: float, alpha: float, who: str) -> AdaptedModule:
    if module.scale == scale:
        return module
    b = scale_tensor(module.b, module.scale / scale) if scale else None
    if b is None:
        raise InvalidInput(
            f"{who} has one scale for all modules: {module.module} has {module.scale:.6g}, others"
            f" {scale:.6g}, and bringing that into its factors would round them",
            fix="train it with one alpha and one rank, or serve it in peft's layout",
        )
    return replace(module, b=b, alpha=alpha)
