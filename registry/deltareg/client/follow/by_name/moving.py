"""Moves the names of channels: brings what a channel says now, then has the engine ask again."""

import logging
import threading
import time
from collections.abc import Callable

from deltareg.client.follow.by_name.channels import ChannelMove
from deltareg.client.follow.by_name.finding import NamedVersion, VersionFinder
from deltareg.client.follow.release import Release
from deltareg.errors import DeltaregError

log = logging.getLogger(__name__)
_AGAIN_S = 10.0
"""How soon what could not be brought is tried again, though its channel has said nothing new."""


class ChannelMover:
    """Moves names in a thread of its own, since bytes may take long; it ends with the process."""

    def __init__(
        self,
        finder: VersionFinder,
        *,
        on_move: Callable[[NamedVersion], None],
        on_end: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; `start` begins to move.

        Args:
            finder: The finder whose names are moved.
            on_move: Called with what a name meant, once it means another version.
            on_end: Called with a name whose channel serves nothing any more, and why.
            clock: A monotonic clock, in seconds.
        """
        self._finder, self._on_move, self._on_end, self._clock = finder, on_move, on_end, clock
        self._failed: dict[str, tuple[Release, float]] = {}
        self._stop = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start moving in a thread; a second call does nothing."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="channels", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Stop listening and moving."""
        self._stop.set()
        self._finder.moved.set()
        self._finder.channels.close()
        if self._thread is not None:
            self._thread.join()

    def move(self) -> None:
        """Move every name whose channel says something else than it means."""
        for found in list(self._finder.found.values()):
            said = self._finder.channels.hear(found.name)
            if said is None or said.release == found.release:
                continue
            if said.release is None:
                self._on_end(found.name, said.why)
            else:
                self._move(found, said, said.release)

    def _move(self, found: NamedVersion, said: ChannelMove, release: Release) -> None:
        failed, due = self._failed.get(found.name, (None, 0.0))
        if said.ref is None or (failed == release and self._clock() < due):
            return
        self._failed[found.name] = (release, self._clock() + _AGAIN_S)
        try:
            version = self._finder.bring(found.name, said.ref)
        except (DeltaregError, OSError) as error:
            if failed != release:
                log.warning("%s stays %s, and %s is not served: %s", found.name, found.release.ref, release.ref, error)
            return
        self._failed.pop(found.name, None)
        if self._finder.replace(found, version):
            self._on_move(found)
        else:  # it was forgotten or found anew meanwhile
            version.hold.let_go()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._finder.moved.wait(_AGAIN_S)
            self._finder.moved.clear()
            if self._stop.is_set():
                return
            try:
                self.move()
            except Exception:  # a thread that ended would leave names where they are
                log.exception("the names of channels cannot be moved")
