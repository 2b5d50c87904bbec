"""Selects some of a delta's effects: those on the modules that a user names."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from deltareg.delta.kind import ActivationHook, Effect, PrefixInsert, WeightUpdate
from deltareg.delta.maths.updates import IdentityUpdate, RowExtension
from deltareg.delta.names import NameMap
from deltareg.errors import InvalidInput


def select_effects(effects: Sequence[Effect], globs: Sequence[str], names: NameMap) -> list[Effect]:
    """Return the effects on some modules.

    Args:
        effects: The delta's effects.
        globs: Patterns for paths of the running network, `model.layers.0` or `*.q_proj`, matched
            against a module and every module that contains it; no pattern keeps every effect.
        names: The base's name map.

    Raises:
        InvalidInput: A pattern matches no effect.
    """
    if not globs:
        return list(effects)
    paths = [_path(effect, names) for effect in effects]
    idle = next((g for g in globs if not any(_is_within(path, g) for path in paths)), None)
    if idle is not None:
        examples = ", ".join(sorted({path or "the tokens" for path in paths})[:3])
        raise InvalidInput(
            f"nothing of the delta is on a module {idle!r}",
            fix=f"it acts on {examples}, …; a pattern such as '*.layers.0' takes whole layers",
        )
    return [e for e, p in zip(effects, paths, strict=True) if any(_is_within(p, g) for g in globs)]


def _path(effect: Effect, names: NameMap) -> str:
    match effect:
        case ActivationHook() | PrefixInsert():
            return effect.module
        case WeightUpdate(update=IdentityUpdate() | RowExtension()):
            # It only keeps a tied twin what it was; it goes with the weight that changes.
            return _module(effect.source, names)
        case _:
            return _module(effect.target, names)


def _module(target: str, names: NameMap) -> str:
    return (names.memory(target) or target).rpartition(".")[0]


def _is_within(path: str, glob: str) -> bool:
    while path:
        if fnmatchcase(path, glob):
            return True
        path = path.rpartition(".")[0]
    return glob == "*"
