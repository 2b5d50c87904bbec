"""The seam to servers that load and unload LoRA adapters while they run: one file a server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from deltareg.wire import EngineName

LOOK_TIMEOUT_S, LOAD_TIMEOUT_S = 10.0, 300.0


@dataclass(frozen=True, slots=True)
class AdapterListing:
    """What a server has.

    Attributes:
        adapters: The path of each adapter, by its name.
        bases: The names that its base is served under.
        base: The path or id that the base was started with; empty where it does not say.
    """

    adapters: Mapping[str, str] = field(default_factory=dict[str, str])
    bases: frozenset[str] = frozenset()
    base: str = ""


class AdapterServer(Protocol):
    """A program that serves one base and any number of adapters beside it, each by a name."""

    name: ClassVar[EngineName]
    """What its engine is called on the command line."""

    title: ClassVar[str]
    """What people call it."""

    is_lost: bool
    """Whether it has not answered since it was last listed; true before the first time."""

    def list_adapters(self) -> AdapterListing:
        """List what it has.

        Raises:
            Unavailable: It does not answer, or says that it is not healthy.
            InvalidInput: What answers is something else.
        """
        ...

    def load(self, name: str, folder: Path) -> None:
        """Load what is in a folder under a name that is not taken.

        Raises:
            Conflict: It has the name already; a load whose answer was lost is refused so as well.
            InvalidInput: It would be refused again.
            Unavailable: Trying again may help.
        """
        ...

    def unload(self, name: str) -> None:
        """Unload; what it does not have is unloaded.

        Raises:
            DeltaregError: It keeps it.
        """
        ...

    def unload_by_hand(self, name: str) -> str:
        """Say how somebody else unloads an adapter."""
        ...

    def close(self) -> None:
        """Close what it has open."""
        ...
