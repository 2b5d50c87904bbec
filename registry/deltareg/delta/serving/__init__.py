"""Which engines can serve a delta as it is, beside the base: one file an engine.

An engine refuses what it cannot serve when it is asked to load it, on a serving host, after a
promotion. What it goes by is in the delta's own config and files, so it is said before.
"""

from collections.abc import Sequence

from deltareg.delta.serving.llamacpp import LlamaCpp
from deltareg.delta.serving.servable import EngineLimits, Servability, ServableDelta
from deltareg.delta.serving.sglang import Sglang
from deltareg.delta.serving.vllm import Vllm

__all__ = ["Servability", "ServableDelta", "engine_limits", "engine_names", "servability"]

_ENGINES: Sequence[EngineLimits] = (Vllm(), Sglang(), LlamaCpp())


def engine_names() -> tuple[str, ...]:
    """Name the engines that are known."""
    return tuple(engine.name for engine in _ENGINES)


def engine_limits(name: str) -> EngineLimits:
    """Give what an engine goes by; the name is one of `engine_names`."""
    return next(engine for engine in _ENGINES if engine.name == name)


def servability(delta: ServableDelta) -> list[Servability]:
    """Say of every engine whether it can serve a delta."""
    return [engine.judge(delta) for engine in _ENGINES]
