"""Experts as mlx-lm has them: one `switch_mlp` in which each projection is a stack of matrices.

`….mlp.switch_mlp.gate_proj.lora_a` is (experts, r, n_in), `lora_b` (experts, n_out, r), the other
way round than those of a plain layer. Here every expert is a module of its own.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from deltareg.client.push.convert.lora import Adapted, path_of
from deltareg.client.push.convert.matrices import Made, elements
from deltareg.delta.kind import BaseView
from deltareg.delta.maths.formula import Tensor
from deltareg.errors import InvalidInput

_SWITCH = ".switch_mlp."
_EXPERT = re.compile(r"(.+)\.experts\.(\d+)\.(\w+)\.weight")
# Projections there, and what Mixtral's files call them.
_SPELLINGS = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}
_NAMES = {**{name: name for name in _SPELLINGS}, **{w: name for name, w in _SPELLINGS.items()}}


def is_switch(path: str) -> bool:
    """Whether a path is that of a projection of all experts."""
    return _SWITCH in path


def targets_of(path: str, base: BaseView) -> list[str]:
    """Give the base's weights of a projection of all experts, expert by expert."""
    block, _, name = path.partition(_SWITCH)
    spellings = [name, _SPELLINGS.get(name, name)]
    found: list[str] = []
    while True:
        prefix = f"{block}.experts.{len(found)}."
        names = (base.names.tensor(f"{prefix}{spelling}.weight") for spelling in spellings)
        target = next((name for name in names if name is not None), None)
        if target is None:
            return found
        found.append(target)


def matrix(stack: Tensor, expert: int) -> Made:
    """Take one expert's factor out of those of all."""
    return Made(stack.name, stack.dtype, elements(stack)[expert])


def switch_path(target: str) -> str | None:
    """Give the path of the projection that one expert's weight is a part of; None if of none."""
    match = _EXPERT.fullmatch(target)
    name = _NAMES.get(match[3]) if match else None
    return None if match is None or name is None else f"{match[1]}{_SWITCH}{name}"


def by_path(modules: Sequence[Adapted], base: BaseView) -> dict[str, list[Adapted]]:
    """Group modules by their paths in mlx-lm; experts that have no factors get some of zeros.

    Args:
        modules: All of one rank and scale.
        base: The base.

    Raises:
        InvalidInput: The factors of a projection are of several dtypes.
    """
    groups: dict[str, list[Adapted]] = defaultdict(list)
    for module in modules:
        groups[switch_path(module.target) or module.module].append(module)
    return {
        path: _filled(path, found, base) if is_switch(path) else found
        for path, found in groups.items()
    }


def stacked(modules: Sequence[Adapted]) -> tuple[Made, Made]:
    """Give the factors of all experts, as mlx-lm has them."""
    first = modules[0]
    a = np.stack([elements(module.a) for module in modules])
    b = np.stack([elements(module.b) for module in modules])
    return Made(first.a.name, first.a.dtype, a), Made(first.b.name, first.b.dtype, b)


def _filled(path: str, found: Sequence[Adapted], base: BaseView) -> list[Adapted]:
    own: Mapping[str, Adapted] = {module.target: module for module in found}
    dtypes = {tensor.dtype for module in found for tensor in (module.a, module.b)}
    if len(dtypes) > 1:
        raise InvalidInput(f"the factors of {path} are {' and '.join(sorted(dtypes))}")
    zeros = replace(found[0], a=_zeros(found[0].a), b=_zeros(found[0].b))
    return [
        own.get(target) or replace(zeros, module=path_of(target, base), target=target)
        for target in targets_of(path, base)
    ]


def _zeros(tensor: Tensor) -> Made:
    return Made(tensor.name, tensor.dtype, np.zeros_like(elements(tensor)))
