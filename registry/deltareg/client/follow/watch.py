"""Hears what a channel says as soon as it changes: one long poll after another, in a thread."""

import logging
import random
import threading
from collections.abc import Callable

from deltareg.client.asking.lines import line_path
from deltareg.client.context import Context
from deltareg.client.follow.release import FollowedChannel
from deltareg.client.http.answers import read_answer
from deltareg.errors import DeltaregError, Unavailable
from deltareg.wire import ChannelInfo

log = logging.getLogger(__name__)
_WAIT_S = 20.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


class ChannelWatch:
    """Knows what one channel said last.

    Attributes:
        seen: The last answer; None before the first.
        error: Why the channel cannot be heard now; None while it can.
    """

    def __init__(
        self, context: Context, followed: FollowedChannel, on_change: Callable[[], None], stop: threading.Event
    ) -> None:
        """Prepare; `start` begins to ask."""
        self._context, self._followed = context, followed
        self._on_change, self._stop = on_change, stop
        self._etag = ""
        self.seen: ChannelInfo | None = None
        self.error: DeltaregError | None = None

    def look(self, *, wait_s: float = 0, is_patient: bool = False) -> None:
        """Ask once; with a wait, the answer comes when something has changed.

        A follower in a loop is not patient: it serves the kept version while the server is away.

        Raises:
            DeltaregError: The channel does not exist, the token is refused, or the server does not
                answer.
        """
        path = f"{line_path(self._followed.line)}/channels/{self._followed.channel}"
        headers = {"If-None-Match": self._etag} if self._etag else {}
        answer = self._context.api.send(
            "GET", path, headers=headers, query={"wait": wait_s if self._etag else None}, is_patient=is_patient
        )
        self.error = None
        if answer.status_code == 304:
            return
        self.seen = read_answer(answer, ChannelInfo)
        self._etag = answer.headers.get("ETag", "")

    def start(self) -> None:
        """Keep asking in a thread until stopped; a waiting thread ends with the process."""
        name = f"watch {self._followed}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                before, was_lost = self._etag, self.error is not None
                self.look(wait_s=_WAIT_S)
            except DeltaregError as error:
                if self._stop.is_set():
                    return
                self._lose(error)
                self._stop.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  # spreads load
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                continue
            except RuntimeError:  # the client was closed while we waited
                if self._stop.is_set():
                    return
                raise
            pause_s = _FIRST_PAUSE_S
            if was_lost:
                log.warning("channel=%s is heard again", self._followed)
            if self._etag != before or was_lost:
                self._on_change()

    def _lose(self, error: DeltaregError) -> None:
        if self.error is None:
            lost = "cannot be heard now" if isinstance(error, Unavailable) else "is refused"
            log.warning("channel=%s %s: %s", self._followed, lost, error.message)
        self.error = error
        self._on_change()
