"""Experts in mlx-lm: one `switch_mlp` in which each projection is a stack of matrices.

`….mlp.switch_mlp.gate_proj.lora_a` is (experts, r, n_in), `lora_b` (experts, n_out, r), transposed
compared with a plain layer.
"""

from deltareg.client.convert.expert_stacks import EXPERT, siblings
from deltareg.delta.kind import BaseView

_SWITCH = ".switch_mlp."
# Projections there, and what Mixtral's files call them.
_SPELLINGS = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}
_NAMES = {**{name: name for name in _SPELLINGS}, **{w: name for name, w in _SPELLINGS.items()}}


def is_switch(path: str) -> bool:
    """Whether a path is that of a projection of all experts."""
    return _SWITCH in path


def targets_of(path: str, base: BaseView) -> list[str]:
    """Return the base's weights of a projection of all experts, expert by expert."""
    block, _, name = path.partition(_SWITCH)
    for spelling in (name, _SPELLINGS.get(name, name)):
        first = base.names.tensor(f"{block}.experts.0.{spelling}.weight")
        if first is not None:
            return siblings(first, base)
    return []


def switch_path(target: str) -> str | None:
    """Return the path of the projection that an expert's weight is part of; None if of none."""
    match = EXPERT.fullmatch(target)
    name = _NAMES.get(match[3]) if match else None
    return None if match is None or name is None else f"{match[1]}{_SWITCH}{name}"
