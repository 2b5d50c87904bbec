"""One followed channel: what it says, what the host serves, and the next step between them."""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from deltareg.client.follow.aliases import Alias, AliasFile
from deltareg.client.follow.engine import ServingEngine
from deltareg.client.follow.line_bases import LineBases
from deltareg.client.follow.release import FollowedChannel, Release
from deltareg.client.follow.served_base import ServedBase
from deltareg.client.follow.shelf import PendingVersion, VersionShelf
from deltareg.client.follow.version_folders import leave
from deltareg.client.follow.watch import ChannelWatch
from deltareg.digest import Digest
from deltareg.errors import BaseMismatch, Blocked, DeltaregError
from deltareg.wire import ChannelInfo, Observed

log = logging.getLogger(__name__)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 10.0
_FUTILE_PAUSE_S = 60.0
"""The longest pause before what was refused for good is tried again, though nothing has changed."""
_ERROR_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class FollowEvent:
    """A change on a serving host.

    Attributes:
        observed: What is now served for a channel, and its state.
        previous: The version that was served before; None if there was none.
        served: The name that clients use for it; empty if nothing is served.
        fetched_bytes: How many bytes were transferred for it.
        seconds: How long it took since the channel's change arrived.
    """

    observed: Observed
    previous: int | None
    served: str
    fetched_bytes: int
    seconds: float


