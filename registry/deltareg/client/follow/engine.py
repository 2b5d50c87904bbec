"""The interface to serving engines: an engine is told which folder to serve for a channel."""

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
        releases: The versions that channels serve, are to serve, or served when they were last
            heard.
        lines: Lines of which everything stays, because it is unknown which version is in use.
    """

    releases: Collection[Release]
    lines: Collection[LineRef] = ()


@dataclass(frozen=True, slots=True)
class SettleOutcome:
    """The outcome of ending what no channel wants any more.

    Attributes:
        is_over: Whether nothing is left to end later.
        refused: Why the engine keeps a version that it was told to end, by folder name.
    """

    is_over: bool = True
    refused: Mapping[str, str] = field(default_factory=dict[str, str])


class ServingEngine(Protocol):
    """How a serving host serves versions; one file per engine.

    Every method may be called again after a kill at any moment, and finds out from what is there
    how far it got. It raises errors of `deltareg.errors`: `Unavailable` where trying again may
    help.
    """

    starts: int
    """Counts how often it was seen to have started anew, so that what was known of it is old."""

    @property
    def name(self) -> EngineName:
        """The engine's name on the command line."""
        ...

    def look(self) -> None:
        """Find out what the engine serves now; the other methods go by that until the next look.

        Raises:
            Unavailable: The engine does not answer.
        """
        ...

    def base(self) -> str:
        """The base that the engine reports, a path or a name; empty if it reports none."""
        ...

    def versions(self, followed: FollowedChannel) -> Path:
        """The folder of the versions that it serves for a channel."""
        ...

    def serves(self, followed: FollowedChannel, release: Release) -> bool:
        """Whether it serves this version for this channel now."""
        ...

    def serve(self, followed: FollowedChannel, release: Release, folder: Path) -> str:
        """Serve a version from its folder for a channel, and return its name for clients.

        Clients that use the previous version are not cut off.
        """
        ...

    def drop(self, versions: Path, folder: str) -> None:
        """Stop serving a folder's version at once, whoever uses it; do nothing if it is not served.

        Raises:
            DeltaregError: The engine does not stop serving it.
        """
        ...

    def renew(self, versions: Path, folder: str) -> None:
        """Record that a folder held other bytes for a while, which the engine may have read.

        The version is loaded afresh when it is next served, so that no answer comes from a cache of
        those bytes.
        """
        ...

    def settle(self, claims: ServingClaims) -> SettleOutcome:
        """Stop serving what no channel claims any more and nobody can be using."""
        ...

    def holds(self, versions: Path) -> Collection[str]:
        """The names of folders that are served or may still be read; they are not pruned."""
        ...

    def close(self) -> None:
        """Close the engine's connections; served versions stay served."""
        ...
