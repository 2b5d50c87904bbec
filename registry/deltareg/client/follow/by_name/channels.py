"""Channels as names: each request is told the revision that the channel is at, `ns/name@prod#17`.

An engine keeps what it was given under a name, with all that it cached for it. So it never sees a
name that moves: it is asked for the revision, which means one version for good. A channel that
moves is heard at once. Its next version is checked and brought first, and until then the one before
is meant, as well as where the next cannot be served.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from deltareg.client.context import Context
from deltareg.client.follow.by_name.finding import VersionFinder
from deltareg.client.follow.by_name.names import read_channel
from deltareg.client.follow.release import FollowedChannel, Release
from deltareg.client.follow.watch import ChannelWatch
from deltareg.errors import DeltaregError, InvalidInput, NotFound
from deltareg.refs import Ref

log = logging.getLogger(__name__)
_AGAIN_S = 10.0
"""How soon what could not be brought is tried again, though its channel has said nothing new."""
_MOST = 100
"""How many channels are listened to: beyond them, the one that was named first is forgotten."""


@dataclass(slots=True)
class _Tracked:
    """A channel that is listened to, and the revision that it means to the engine."""

    ref: Ref
    watch: ChannelWatch
    stop: threading.Event
    current: Ref
    release: Release
    failed: Release | None = None
    due: float = 0.0


class ChannelTracker:
    """Knows what channels mean; safe to use from several threads."""

    def __init__(
        self,
        context: Context,
        finder: VersionFinder,
        *,
        on_move: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; no request is sent yet.

        Args:
            context: The client's surroundings.
            finder: Brings the versions.
            on_move: Called with the name of a revision that its channel means no more.
            clock: A monotonic clock, in seconds.
        """
        self._context, self._finder, self._on_move, self._clock = context, finder, on_move, clock
        self._tracked: dict[str, _Tracked] = {}
        self._lock = threading.Lock()
        self._heard, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def look_up(self, name: str) -> str | None:
        """Return the revision that a channel means, without asking anybody; None if it is not listened to."""
        tracked = self._tracked.get(name)
        return None if tracked is None else str(tracked.current)

    def resolve(self, name: str) -> str | None:
        """Return the revision that a channel means; the first time, the registry is asked.

        None for what is no channel, and for one that serves nothing or cannot be asked, as the log
        explains.
        """
        ref = read_channel(name)
        if ref is None or self._finder.was_refused(name):
            return None
        known = self.look_up(name)
        if known is not None:
            return known
        try:
            tracked = self._listen(ref)
        except DeltaregError as error:
            self._finder.refuse(name, error)
            return None
        with self._lock:
            self._tracked.setdefault(name, tracked)
            strays = list(self._tracked)[:-_MOST]
        if self._tracked.get(name) is tracked:
            tracked.watch.start()
        for stray in strays:
            self._forget(stray)
        self._start()
        return str(tracked.current)

    def stop(self) -> None:
        """Listen to none any more."""
        self._stop.set()
        self._heard.set()
        for name in list(self._tracked):
            self._forget(name)
        if self._thread is not None:
            self._thread.join()

    def move(self) -> None:
        """Go on to what channels say now, each once its next version may be served."""
        for name, tracked in list(self._tracked.items()):
            seen = tracked.watch.seen
            release = None if seen is None else Release.of(tracked.ref.line, seen)
            if isinstance(tracked.watch.error, NotFound) or release is None or seen is None:
                self._forget(name)
                self._on_move(str(tracked.current))
            elif release != tracked.release:
                self._move(name, tracked, replace(tracked.ref, revision=seen.revision), release)

    def _move(self, name: str, tracked: _Tracked, ref: Ref, release: Release) -> None:
        if tracked.failed == release and self._clock() < tracked.due:
            return
        try:
            self._finder.bring_ahead(ref)
        except (DeltaregError, OSError) as error:
            if tracked.failed != release:
                log.warning("%s stays %s, as %s is not served: %s", name, tracked.release.ref, release.ref, error)
            tracked.failed, tracked.due = release, self._clock() + _AGAIN_S
            return
        before = str(tracked.current)
        tracked.current, tracked.release, tracked.failed = ref, release, None
        log.info("%s is %s from the next request on", name, release.ref)
        self._on_move(before)

    def _listen(self, ref: Ref) -> _Tracked:
        stop = threading.Event()
        watch = ChannelWatch(self._context, FollowedChannel(ref.line, ref.channel or ""), self._heard.set, stop)
        watch.look()
        release = None if watch.seen is None else Release.of(ref.line, watch.seen)
        if watch.seen is None or release is None:
            raise InvalidInput(f"{ref.channel} serves nothing", fix=f"deltareg promote {ref.line}:v1 {ref.channel}")
        return _Tracked(ref, watch, stop, replace(ref, revision=watch.seen.revision), release)

    def _forget(self, name: str) -> None:
        with self._lock:
            tracked = self._tracked.pop(name, None)
        if tracked is not None:
            tracked.stop.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="channels", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._heard.wait(_AGAIN_S)
            self._heard.clear()
            try:
                self.move()
            except Exception:  # a thread that ended would leave channels where they are
                log.exception("what channels say cannot be followed")