class ChannelFollower:
    """A channel, and how far the host has followed it.

    Attributes:
        followed: The channel.
        watch: The watch that hears what the channel says.
        served: The version that this run has checked and handed to the engine; None before it has.
        observed: The state that is reported to the registry.
        error: Why the last step failed; None if it succeeded.
    """

    def __init__(
        self,
        followed: FollowedChannel,
        engine: ServingEngine,
        shelf: VersionShelf,
        served_base: ServedBase,
        aliases: AliasFile,
        *,
        watch: ChannelWatch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Find out what an earlier run has left; nothing is changed."""
        self._engine, self._shelf, self._aliases, self._clock = engine, shelf, aliases, clock
        self._bringing: dict[Release, PendingVersion] = {}
        self._bases = LineBases(shelf, served_base)
        self._since, self._retry_at, self._pause_s = clock(), 0.0, _FIRST_PAUSE_S
        self._seen: ChannelInfo | None = None
        self._wanted: Release | None = None
        self._starts = 0
        self._trouble = ""
        self._is_recalled = False
        self.followed, self.watch = followed, watch
        self.served: Release | None = None
        self.error: DeltaregError | OSError | None = None
        self._left = self._of_alias()
        self.observed = Observed(channel=str(followed))

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is under way: the version is served, or it failed."""
        if self.error is not None:
            return True
        if self.watch.seen is None or self._seen is not self.watch.seen:
            return False
        return self._wanted == self.served and self.observed.state == "ok"

    @property
    def claims(self) -> Collection[Release]:
        """What the engine must not end, on this channel's behalf.

        Until this run has served something, that is what the run before recorded as served.
        """
        earlier = self._left if self.served is None else None
        return [one for one in (self.served, self._wanted, earlier) if one is not None]

    @property
    def is_unknown(self) -> bool:
        """Whether it is unknown which version of the line is in use; then all of them stay."""
        return (
            self.served is None
            and self._left is None
            and not self.has_wrong_base
            and (self._wanted is not None or self.watch.seen is None)
        )

    @property
    def has_wrong_base(self) -> bool:
        """Whether the engine has another base than the channel's version is for."""
        return self._bases.state == "wrong"

    def step(self, *, lost: DeltaregError | OSError | None = None) -> FollowEvent | None:
        """Take one step towards what the channel says, without waiting for bytes.

        Args:
            lost: Why it is unknown what the engine serves; None if it is known.
        """
        if lost is not None:
            # An engine is looked at in every round, so that what it lost is back in the next.
            return self._fail(lost, pause_s=0)
        self._recall()
        return None if self.watch.seen is None else self._go(self.watch.seen)

    def _go(self, seen: ChannelInfo) -> FollowEvent | None:
        release = Release.of(self.followed.line, seen)
        self._hear(seen, release)
        if release is None:
            return self._tell(Observed(channel=str(self.followed), revision=seen.revision))
        self._notice_what_is_gone(release)
        try:
            self._drop_what_is_wrong()
            if self._clock() < self._retry_at:
                return None
            return self._advance(release, seen)
        except BaseMismatch as error:
            self._withdraw()
            return self._fail(error)
        except (DeltaregError, OSError) as error:
            return self._fail(error)

    def _hear(self, seen: ChannelInfo, wanted: Release | None) -> None:
        """Start over if the channel has moved or the engine has restarted: it may work now."""
        if seen is not self._seen or self._starts != self._engine.starts:
            self._since, self._retry_at, self._pause_s = self._clock(), 0.0, _FIRST_PAUSE_S
            self._seen, self._wanted, self.error = seen, wanted, None
            self._starts = self._engine.starts
            self._bases.forget_wrong()
        # What the channel moved away from meanwhile lies in its folder now, to be looked at anew.
        self._bringing = {
            release: bringing
            for release, bringing in self._bringing.items()
            if release == wanted or not bringing.is_over
        }

    def note(self, troubles: Sequence[str]) -> FollowEvent | None:
        """Record what else is wrong on the host that concerns the channel."""
        trouble = _plain("; ".join(troubles))
        if trouble == self._trouble:
            return None
        self._trouble = trouble
        return self._tell(self.observed)

    def _advance(self, wanted: Release, seen: ChannelInfo) -> FollowEvent | None:
        is_there = self._engine.serves(self.followed, wanted)
        if is_there and wanted == self.served:
            is_known = self._bases.check(wanted) is not None
            return self._report_arrival(wanted, seen, self._alias(wanted, seen)) if is_known else None
        if seen.is_revoked and not is_there:
            raise Blocked(f"{wanted.ref} is revoked", fix="roll the channel back")
        bringing = self._bringing.get(wanted)
        if bringing is not None and bringing.is_over:
            return self._take(wanted, seen, bringing)
        if bringing is None:
            self._bringing[wanted] = self._shelf.bring(wanted, self._engine.versions(self.followed))
        if self.error is not None:  # tried again: still failed, as far as people care
            return None
        return self._tell(self.observed.model_copy(update={"state": "pulling", "error": ""}))

    def _take(self, wanted: Release, seen: ChannelInfo, bringing: PendingVersion) -> FollowEvent | None:
        if bringing.base is None:
            del self._bringing[wanted]
            raise bringing.error or AssertionError("unreachable: it ended in one way or the other")
        self._bases.learn(wanted, bringing.base)
        if self._bases.check(wanted) is None:
            return None
        del self._bringing[wanted]
        return self._hand_over(wanted, seen, bringing)

    def _notice_what_is_gone(self, wanted: Release) -> None:
        """Notice what the engine has lost; the version before stays until the new one is served."""
        release = self.served
        if release is None or any(self._engine.serves(self.followed, one) for one in (release, wanted)):
            return
        if release != wanted and self._is_served_again(release):
            return
        self.served = None
        self.observed = self.observed.model_copy(update={"version": None, "digest": None})

    def _is_served_again(self, served: Release) -> bool:
        """Serve a version again that was served; also true while its base is being checked."""
        folder = self._engine.versions(self.followed) / served.folder
        alias = self._aliases.entries.get(str(self.followed))
        is_right = self._bases.is_right(served)
        if is_right is None:
            return True
        if alias is None or not is_right or not folder.is_dir():
            return False
        try:
            name = self._engine.serve(self.followed, served, folder)
        except (DeltaregError, OSError):
            return False
        self._aliases.put(self.followed, alias.model_copy(update={"served": name}))
        return True

    def _withdraw(self) -> None:
        """Remove the alias of what is no longer served."""
        alias_release = self._of_alias()
        if alias_release is not None and not self._engine.serves(self.followed, alias_release):
            self._aliases.take_out(self.followed)

    def _drop_what_is_wrong(self) -> None:
        """Stop serving versions of the line for another base: they would answer nonsense."""
        versions, may_ask = self._engine.versions(self.followed), self._clock() >= self._retry_at
        for release in self.claims:
            is_there = self._engine.serves(self.followed, release)
            if is_there and self._bases.is_wrong(release, versions, may_ask=may_ask):
                self._drop(release)

    def _drop(self, release: Release) -> None:
        versions = self._engine.versions(self.followed)
        log.warning("channel=%s ends=%s: it is for another base", self.followed, release.ref)
        if self._of_alias() == release:
            self._aliases.take_out(self.followed)
        self.served = None if self.served == release else self.served
        self._left = None if self._left == release else self._left
        if self.observed.digest == str(release.digest):
            self.observed = self.observed.model_copy(update={"version": None, "digest": None})
        self._engine.drop(versions, release.folder)

    def _hand_over(self, wanted: Release, seen: ChannelInfo, bringing: PendingVersion) -> FollowEvent:
        versions = self._engine.versions(self.followed)
        folder = versions / wanted.folder
        name = self._engine.serve(self.followed, wanted, folder)
        if self.served is not None and self.served != wanted:
            leave(versions / self.served.folder)
        self._bases.keep_only(wanted)
        self.served, self._left = wanted, None
        self._bringing.clear()
        alias = self._alias(wanted, seen).model_copy(update={"served": name})
        event = self._report_arrival(wanted, seen, alias, fetched_bytes=bringing.fetched_bytes)
        log.info("channel=%s serves=%s fetched=%d", self.followed, wanted.ref, bringing.fetched_bytes)
        return event or self._event(self.observed.version, bringing.fetched_bytes)

    def _report_arrival(
        self, wanted: Release, seen: ChannelInfo, alias: Alias, *, fetched_bytes: int = 0
    ) -> FollowEvent | None:
        self._aliases.put(self.followed, alias)
        self.error, self._pause_s = None, _FIRST_PAUSE_S
        return self._tell(
            Observed(
                channel=str(self.followed), revision=seen.revision, version=wanted.version, digest=str(wanted.digest)
            ),
            fetched_bytes=fetched_bytes,
        )

    def _fail(self, error: DeltaregError | OSError, *, pause_s: float | None = None) -> FollowEvent | None:
        self.error = error
        self._retry_at = self._clock() + (self._pause_s if pause_s is None else pause_s)
        if pause_s is None:
            is_futile = isinstance(error, DeltaregError) and not error.retryable
            longest_s = _FUTILE_PAUSE_S if is_futile else _LONGEST_PAUSE_S
            self._pause_s = min(self._pause_s * 2, longest_s)
        text = error.message if isinstance(error, DeltaregError) else str(error)
        return self._tell(self.observed.model_copy(update={"state": "failed", "error": _plain(text) or "failed"}))

    def _tell(self, observed: Observed, *, fetched_bytes: int = 0) -> FollowEvent | None:
        """Record a new state; return an event only if people would see a difference."""
        base = self._bases.state if observed.version is not None or self.has_wrong_base else "unchecked"
        state = observed.model_copy(update={"base": base, "trouble": self._trouble})
        before, self.observed = self.observed, state
        if before.model_copy(update={"revision": state.revision}) == state:
            return None
        return self._event(before.version, fetched_bytes)

    def _event(self, previous: int | None, fetched_bytes: int) -> FollowEvent:
        alias = self._aliases.entries.get(str(self.followed))
        name = "" if alias is None or self.observed.version is None else alias.served
        seconds = self._clock() - self._since
        return FollowEvent(self.observed, previous, name, fetched_bytes, seconds)

    def _alias(self, release: Release, seen: ChannelInfo) -> Alias:
        entry = self._aliases.entries.get(str(self.followed))
        folder = self._engine.versions(self.followed) / release.folder
        return Alias(
            served=release.name if entry is None else entry.served,
            version=release.version,
            digest=str(release.digest),
            revision=seen.revision,
            path=str(folder.absolute()),
            base=self._bases.state,
        )

    def _of_alias(self) -> Release | None:
        """Return the version that an earlier run recorded as served last."""
        alias = self._aliases.entries.get(str(self.followed))
        if alias is None:
            return None
        try:
            return Release(self.followed.line, alias.version, Digest.parse(alias.digest))
        except DeltaregError:  # somebody wrote into the file: it is written anew
            return None

    def _recall(self) -> None:
        """Report once what an earlier run has left, if the engine still serves it."""
        if self._is_recalled:
            return
        self._is_recalled = True
        alias = self._aliases.entries.get(str(self.followed))
        if alias is None or self._left is None:
            return
        if self._engine.serves(self.followed, self._left):
            self._bases.state = alias.base
            self.observed = self.observed.model_copy(
                update={
                    "revision": alias.revision,
                    "version": alias.version,
                    "digest": alias.digest,
                    "base": alias.base,
                }
            )


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:_ERROR_CHARACTERS]
