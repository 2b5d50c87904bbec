"""Followers: keep a serving host on the versions that channels serve.

An agent is one process that follows channels and hands their versions to one engine. A thread for
each channel listens by long polls, and other threads pull versions. What is served changes in one
place only, here, step by step, so that a channel which moves during a pull can be served at once
from a version that is kept. A kill at any moment leaves the served versions in place.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.context import Context
from deltareg.client.follow.aliases import AliasFile
from deltareg.client.follow.engine import ServingClaims, ServingEngine, SettleOutcome
from deltareg.client.follow.following import ChannelFollower, FollowEvent
from deltareg.client.follow.release import FollowedChannel, belongs_to
from deltareg.client.follow.reporter import Reporter
from deltareg.client.follow.served_base import ServedBase
from deltareg.client.follow.shelf import VersionShelf
from deltareg.client.follow.version_folders import kept_alone, prune
from deltareg.client.follow.watch import ChannelWatch
from deltareg.errors import DeltaregError, Unavailable
from deltareg.refs import parse_name
from deltareg.wire import Observed

__all__ = ["Agent", "FollowEvent", "FollowOptions", "FollowedChannel"]

log = logging.getLogger(__name__)
ALIAS_FILE = "serving.json"
_PRUNE_S = 30.0


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """How an agent works.

    Attributes:
        agent: The agent's name; each agent has its own.
        interval_s: How often the engine is checked, in seconds; changes of a channel arrive at
            once.
        keep: How many versions to keep beside those that are served.
        report_s: How often to report to the registry when nothing changes, in seconds.
        alias_file: One alias file for all channels, instead of one in each folder.
        base: The folder of the base that the engine serves, if the engine does not say.
    """

    agent: str
    interval_s: float = 2.0
    keep: int = 2
    report_s: float = 10.0
    alias_file: Path | None = None
    base: Path | None = None


class Agent:
    """Follows channels for one engine until it is stopped; call `run` or `once`, a single time."""

    def __init__(
        self,
        context: Context,
        engine: ServingEngine,
        followed: Sequence[FollowedChannel],
        options: FollowOptions,
        *,
        on_event: Callable[[FollowEvent], None] = lambda _: None,
    ) -> None:
        """Prepare; `run` or `once` starts following.

        Args:
            context: The client's surroundings.
            engine: The engine that serves.
            followed: The channels.
            options: How the agent works.
            on_event: Called with each change, in the thread that runs.
        """
        parse_name(options.agent, "name for an agent")
        self._context, self._engine, self._options = context, engine, options
        self._followed, self._on_event = list(followed), on_event
        self._stop, self._wake = threading.Event(), threading.Event()
        self._reporter = Reporter(context, options.agent, engine.name, every_s=options.report_s, stop=self._stop)
        self._following: list[ChannelFollower] = []
        self._shelf = VersionShelf(context, engine, self._wake.set)
        self._base = ServedBase(context, options.base, self._wake.set)
        self._pruned_at, self._trouble = float("-inf"), ""

    def stop(self) -> None:
        """Ask the agent to end, from another thread; served versions stay served."""
        self._stop.set()
        self._wake.set()
        self._reporter.wake()

    def run(self) -> None:
        """Follow until stopped.

        Raises:
            DeltaregError: A channel does not exist, the token is refused, or another agent has the
                folder. An unreachable server is not a reason to end.
        """
        with self._begin():
            for following in self._following:
                try:
                    following.watch.look()
                except Unavailable as error:
                    log.warning("channel=%s is not heard yet: %s", following.followed, error.message)
                following.watch.start()
            self._reporter.start()
            while True:
                self._wake.clear()
                if self._stop.is_set():  # after the clearing, which might take a stop's own wake
                    return
                self._round()
                self._wake.wait(self._options.interval_s)

    def once(self) -> list[Observed]:
        """Bring every channel to what it says now, and return what is served then.

        Raises:
            DeltaregError: A channel could not be served.
        """
        with self._begin():
            for following in self._following:
                following.watch.look(is_patient=True)
            while True:
                self._wake.clear()
                is_settled = self._round()
                if self._stop.is_set() or (is_settled and self._is_at_rest()):
                    break
                self._wake.wait(min(self._options.interval_s, 0.2))
            self._report_once()
            for following in self._following:
                if following.error is not None:
                    raise following.error
            return [following.observed for following in self._following]

    def _begin(self) -> ExitStack:
        with ExitStack() as locks:
            locks.callback(self._engine.close)
            for home in sorted({self._engine.versions(each).parent for each in self._followed}):
                locks.enter_context(kept_alone(home))
            paths = [self._options.alias_file or self._home(each) / ALIAS_FILE for each in self._followed]
            files = {path: AliasFile.read(path, self._followed) for path in set(paths)}
            self._following = [
                ChannelFollower(
                    each,
                    self._engine,
                    self._shelf,
                    self._base,
                    files[path],
                    watch=ChannelWatch(self._context, each, self._wake.set, self._stop),
                )
                for each, path in zip(self._followed, paths, strict=True)
            ]
            locks.callback(self._stop.set)
            return locks.pop_all()

    def _home(self, followed: FollowedChannel) -> Path:
        return self._engine.versions(followed).parent

    def _is_at_rest(self) -> bool:
        return all(following.is_at_rest for following in self._following)

    def _round(self) -> bool:
        """Take one step with every channel; return whether the engine holds nothing that may go."""
        lost = self._look()
        for following in self._following:
            self._tell(following.step(lost=lost))
        settled = self._settle() if lost is None else SettleOutcome()
        for following in self._following:
            self._tell(following.note(self._troubles(following, settled)))
        self._reporter.put([following.observed for following in self._following])
        return settled.is_over

    def _look(self) -> DeltaregError | OSError | None:
        """Find out what the engine serves, after the folders; return the error if that fails."""
        try:
            for versions in self._all_versions():
                self._shelf.mend(versions)
        except (DeltaregError, OSError) as error:
            log.warning("folders cannot be looked at: %s", error)
        try:
            self._engine.look()
        except (DeltaregError, OSError) as error:
            return error
        self._base.look(self._engine.base(), self._engine.starts)
        return None

    def _settle(self) -> SettleOutcome:
        claims = ServingClaims(
            [release for following in self._following for release in following.claims],
            [following.followed.line for following in self._following if following.is_unknown],
        )
        try:
            settled = self._engine.settle(claims)
            self._prune(claims)
        except (DeltaregError, OSError) as error:
            if str(error) != self._trouble:
                log.warning("cannot clear away: %s", error)
            self._trouble = str(error)
            return SettleOutcome()
        self._trouble = ""
        return settled

    def _troubles(self, following: ChannelFollower, settled: SettleOutcome) -> list[str]:
        """Describe what else is wrong with a channel's versions than with the one it says."""
        line = following.followed.line
        return [
            f"{folder} stays loaded: {why}"
            for folder, why in sorted(settled.refused.items())
            if belongs_to(folder, line)
        ]

    def _tell(self, event: FollowEvent | None) -> None:
        if event is not None:
            self._on_event(event)

    def _all_versions(self) -> list[Path]:
        return sorted({self._engine.versions(each) for each in self._followed})

    def _prune(self, claims: ServingClaims) -> None:
        if time.monotonic() - self._pruned_at < _PRUNE_S:
            return
        self._pruned_at = time.monotonic()
        served_folders = {release.folder for release in claims.releases}
        for versions in self._all_versions():
            retained = served_folders | set(self._engine.holds(versions))
            for name in prune(versions, keep=self._options.keep, held=retained):
                log.info("pruned=%s", name)

    def _report_once(self) -> None:
        try:
            self._reporter.send()
        except DeltaregError as error:
            log.warning("the report is not taken: %s", error.message)
