"""Experts whose factors other programs keep in one stack, here a module each."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from deltareg.client.convert.lora import ONE_DTYPE, Adapted, path_of
from deltareg.client.convert.matrices import Made, elements
from deltareg.delta.kind import BaseView
from deltareg.delta.maths.formula import Tensor
from deltareg.errors import InvalidInput

EXPERT = re.compile(r"(.+)\.experts\.(\d+)\.(\w+)\.weight")


def siblings(target: str, base: BaseView) -> list[str]:
    """Give the weights of all experts that are the same projection as one, expert by expert."""
    match = EXPERT.fullmatch(target)
    found: list[str] = []
    while match is not None:
        name = f"{match[1]}.experts.{len(found)}.{match[3]}.weight"
        if name not in base.tensors:
            break
        found.append(name)
    return found


def by_stack(
    modules: Sequence[Adapted], base: BaseView, stack: Callable[[str], str | None]
) -> tuple[list[Adapted], dict[str, list[Adapted]]]:
    """Gather the modules of single experts; those that have no factors get some of zeros.

    Args:
        modules: All of one rank and scale.
        base: The base.
        stack: Gives what the other program calls the stack that one expert's weight is in.

    Returns:
        The modules that are no experts, and stack -> its modules, expert by expert.

    Raises:
        InvalidInput: The factors of a stack are of several dtypes.
    """
    groups: dict[str, list[Adapted]] = defaultdict(list)
    others: list[Adapted] = []
    for module in modules:
        name = stack(module.target)
        (others if name is None else groups[name]).append(module)
    return others, {name: _filled(name, found, base) for name, found in groups.items()}


def stacked(modules: Sequence[Adapted]) -> tuple[Made, Made]:
    """Give the factors of all experts, (experts, r, n_in) and (experts, n_out, r)."""
    first = modules[0]
    a = np.stack([elements(module.a) for module in modules])
    b = np.stack([elements(module.b) for module in modules])
    return Made(first.a.name, first.a.dtype, a), Made(first.b.name, first.b.dtype, b)


def matrix(stack: Tensor, expert: int) -> Made:
    """Take one expert's factor out of those of all."""
    return Made(stack.name, stack.dtype, elements(stack)[expert])


def _filled(name: str, found: Sequence[Adapted], base: BaseView) -> list[Adapted]:
    own: Mapping[str, Adapted] = {module.target: module for module in found}
    dtypes = {tensor.dtype for module in found for tensor in (module.a, module.b)}
    if len(dtypes) > 1:
        told = (
            f"the factors of {name} are {' and '.join(sorted(dtypes))}, and a stack has one dtype"
        )
        raise InvalidInput(told, fix=ONE_DTYPE)
    zeros = replace(found[0], a=_zeros(found[0].a), b=_zeros(found[0].b))
    return [
        own.get(target) or replace(zeros, module=path_of(target, base), target=target)
        for target in siblings(found[0].target, base)
    ]


def _zeros(tensor: Tensor) -> Made:
    return Made(tensor.name, tensor.dtype, np.zeros_like(elements(tensor)))
