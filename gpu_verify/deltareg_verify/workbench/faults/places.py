"""Faults of place: values that are right, in the wrong spot."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from deltareg_verify.workbench.faults.delta_files import MutableDelta, MutableTensor
from deltareg_verify.workbench.faults.fault import fault

_TAKEN_FROM = ("lora_B", "hira_B", "gralora_B", "lambda_b", "lokr_w2", "lokr_w2_b", "hada_w2_a")


def layers_swapped(opened: MutableDelta, random: np.random.Generator) -> None:
    """Two layers hold each other's values, as after a merge of shards in the wrong order."""
    if len(opened.layers) < 2:
        return
    one, other = random.choice(opened.layers, 2, replace=False)
    _move(opened, {int(one): int(other), int(other): int(one)})


def layers_shifted(opened: MutableDelta, random: np.random.Generator) -> None:
    """Every layer holds the values of the one before it: a converter counted from another start."""
    del random
    layers = opened.layers
    _move(opened, dict(zip(layers, [*layers[1:], *layers[:1]], strict=True)))


def modules_exchanged(opened: MutableDelta, random: np.random.Generator) -> None:
    """Two modules of every layer hold each other's values: names were mapped wrongly."""
    fits = [
        (one, other)
        for one in _modules(opened)
        for other in _modules(opened)
        if one < other and _shapes(opened, one) == _shapes(opened, other)
    ]
    if not fits:
        return
    one, other = fits[int(random.integers(len(fits)))]
    swap = {one: other, other: one}
    by_place = {_place(part): part for part in opened.parts.values()}
    for name, part in opened.parts.items():
        if part.module in swap:
            source = by_place[part.role, part.layer, swap[part.module]]
            opened.parts[name] = replace(part, values=source.values)


def factors_of_two_runs(opened: MutableDelta, random: np.random.Generator) -> None:
    """One factor is of this run and the other of another run, or of another layer of it."""
    del random
    before = dict(opened.parts)
    for name, part in before.items():
        if part.role in _TAKEN_FROM:
            fits = (
                one.values
                for one in (opened.other.get(name), _next_layer(before, part))
                if one is not None and one.values.shape == part.values.shape
            )
            opened.parts[name] = replace(part, values=next(fits, part.values).copy())


def _next_layer(parts: Mapping[str, MutableTensor], part: MutableTensor) -> MutableTensor | None:
    """Return the same part of the next layer; the first follows the last."""
    layers = sorted({one.layer for one in parts.values() if one.layer is not None})
    if part.layer is None or len(layers) < 2:
        return None
    next_layer = layers[(layers.index(part.layer) + 1) % len(layers)]
    place = (part.role, next_layer, part.module)
    return next((one for one in parts.values() if _place(one) == place), None)


def _move(opened: MutableDelta, source_of: Mapping[int, int]) -> None:
    """Give every layer the change of another one."""
    by_place = {_place(part): part for part in opened.parts.values()}
    by_target: dict[str, MutableTensor] = {}
    for name, part in opened.parts.items():
        if part.layer is not None and part.layer in source_of:
            source = by_place.get((part.role, source_of[part.layer], part.module))
            if source is not None and source.values.shape == part.values.shape:
                by_target[name] = part.with_change(source.change)
    opened.parts.update(by_target)


def _place(part: MutableTensor) -> tuple[str, int | None, str]:
    return part.role, part.layer, part.module


def _modules(opened: MutableDelta) -> list[str]:
    return sorted({part.module for part in opened.parts.values() if part.layer is not None})


def _shapes(opened: MutableDelta, module: str) -> dict[tuple[str, int | None], tuple[int, ...]]:
    return {(part.role, part.layer): part.values.shape for part in opened.parts.values() if part.module == module}


FAULTS = tuple(map(fault, (layers_swapped, layers_shifted, modules_exchanged, factors_of_two_runs)))
