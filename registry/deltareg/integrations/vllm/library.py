"""What is used of vLLM, by the modules that stay where they are from release to release."""

from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast


class LoraRequestFactory(Protocol):
    """What vLLM is told to load; its server gives it another number."""

    def __call__(self, *, lora_name: str, lora_int_id: int, lora_path: str) -> object:
        """Make one; the number is 1 at least, the path not empty."""
        ...


class ResolverRegistry(Protocol):
    """The resolvers of this process."""

    def get_supported_resolvers(self) -> Collection[str]:
        """Give their names."""
        ...

    def register_resolver(self, resolver_name: str, resolver: object) -> None:
        """Take one; its server looks at them once, when it starts."""
        ...


@dataclass(frozen=True, slots=True)
class VllmLibrary:
    """What was imported.

    Attributes:
        resolver: The class that resolvers are of.
        request: Makes what a resolver gives.
        registry: Where they are registered.
    """

    resolver: type[object]
    request: LoraRequestFactory
    registry: ResolverRegistry


def load_library() -> VllmLibrary:
    """Import it.

    Raises:
        ImportError: There is none, or an old one.
        AttributeError: It has no such things.
    """
    resolver = import_module("vllm.lora.resolver")
    request = import_module("vllm.lora.request")
    return VllmLibrary(
        cast(type[object], resolver.LoRAResolver),
        cast(LoraRequestFactory, request.LoRARequest),
        cast(ResolverRegistry, resolver.LoRAResolverRegistry),
    )
