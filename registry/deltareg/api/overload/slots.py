"""Slots of something scarce: nobody takes all of them, and whoever waits is served in turn.

A holder gets another one only while as many are left for others as it would hold then. So one alone has half of them at
most, and there is room for a newcomer whatever the others do. Those who wait take turns by holder, not by request: who
asks a hundred times waits for its own requests, and nobody else does.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager

from deltareg.errors import Unavailable
from deltareg.host.time_spent import spending


class FairSlots:
    """A number of slots that requests hold for a while; used on the event loop alone."""

    def __init__(
        self, slots: int, *, what: str, patience_s: float, waiting_most: int = 256, may_hold_all: bool = False
    ) -> None:
        """Begin with all of them free.

        Args:
            slots: How many there are.
            what: What somebody waits for, in the error: `uploads`.
            patience_s: How long a request waits for its turn, seconds.
            waiting_most: How many requests of one holder wait at once.
            may_hold_all: Whether one holder may have all of it, where one request may need as much.
        """
        self.slots, self._what, self._patience_s = slots, what, patience_s
        self._waiting_most, self._may_hold_all = waiting_most, may_hold_all
        self._free = slots
        self._held: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[tuple[int, asyncio.Future[None]]]] = {}

    @property
    def free(self) -> int:
        """How many slots nobody holds."""
        return self._free

    @asynccontextmanager
    async def hold(self, holder: Hashable, slots: int = 1) -> AsyncGenerator[None, None]:
        """Hold slots while the block lasts.

        Raises:
            Unavailable: None came free in time, or too many requests of the holder wait already.
        """
        await self.take(holder, slots)
        try:
            yield
        finally:
            self.leave(holder, slots)

    async def take(self, holder: Hashable, slots: int = 1) -> None:
        """Take slots, after a wait if need be; `leave` gives them back.

        Raises:
            Unavailable: None came free in time, or too many requests of the holder wait already.
        """
        slots = min(slots, self.slots)
        if not self._waiting and self._fits(holder, slots) and self._is_fair(holder, slots):
            self._give(holder, slots)
            return
        queue = self._waiting.setdefault(holder, deque())
        if len(queue) >= self._waiting_most:
            raise self._busy()
        turn = asyncio.get_running_loop().create_future()
        queue.append((slots, turn))
        self._serve()
        try:
            with spending("slot"):
                async with asyncio.timeout(self._patience_s):
                    await turn
        except TimeoutError as error:
            self._withdraw(holder, slots, turn)
            raise self._busy() from error
        except asyncio.CancelledError:
            self._withdraw(holder, slots, turn)
            raise

    def leave(self, holder: Hashable, slots: int = 1) -> None:
        """Give slots back, and serve who waits for them."""
        slots = min(slots, self.slots)
        self._free += slots
        self._held[holder] -= slots
        if not self._held[holder]:
            del self._held[holder]
        self._serve()

    def _fits(self, _holder: Hashable, slots: int) -> bool:
        return slots <= self._free

    def _is_fair(self, holder: Hashable, slots: int) -> bool:
        held = self._held.get(holder, 0)
        return not held or self._may_hold_all or held + slots <= self._free

    def _give(self, holder: Hashable, slots: int) -> None:
        self._free -= slots
        self._held[holder] = self._held.get(holder, 0) + slots

    def _serve(self) -> None:
        """Serve the holders in turn; one that needs more than is free keeps its place, so it is not passed for ever."""
        is_served = True
        while is_served:
            is_served = False
            for holder, queue in list(self._waiting.items()):
                slots, turn = queue[0]
                if not self._fits(holder, slots):
                    return
                if not self._is_fair(holder, slots):
                    continue
                queue.popleft()
                del self._waiting[holder]
                if queue:
                    self._waiting[holder] = queue  # behind all others
                if not turn.done():
                    self._give(holder, slots)
                    turn.set_result(None)
                is_served = True

    def _withdraw(self, holder: Hashable, slots: int, turn: "asyncio.Future[None]") -> None:
        if turn.done() and not turn.cancelled():
            self.leave(holder, slots)  # it came at the same moment
            return
        queue = self._waiting.get(holder)
        if queue is not None:
            left = deque(each for each in queue if each[1] is not turn)
            if left:
                self._waiting[holder] = left
            else:
                del self._waiting[holder]
        self._serve()

    def _busy(self) -> Unavailable:
        error = Unavailable(f"the server has its hands full with {self._what}", fix="try again in a few seconds")
        error.retry_after_s = max(1.0, self._patience_s / 5)
        return error
