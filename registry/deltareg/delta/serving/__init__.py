"""Which engines can serve a delta as it is, beside the base: one file per engine.

An engine refuses a delta only when it loads it, on a serving host, after a promotion. Its reasons
are in the delta's config and files, so they can be reported earlier.
"""

from collections.abc import Sequence

from deltareg.delta.serving.llamacpp import LlamaCpp
from deltareg.delta.serving.servable import EngineLimits, Servability, ServableDelta
from deltareg.delta.serving.sglang import Sglang
from deltareg.delta.serving.vllm import Vllm

__all__ = ["Servability", "ServableDelta", "engine_limits", "engine_names", "servability"]

_ENGINES: Sequence[EngineLimits] = (Vllm(), Sglang(), LlamaCpp())


def engine_names() -> tuple[str, ...]:
    """Return the names of the known engines."""
    return tuple(engine.name for engine in _ENGINES)


def engine_limits(name: str) -> EngineLimits:
    """Return the limits of an engine; the name is one of `engine_names`."""
    return next(engine for engine in _ENGINES if engine.name == name)


def servability(delta: ServableDelta) -> list[Servability]:
    """Return, for every engine, whether it can serve a delta."""
    return [engine.judge(delta) for engine in _ENGINES]
