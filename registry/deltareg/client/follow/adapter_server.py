"""The interface to servers that load and unload LoRA adapters at runtime: one file per server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from deltareg.wire import EngineName

LOOK_TIMEOUT_S, LOAD_TIMEOUT_S = 10.0, 300.0


@dataclass(frozen=True, slots=True)
class AdapterListing:
    """What a server has loaded.

    Attributes:
        adapters: The path of each adapter, by name.
        bases: The names that its base is served under.
        base: The path or id of the base it was started with; empty if it does not say.
    """

    adapters: Mapping[str, str] = field(default_factory=dict[str, str])
    bases: frozenset[str] = frozenset()
    base: str = ""


class AdapterServer(Protocol):
    """A program that serves one base, and any number of adapters by name beside it."""

    name: ClassVar[EngineName]
    """What its engine is called on the command line."""

    title: ClassVar[str]
    """What people call it."""

    is_lost: bool
    """Whether it has not answered since it was last listed; true before the first time."""

    def list_adapters(self) -> AdapterListing:
        """List what the server has loaded.

        Raises:
            Unavailable: The server does not answer, or says that it is not healthy.
            InvalidInput: Something else answers at the address.
        """
        ...

    def load(self, name: str, folder: Path) -> None:
        """Load the adapter in a folder under a name that is not taken.

        Raises:
            Conflict: The name is loaded already, possibly by an earlier load whose answer was lost.
            InvalidInput: The server would refuse it again.
            Unavailable: Trying again may help.
        """
        ...

    def unload(self, name: str) -> None:
        """Unload an adapter; one that is not loaded counts as unloaded.

        Raises:
            DeltaregError: The server keeps it.
        """
        ...

    def unload_by_hand(self, name: str) -> str:
        """Describe how a person unloads an adapter."""
        ...

    def close(self) -> None:
        """Close what it has open."""
        ...
