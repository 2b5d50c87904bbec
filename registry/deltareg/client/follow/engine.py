"""The seam to whatever serves: an engine is told which folder to serve for a channel."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from deltareg.client.follow.release import FollowedChannel, Release
from deltareg.refs import LineRef
from deltareg.wire import EngineName


@dataclass(frozen=True, slots=True)
class ServingClaims:
    """What an engine has to go on serving.

    Attributes:
        releases: What a channel serves, is to serve, or has served when it was last heard.
        lines: Lines of which everything stays, as nobody knows which version of them is in use.
    """

    releases: Collection[Release]
    lines: Collection[LineRef] = ()


@dataclass(frozen=True, slots=True)
class SettleOutcome:
    """What came of ending what no channel wants any more.

    Attributes:
        is_over: Nothing is left that could be ended later.
        refused: Why the engine keeps what it was told to end, by the name of its folder.
    """

    is_over: bool = True
    refused: Mapping[str, str] = field(default_factory=dict[str, str])


class ServingEngine(Protocol):
    """A serving host's way to serve versions; one file an engine.

    Every method may be called again after a kill at any moment, and finds out by looking at what is
    there how far it had come. Errors are ours: `Unavailable` where trying again may help.
    """

    starts: int
    """Counts how often it was seen to have started anew, so that what was known of it is old."""

    @property
    def name(self) -> EngineName:
        """What it is called on the command line."""
        ...

    def look(self) -> None:
        """Find out what it serves now; all else goes by that until the next look.

        Raises:
            Unavailable: It does not answer.
        """
        ...

    def base(self) -> str:
        """What it says that its base is, a path or a name; empty where it does not say."""
        ...

    def versions(self, followed: FollowedChannel) -> Path:
        """The folder that holds the versions it serves for a channel."""
        ...

    def serves(self, followed: FollowedChannel, release: Release) -> bool:
        """Whether it serves this version for this channel now."""
        ...

    def serve(self, followed: FollowedChannel, release: Release, folder: Path) -> str:
        """Serve a version from its folder for a channel, and give how clients name it.

        What it served before is not taken away from those who are using it.
        """
        ...

    def drop(self, versions: Path, folder: str) -> None:
        """End serving what is in a folder at once, whoever is using it; nothing where it is not.

        Raises:
            DeltaregError: The engine does not let go of it.
        """
        ...

    def renew(self, versions: Path, folder: str) -> None:
        """Take it that a folder held other bytes for a while, which may have been read.

        What is in it is served anew when it is next to be served, so that no answer comes from
        what was remembered of those bytes.
        """
        ...

    def settle(self, claims: ServingClaims) -> SettleOutcome:
        """End what no channel claims any more and nobody can be using."""
        ...

    def holds(self, versions: Path) -> Collection[str]:
        """The names of folders that are served, or may still be read: they are not pruned."""
        ...

    def close(self) -> None:
        """Close what it has open; what is served stays served."""
        ...
