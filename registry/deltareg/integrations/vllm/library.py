"""The parts of vLLM in use, by the modules that keep their place from release to release."""

from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast


class LoraRequestFactory(Protocol):
    """What vLLM is told to load; its server assigns another number."""

    def __call__(self, *, lora_name: str, lora_int_id: int, lora_path: str) -> object:
        """Create a request; the number is at least 1, the path not empty."""
        ...


class ResolverRegistry(Protocol):
    """The resolvers of this process."""

    def get_supported_resolvers(self) -> Collection[str]:
        """Return the resolvers' names."""
        ...

    def register_resolver(self, resolver_name: str, resolver: object) -> None:
        """Register a resolver; the server reads them once, when it starts."""
        ...


@dataclass(frozen=True, slots=True)
class VllmLibrary:
    """The imported parts of vLLM.

    Attributes:
        resolver: The base class of resolvers.
        request: Creates the result of a resolver.
        registry: The registry of resolvers.
    """

    resolver: type[object]
    request: LoraRequestFactory
    registry: ResolverRegistry


def load_library() -> VllmLibrary:
    """Import vLLM.

    Raises:
        ImportError: vLLM is not installed, or too old.
        AttributeError: It does not have these parts.
    """
    resolver = import_module("vllm.lora.resolver")
    request = import_module("vllm.lora.request")
    return VllmLibrary(
        cast(type[object], resolver.LoRAResolver),
        cast(LoraRequestFactory, request.LoRARequest),
        cast(ResolverRegistry, resolver.LoRAResolverRegistry),
    )
