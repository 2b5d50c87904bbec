"""Where a delta acts: the modules that its effects change, and in which layers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deltareg.delta.kind import ActivationHook, Addition, BaseCopy, Effect, PrefixInsert, WeightUpdate


@dataclass(frozen=True, slots=True)
class InjectionPoint:
    """A module that is changed in some layers, or one outside of any layer.

    Attributes:
        within: The path of the list of layers, `model.layers`; empty outside of any.
        module: The path in its layer, or the whole path outside of any.
        layers: The layers' numbers, rising.
    """

    within: str
    module: str
    layers: tuple[int, ...]


def injection_points(effects: Iterable[Effect]) -> list[InjectionPoint]:
    """Collect the modules that effects change, by list of layers and path."""
    points: dict[tuple[str, str], set[int]] = {}
    for effect in effects:
        path = _module_of(effect)
        if not path:
            continue
        within, layer, module = split_path(path)
        layers = points.setdefault((within, module), set())
        if layer is not None:
            layers.add(layer)
    return [
        InjectionPoint(within, module, tuple(sorted(layers))) for (within, module), layers in sorted(points.items())
    ]


def describe_points(points: Sequence[InjectionPoint]) -> list[str]:
    """Describe injection points for people: `layers 0-1: q_proj, v_proj`."""
    is_one = len({point.within for point in points if point.within}) == 1
    groups: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for point in points:
        within = point.within.rpartition(".")[2] if is_one else point.within
        groups.setdefault((within, point.layers), []).append(point.module)
    return [_group(within, layers, modules) for (within, layers), modules in groups.items()]


def split_path(path: str) -> tuple[str, int | None, str]:
    """Split a path into its list of layers, the layer's number (None outside of any) and the rest."""
    parts = path.split(".")
    at = next((n for n, part in enumerate(parts) if part.isdecimal()), None)
    if at is None:
        return "", None, path
    # Numbers further down count experts, heads or blocks: they are one module here.
    inner = ["*" if part.isdecimal() else part for part in parts[at + 1 :]]
    return ".".join(parts[:at]), int(parts[at]), ".".join(inner) or "layer"


def _group(within: str, layers: tuple[int, ...], modules: list[str]) -> str:
    short = [module.rpartition(".")[2] for module in modules]
    names = ", ".join(short if len(set(short)) == len(short) else modules)
    return f"{within} {_ranges(layers)}: {names}" if layers else names


def _ranges(numbers: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _module_of(effect: Effect) -> str:
    match effect:
        case WeightUpdate() | Addition():
            return effect.target.rpartition(".")[0] or effect.target
        case ActivationHook():
            return effect.module or "whole network"
        case PrefixInsert():
            return effect.module or effect.site
        case BaseCopy():
            return ""
