"""Experts whose factors other programs keep in one stack, and this one as a module each."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from deltareg.client.convert.lora import ONE_DTYPE, AdaptedModule, path_of
from deltareg.client.convert.matrices import InMemoryTensor, elements
from deltareg.delta.kind import BaseView
from deltareg.delta.maths.formula import Tensor
from deltareg.errors import InvalidInput

EXPERT = re.compile(r"(.+)\.experts\.(\d+)\.(\w+)\.weight")


def siblings(target: str, base: BaseView) -> list[str]:
    """Return the weights of the same projection in all experts, expert by expert."""
    match = EXPERT.fullmatch(target)
    targets: list[str] = []
    while match is not None:
        name = f"{match[1]}.experts.{len(targets)}.{match[3]}.weight"
        if name not in base.tensors:
            break
        targets.append(name)
    return targets


def by_stack(
    modules: Sequence[AdaptedModule], base: BaseView, stack: Callable[[str], str | None]
) -> tuple[list[AdaptedModule], dict[str, list[AdaptedModule]]]:
    """Group the modules of single experts by stack; experts without factors get zeros.

    Args:
        modules: The modules, all of one rank and scale.
        base: The base.
        stack: Returns the other program's name of the stack that an expert's weight is in.

    Returns:
        The modules that belong to no expert, and stack -> its modules, expert by expert.

    Raises:
        InvalidInput: The factors of a stack are of several dtypes.
    """
    groups: dict[str, list[AdaptedModule]] = defaultdict(list)
    others: list[AdaptedModule] = []
    for module in modules:
        name = stack(module.target)
        (others if name is None else groups[name]).append(module)
    return others, {name: _fill_missing(name, found, base) for name, found in groups.items()}


def stack_factors(modules: Sequence[AdaptedModule]) -> tuple[InMemoryTensor, InMemoryTensor]:
    """Return the factors of all experts, (experts, r, n_in) and (experts, n_out, r)."""
    first = modules[0]
    a = np.stack([elements(module.a) for module in modules])
    b = np.stack([elements(module.b) for module in modules])
    return InMemoryTensor(first.a.name, first.a.dtype, a), InMemoryTensor(first.b.name, first.b.dtype, b)


def matrix(stack: Tensor, expert: int) -> InMemoryTensor:
    """Return one expert's factor from a stack of all."""
    return InMemoryTensor(stack.name, stack.dtype, elements(stack)[expert])


def _fill_missing(name: str, found: Sequence[AdaptedModule], base: BaseView) -> list[AdaptedModule]:
    own: Mapping[str, AdaptedModule] = {module.target: module for module in found}
    dtypes = {tensor.dtype for module in found for tensor in (module.a, module.b)}
    if len(dtypes) > 1:
        message = f"the factors of {name} are {' and '.join(sorted(dtypes))}, and a stack has one dtype"
        raise InvalidInput(message, fix=ONE_DTYPE)
    zeros = replace(found[0], a=_zeros(found[0].a), b=_zeros(found[0].b))
    return [
        own.get(target) or replace(zeros, module=path_of(target, base), target=target)
        for target in siblings(found[0].target, base)
    ]


def _zeros(tensor: Tensor) -> InMemoryTensor:
    return InMemoryTensor(tensor.name, tensor.dtype, np.zeros_like(elements(tensor)))
