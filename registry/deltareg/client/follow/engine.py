"""The seam to whatever serves: an engine is told which folder to serve for a channel."""

from collections.abc import Collection
from pathlib import Path
from typing import ClassVar, Protocol

from deltareg.client.follow.release import Followed, Release
from deltareg.wire import EngineName


class Engine(Protocol):
    """A serving host's way to serve versions; one file an engine.

    Every method may be called again after a kill at any moment, and finds out by looking at what is
    there how far it had come. Errors are ours: `Unavailable` where trying again may help.
    """

    name: ClassVar[EngineName]
    """What it is called on the command line."""

    def versions(self, followed: Followed) -> Path:
        """The folder that holds the versions it serves for a channel."""
        ...

    def serves(self, followed: Followed, release: Release) -> bool:
        """Whether it serves this version for this channel now, by looking."""
        ...

    def serve(self, followed: Followed, release: Release, folder: Path) -> str:
        """Serve a version from its folder for a channel, and give how clients name it.

        What it served before is not taken away from those who are using it.
        """
        ...

    def settle(self, wanted: Collection[Release]) -> bool:
        """End what no channel wants any more and nobody can be using; True when nothing is left."""
        ...

    def holds(self, versions: Path) -> Collection[str]:
        """The names of folders that are served, or may still be read: they are not pruned."""
        ...

    def close(self) -> None:
        """Close what it has open; what is served stays served."""
        ...
