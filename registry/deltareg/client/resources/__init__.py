"""What a registry has: one kind of thing a file, with all that can be done with it.

The file has the name of the attribute of `Client` and holds a class of that name, which is loaded
when the attribute is first asked for: who pushes need not wait for webhooks.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from deltareg.client.context import Context
    from deltareg.client.resources.resource import Resource


def load_on_use(home: str = "") -> Any:  # noqa: ANN401  # the attribute's annotation says what it is
    """Give an attribute of the client its thing, whose file is loaded on first use.

    ::

        webhooks: "Webhooks" = load_on_use()
        behavior: "Behavior" = load_on_use("compare.behavior.Behavior")

    Args:
        home: The class within `deltareg.client`, where it is in no file of this folder.

    Of the class, it gives the thing's class, so that `help(Client.webhooks)` shows what it can.
    """
    return ResourceAttribute(home)


class ContextHolder(Protocol):
    """A client, which things are asked through."""

    @property
    def _context(self) -> "Context": ...


class ResourceAttribute:
    """The attribute of the client whose name is the name of a file in this folder, unless it has a home elsewhere."""

    def __init__(self, home: str) -> None:
        """Take its home."""
        self._home = home

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the name that it has in the client."""
        self._name = name

    def __get__(self, client: ContextHolder | None, owner: type | None = None) -> "Resource | type[Resource]":
        """Give the thing of a client, or its class where there is no client."""
        kind = _class_at(self._home) if self._home else resource_class(self._name)
        if client is None:
            return kind
        return kind(client._context)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # it is a part of the client


def resource_class(name: str) -> "type[Resource]":
    """Load the class of a thing: `webhooks.py` holds `Webhooks`."""
    found: type[Resource] = getattr(import_module(f"{__name__}.{name}"), name.capitalize())
    return found


def _class_at(home: str) -> "type[Resource]":
    module, _, name = home.rpartition(".")
    found: type[Resource] = getattr(import_module(f"deltareg.client.{module}"), name)
    return found
