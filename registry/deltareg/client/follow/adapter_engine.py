"""Engine for servers that load adapters at runtime: names used once, drained, then unloaded.

No server promises what happens when another adapter is loaded under a loaded name; vLLM's prefix
cache returns answers of the old one. So every version has a name of its own, which is loaded once.
The old version is unloaded a while after the new one is loaded. Its folder stays that long too,
because a server may read it again.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from deltareg.client.follow.adapter_server import AdapterListing, AdapterServer
from deltareg.client.follow.engine import ServingClaims, SettleOutcome
from deltareg.client.follow.release import FollowedChannel, Release, belongs_to
from deltareg.errors import Conflict, DeltaregError
from deltareg.wire import EngineName

log = logging.getLogger(__name__)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 60.0
_MOST_TRIES = 8


@dataclass(slots=True)
class _Kept:
    """An adapter that the server refused to unload."""

    why: str
    due: float
    pause_s: float


@dataclass(slots=True)
class _State:
    """What the server has loaded: as of the last look, with the changes made since."""

    adapters: dict[str, str] = field(default_factory=dict[str, str])
    bases: frozenset[str] = frozenset()
    base: str = ""

    @classmethod
    def of(cls, listed: AdapterListing) -> "_State":
        return cls(dict(listed.adapters), listed.bases, listed.base)


class AdapterEngine:
    """Manages the adapters of one server."""

    def __init__(
        self, server: AdapterServer, versions: Path, *, drain_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare; no request is sent yet.

        Args:
            server: The server; it is closed with the engine.
            versions: The folder of versions, which the server must see under the same path.
            drain_s: How long an old version stays loaded once a newer one is served.
            clock: A monotonic clock, in seconds.
        """
        self.name: EngineName = server.name
        self.starts = 0
        self._server, self._versions = server, versions.absolute()
        self._drain_s, self._clock = drain_s, clock
        self._unwanted: dict[str, float] = {}
        self._kept: dict[str, _Kept] = {}
        self._spent: set[str] = set()
        self._state = _State()

    def look(self) -> None:
        """List the server's adapters; if it was away or lost one of ours, it has restarted."""
        was_lost, before = self._server.is_lost, self._state
        self._state = _State.of(self._server.list_adapters())
        ours = {name for name, root in before.adapters.items() if self._is_ours(name, root)}
        is_less = not ours <= self._state.adapters.keys()
        if was_lost or is_less or before.base != self._state.base:
            self.starts += 1
            self._kept.clear()
            if was_lost and not ours & self._state.adapters.keys():
                self._spent.clear()  # a new process remembers no answers

    def base(self) -> str:
        """Return the base that the server was started with: a path or a hub id."""
        return self._state.base

    def versions(self, followed: FollowedChannel) -> Path:
        """Return the one folder of all channels."""
        return self._versions

    def serves(self, followed: FollowedChannel, release: Release) -> bool:
        """Whether the server has the version loaded under one of our names."""
        return self._serving(release) is not None

    def serve(self, followed: FollowedChannel, release: Release, folder: Path) -> str:
        """Load the version, unless it is loaded, under the first of its names that is free."""
        for name in self._free_names(release):
            if self.serves(followed, release):
                break
            try:
                self._server.load(name, folder)
            except Conflict:
                # A load whose answer was lost is refused the second time, and is as good.
                self._state = _State.of(self._server.list_adapters())
                continue
            self._state.adapters[name] = str(folder.absolute())
            return name
        serving = self._serving(release)
        if serving is None:
            raise self._make_conflict(release)
        self._unwanted.pop(serving, None)
        return serving

    def drop(self, versions: Path, folder: str) -> None:
        """Unload the version without a time to drain."""
        for name in self._names_of(folder):
            self._unload(name)

    def renew(self, versions: Path, folder: str) -> None:
        """Load the version under another name next time; the current one drains then.

        For a name that is unloaded and loaded again, vLLM may answer from its cache.
        """
        self._spent |= self._names_of(folder)

    def settle(self, claims: ServingClaims) -> SettleOutcome:
        """Unload those of our adapters that no channel has wanted for the time to drain.

        One that the server refuses to unload does not hold up the others; it is tried again at
        growing intervals.
        """
        now = self._clock()
        claimed = {release.folder for release in claims.releases}
        unwanted = {
            name: self._folder(name)
            for name, root in self._state.adapters.items()
            if self._is_ours(name, root) and (Path(root).name not in claimed or name in self._spent)
        }
        deadlines = {
            name: self._unwanted.get(name, now + self._drain_s)
            for name, folder in unwanted.items()
            if not any(belongs_to(folder, line) for line in claims.lines)
        }
        self._unwanted = deadlines
        for name in [name for name, moment in deadlines.items() if moment <= now]:
            self._let_go(name, now)
        refusals = {self._folder(name): kept.why for name, kept in self._kept.items()}
        is_over = all(name in self._kept for name in self._unwanted)
        return SettleOutcome(is_over, refusals)

    def holds(self, versions: Path) -> Collection[str]:
        """Return those of our folders that the server has loaded, under whatever name.

        What lies elsewhere belongs to another agent or to an operator, though it may be called the same.
        """
        roots = [Path(root) for root in self._state.adapters.values()]
        return {root.name for root in roots if root.parent == self._versions or self._is_linked_to(root)}

    def close(self) -> None:
        """Close the server's connections."""
        self._server.close()

    def _let_go(self, name: str, now: float) -> None:
        refusal = self._kept.get(name)
        if refusal is not None and now < refusal.due:
            return
        try:
            self._unload(name)
        except DeltaregError as error:
            pause_s = _FIRST_PAUSE_S if refusal is None else min(refusal.pause_s * 2, _LONGEST_PAUSE_S)
            self._kept[name] = _Kept(error.message, now + pause_s, pause_s)

    def _unload(self, name: str) -> None:
        self._server.unload(name)
        log.info("unloaded name=%s", name)
        self._state.adapters.pop(name, None)
        self._unwanted.pop(name, None)
        self._kept.pop(name, None)

    def _free_names(self, release: Release) -> Iterator[str]:
        """Yield the version's names that are neither taken nor used up."""
        more = (f"{release.folder}-{number}" for number in range(2, _MOST_TRIES))
        for name in (*release.names, *more):
            is_taken = name in self._state.bases or name in self._state.adapters
            if not is_taken and name not in self._spent:
                yield name

    def _make_conflict(self, release: Release) -> Conflict:
        title, root = self._server.title, self._state.adapters.get(release.name, "the base")
        return Conflict(
            f"{title} serves something else as {release.name} and as all that it could be: {root}",
            fix=self._server.unload_by_hand(release.name),
        )

    def _serving(self, release: Release) -> str | None:
        names = self._names_of(release.folder) - self._spent
        return min(names, key=lambda name: (len(name), name), default=None)

    def _names_of(self, folder: str) -> set[str]:
        """Return the names under which the server has loaded a folder of ours."""
        return {
            name
            for name, root in self._state.adapters.items()
            if Path(root) == self._versions / folder and self._is_ours(name, root)
        }

    def _is_linked_to(self, root: Path) -> bool:
        """Whether a path is one of our folders by another way, through a link or a second mount."""
        folder = self._versions / root.name
        try:
            return bool(root.name) and folder.samefile(root)
        except OSError:
            return False

    def _folder(self, name: str) -> str:
        return Path(self._state.adapters.get(name, "")).name

    def _is_ours(self, name: str, root: str) -> bool:
        path = Path(root)
        is_named_so = f"{path.name}-".startswith(f"{name}-") or name.startswith(f"{path.name}-")
        return path.parent == self._versions and is_named_so
