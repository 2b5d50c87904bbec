"""Names of channels: each means the version that its channel serves, and moves with it.

An engine asks for a name once and keeps the answer, together with what it cached for it. So it is
given the version under a name that means it for good, `ns/name@prod#17`. When the channel moves,
the next version is brought and checked first; then the engine forgets the channel's name, and asks
again at the next request. Requests under way are answered by the version that they began with.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from deltareg.client.context import Context
from deltareg.client.follow.by_name.names import is_channel
from deltareg.client.follow.release import FollowedChannel, Release
from deltareg.client.follow.watch import ChannelWatch
from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import Ref
from deltareg.wire import ChannelInfo


@dataclass(frozen=True, slots=True)
class ChannelMove:
    """What a channel says now.

    Attributes:
        ref: The reference that means it for good; None if the channel serves nothing or is gone.
        release: The version; None likewise.
        why: Why nothing is served.
    """

    ref: Ref | None = None
    release: Release | None = None
    why: str = ""


@dataclass(slots=True)
class _Heard:
    """A channel that is listened to."""

    ref: Ref
    watch: ChannelWatch
    stop: threading.Event


class ChannelNames:
    """The channels that an engine's clients ask for; safe to use from several threads."""

    def __init__(self, context: Context, on_change: Callable[[], None]) -> None:
        """Prepare; no request is sent yet. `on_change` is called in other threads."""
        self._context, self._on_change = context, on_change
        self._heard: dict[str, _Heard] = {}
        self._lock = threading.Lock()

    def listen(self, name: str, ref: Ref) -> Ref:
        """Ask a channel what it serves, listen to it from now on, and return what means that for good.

        Raises:
            DeltaregError: It serves nothing, does not exist, or cannot be asked.
        """
        stop = threading.Event()
        heard = _Heard(ref, ChannelWatch(self._context, _channel_of(ref), self._on_change, stop), stop)
        heard.watch.look()
        move = _read(heard)
        if move is None or move.ref is None:
            raise InvalidInput(f"{ref.channel} serves nothing", fix=f"deltareg promote {ref.line}:v1 {ref.channel}")
        with self._lock:
            before = self._heard.get(name)
            self._heard[name] = heard
        if before is not None:
            before.stop.set()
        heard.watch.start()
        return move.ref

    def hear(self, name: str) -> ChannelMove | None:
        """Return what a channel said last; None if the name is none that is listened to."""
        heard = self._heard.get(name)
        return None if heard is None else _read(heard)

    def forget(self, name: str) -> None:
        """Listen to a channel no longer."""
        with self._lock:
            heard = self._heard.pop(name, None)
        if heard is not None:
            heard.stop.set()

    def close(self) -> None:
        """Listen to none any more."""
        for name in list(self._heard):
            self.forget(name)


def _read(heard: _Heard) -> ChannelMove | None:
    if isinstance(heard.watch.error, NotFound):
        return ChannelMove(why=heard.watch.error.message)
    seen: ChannelInfo | None = heard.watch.seen
    if seen is None:
        return None
    release = Release.of(heard.ref.line, seen)
    if release is None:
        return ChannelMove(why=f"{heard.ref.channel} serves nothing")
    return ChannelMove(replace(heard.ref, revision=seen.revision), release)


def _channel_of(ref: Ref) -> FollowedChannel:
    if not is_channel(ref):
        raise AssertionError(f"unreachable: {ref} is no channel")
    return FollowedChannel(ref.line, ref.channel or "")
