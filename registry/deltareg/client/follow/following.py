"""One channel that is followed: what it says, what the host serves, and the next step between."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.context import Context
from deltareg.client.follow.aliases import Alias, AliasFile
from deltareg.client.follow.engine import Engine
from deltareg.client.follow.kept import bring, leave
from deltareg.client.follow.release import Followed, Release
from deltareg.client.follow.watch import Watch
from deltareg.digest import Digest
from deltareg.errors import Blocked, DeltaregError
from deltareg.wire import ChannelInfo, Observed

log = logging.getLogger(__name__)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 10.0
_ERROR_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class FollowEvent:
    """Something that has changed on a serving host.

    Attributes:
        observed: What is served of a channel now, and how it goes.
        previous: The version that was served before; None for none.
        served: How clients name what is served; empty where nothing is.
        fetched_bytes: What had to travel for it.
        seconds: How long it took since the channel was heard.
    """

    observed: Observed
    previous: int | None
    served: str
    fetched_bytes: int
    seconds: float


class _Bringing:
    """A version on its way into its folder, in a thread: meanwhile the channel may move on."""

    def __init__(self, work: Callable[[], tuple[Path, int]], on_end: Callable[[], None]) -> None:
        self._work, self._on_end = work, on_end
        self.folder: Path | None = None
        self.fetched_bytes = 0
        self.error: DeltaregError | OSError | None = None
        threading.Thread(target=self._run, name="bring", daemon=True).start()

    @property
    def is_over(self) -> bool:
        return self.folder is not None or self.error is not None

    def _run(self) -> None:
        try:
            folder, self.fetched_bytes = self._work()
            self.folder = folder
        except (DeltaregError, OSError) as error:
            self.error = error
        self._on_end()


class Following:
    """A channel and how far the host has come with it.

    Attributes:
        followed: The channel.
        watch: What it says.
        served: The version that this run has checked and handed to the engine; None before.
        observed: The same as the registry is told.
        error: Why the last step failed; None when it did not.
    """

    def __init__(
        self,
        context: Context,
        followed: Followed,
        engine: Engine,
        aliases: AliasFile,
        *,
        watch: Watch,
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Find out what an earlier run has left; nothing is changed."""
        self._context, self._engine, self._aliases = context, engine, aliases
        self._on_change, self._clock = on_change, clock
        self._bringing: dict[Release, _Bringing] = {}
        self._since, self._retry_at, self._pause_s = clock(), 0.0, _FIRST_PAUSE_S
        self._seen: ChannelInfo | None = None
        self._wanted: Release | None = None
        self.followed, self.watch = followed, watch
        self.served: Release | None = None
        self.error: DeltaregError | OSError | None = None
        self.observed = self._left_over()

    @property
    def wanted(self) -> Release | None:
        """What the channel says; None while it says nothing, or is not heard."""
        return self._wanted

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is under way: it is served, or it failed."""
        return self.watch.seen is not None and self.observed.state != "pulling"

    def step(self) -> FollowEvent | None:
        """Go one step towards what the channel says, without waiting for bytes."""
        seen = self.watch.seen
        if seen is None:
            return None
        wanted = Release.of(self.followed.line, seen)
        if seen is not self._seen:  # whatever has changed may be what was in the way
            self._since, self._retry_at, self._pause_s = self._clock(), 0.0, _FIRST_PAUSE_S
            self._seen, self._wanted, self.error = seen, wanted, None
        # What the channel moved away from meanwhile lies in its folder now, to be looked at anew.
        self._bringing = {
            release: bringing
            for release, bringing in self._bringing.items()
            if release == wanted or not bringing.is_over
        }
        if wanted is None:
            return self._tell(Observed(channel=str(self.followed), revision=seen.revision))
        if self._clock() < self._retry_at:
            return None
        try:
            return self._advance(wanted, seen)
        except (DeltaregError, OSError) as error:
            return self._fail(error)

    def _advance(self, wanted: Release, seen: ChannelInfo) -> FollowEvent | None:
        is_there = self._engine.serves(self.followed, wanted)
        if is_there and wanted == self.served:
            return self._arrived(wanted, seen, self._alias(wanted, seen))
        if seen.is_revoked and not is_there:
            raise Blocked(f"{wanted.ref} is revoked", fix="roll the channel back")
        bringing = self._bringing.get(wanted)
        if bringing is None:
            versions = self._engine.versions(self.followed)
            self._bringing[wanted] = _Bringing(
                lambda: bring(self._context, wanted, versions), self._on_change
            )
            if self.error is not None:  # tried again: still failed, as far as people care
                return None
            return self._tell(self.observed.model_copy(update={"state": "pulling", "error": ""}))
        if not bringing.is_over:
            return None
        del self._bringing[wanted]
        if bringing.folder is None:
            raise bringing.error or AssertionError("unreachable: it ended in one way or the other")
        return self._hand_over(wanted, seen, bringing)

    def _hand_over(self, wanted: Release, seen: ChannelInfo, bringing: _Bringing) -> FollowEvent:
        versions = self._engine.versions(self.followed)
        folder = versions / wanted.folder
        served = self._engine.serve(self.followed, wanted, folder)
        if self.served is not None and self.served != wanted:
            leave(versions / self.served.folder)
        self.served = wanted
        alias = self._alias(wanted, seen).model_copy(update={"served": served})
        event = self._arrived(wanted, seen, alias, fetched_bytes=bringing.fetched_bytes)
        log.info("channel=%s serves=%s fetched=%d", self.followed, wanted.ref,
                 bringing.fetched_bytes)  # fmt: skip
        return event or self._event(self.observed.version, bringing.fetched_bytes)

    def _arrived(
        self, wanted: Release, seen: ChannelInfo, alias: Alias, *, fetched_bytes: int = 0
    ) -> FollowEvent | None:
        self._aliases.put(self.followed, alias)
        self.error, self._pause_s = None, _FIRST_PAUSE_S
        return self._tell(
            Observed(
                channel=str(self.followed), revision=seen.revision, version=wanted.version,
                digest=str(wanted.digest),
            ),
            fetched_bytes=fetched_bytes,
        )  # fmt: skip

    def _fail(self, error: DeltaregError | OSError) -> FollowEvent | None:
        self.error = error
        self._retry_at = self._clock() + self._pause_s
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        text = error.message if isinstance(error, DeltaregError) else str(error)
        plain = "".join(c if c.isprintable() else " " for c in text)[:_ERROR_CHARACTERS]
        return self._tell(
            self.observed.model_copy(update={"state": "failed", "error": plain or "failed"})
        )

    def _tell(self, observed: Observed, *, fetched_bytes: int = 0) -> FollowEvent | None:
        """Take a new state; an event only where people would see a difference."""
        before, self.observed = self.observed, observed
        if before.model_copy(update={"revision": observed.revision}) == observed:
            return None
        return self._event(before.version, fetched_bytes)

    def _event(self, previous: int | None, fetched_bytes: int) -> FollowEvent:
        alias = self._aliases.entries.get(str(self.followed))
        served = "" if alias is None or self.observed.version is None else alias.served
        seconds = self._clock() - self._since
        return FollowEvent(self.observed, previous, served, fetched_bytes, seconds)

    def _alias(self, release: Release, seen: ChannelInfo) -> Alias:
        known = self._aliases.entries.get(str(self.followed))
        folder = self._engine.versions(self.followed) / release.folder
        return Alias(
            served=release.name if known is None else known.served, version=release.version,
            digest=str(release.digest), revision=seen.revision, path=str(folder.absolute()),
        )  # fmt: skip

    def _left_over(self) -> Observed:
        """Say what an earlier run has left, where the engine still serves it."""
        nothing = Observed(channel=str(self.followed))
        alias = self._aliases.entries.get(str(self.followed))
        if alias is None:
            return nothing
        try:
            release = Release(self.followed.line, alias.version, Digest.parse(alias.digest))
            if not self._engine.serves(self.followed, release):
                return nothing
        except DeltaregError:  # found out again as soon as the channel is heard
            return nothing
        return nothing.model_copy(
            update={
                "revision": alias.revision, "version": alias.version, "digest": alias.digest,
            }
        )  # fmt: skip
