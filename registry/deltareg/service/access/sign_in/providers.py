"""The providers of a registry, by name."""

from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.errors import NotFound
from deltareg.oidc.provider_file import read_providers
from deltareg.service.registry import Registry
from deltareg.wire.sign_in import SignInProvider

if TYPE_CHECKING:
    from deltareg.oidc.provider import Provider


def open_providers(path: Path | None) -> "tuple[Provider, ...]":
    """Read the file of providers; nothing is asked of them yet.

    Raises:
        Misconfigured: It cannot be read, or something in it is wrong.
    """
    if path is None:
        return ()
    from deltareg.oidc.provider import Provider  # what it builds on, no other registry waits for

    return tuple(Provider(settings) for settings in read_providers(path))


def find_provider(registry: Registry, name: str) -> "Provider":
    """Find a provider.

    Raises:
        NotFound: Nobody signs in with one of this name.
    """
    for provider in registry.providers:
        if provider.name == name:
            return provider
    raise NotFound("nobody signs in here with that provider", fix="choose one of the log-in page")


def list_providers(registry: Registry) -> list[SignInProvider]:
    """List the providers that people sign in with, in the order of the file."""
    return [SignInProvider(name=each.name, label=each.settings.label) for each in registry.providers]
