"""Faults of omission: a part of what was trained is not there."""

from collections.abc import Callable

import numpy as np

from deltareg_verify.workbench.faults.delta_files import MutableDelta, MutableTensor
from deltareg_verify.workbench.faults.fault import fault


def never_trained(opened: MutableDelta, random: np.random.Generator) -> None:
    """Nothing was trained: the delta changes nothing at all."""
    del random
    _empty(opened, lambda _: True)


def upper_layers_lost(opened: MutableDelta, random: np.random.Generator) -> None:
    """The upper half of the layers is as it was before the training: the save broke off."""
    del random
    upper = opened.layers[len(opened.layers) // 2 :] if len(opened.layers) > 1 else []
    _empty(opened, lambda part: part.layer in upper)


def module_type_zero(opened: MutableDelta, random: np.random.Generator) -> None:
    """All modules of one type are untrained: a pattern of names matched too little."""
    modules = sorted({part.module for _, part in opened.proportional() if part.layer is not None})
    if len(modules) > 1:
        hit = modules[int(random.integers(len(modules)))]
        _empty(opened, lambda part: part.module == hit)


def rank_truncated(opened: MutableDelta, random: np.random.Generator) -> None:
    """Of every product one direction is left: a conversion to a smaller rank went too far."""
    del random
    for name, part in list(opened.proportional()):
        if part.role in {"lora_B", "lora_embedding_B"} and part.values.shape[-1] > 1:
            truncated = np.zeros_like(part.values)
            at = int(np.argmax(np.linalg.norm(part.values, axis=0)))
            truncated[:, at] = part.values[:, at]
            opened.parts[name] = part.with_change(truncated)


def _empty(opened: MutableDelta, is_hit: Callable[[MutableTensor], bool]) -> None:
    for name, part in list(opened.proportional()):
        if is_hit(part):
            opened.parts[name] = part.with_change(np.zeros_like(part.values))


FAULTS = tuple(map(fault, (never_trained, upper_layers_lost, module_type_zero, rank_truncated)))
