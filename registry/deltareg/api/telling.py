"""Numbers events and delivers them to webhooks, all the time, in each serving process.

Every process numbers. One of them delivers while it holds a lease, and another takes over if it is
killed. Deliveries wait for their receivers without a thread each, several at a time, and no single
receiver takes up the room of the others.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from uuid import uuid4

import anyio
import anyio.to_thread
from sqlalchemy.exc import SQLAlchemyError

from deltareg.db.events.rows import DeliveryRow
from deltareg.errors import DeltaregError, LeaseLost
from deltareg.service.registry import Registry
from deltareg.service.telling.drift import tell_drift
from deltareg.service.telling.due import DAY_S, PAUSES_S, DueDelivery, due_now, give_lease_back, settle, take_lease
from deltareg.service.telling.number import number_all, number_some
from deltareg.service.telling.send import TIMEOUT_S, AttemptOutcome, send

log = logging.getLogger(__name__)
_LAST_S = 5.0


@dataclass(frozen=True, slots=True)
class Pace:
    """The intervals and limits of deliveries.

    Attributes:
        look_s: How long to wait between two looks.
        lease_s: How long another process waits before it takes over from a killed one.
        drift_s: How long to wait between two looks at the fleet.
        timeout_s: How long a receiver may take.
        pauses_s: How long to wait after each try that failed.
        give_up_s: How long a delivery is tried before it is given up.
        at_once: How many deliveries are under way at once.
        of_one: How many deliveries of one webhook are under way at once.
    """

    look_s: float = 0.5
    lease_s: float = 10.0
    drift_s: float = 15.0
    timeout_s: float = TIMEOUT_S
    pauses_s: Sequence[float] = PAUSES_S
    give_up_s: float = DAY_S
    at_once: int = 64
    of_one: int = 8


@contextmanager
def telling(registry: Registry, pace: Pace = Pace()) -> Generator[None, None, None]:
    """Number waiting events at once, then number and deliver events while the block lasts.

    If the database does not answer, it is tried again. The end of the block waits some seconds for
    deliveries under way; those that have not arrived by then are still due.
    """
    ended = threading.Event()
    try:
        number_all(registry)
    except (DeltaregError, SQLAlchemyError) as error:
        log.warning("events are not numbered, it is tried again: %s", error)
    deliverer = _Deliverer(registry, pace, ended)
    working = threading.Thread(target=lambda: anyio.run(deliverer.work), daemon=True, name="telling")
    working.start()
    try:
        yield
    finally:
        ended.set()
        deliverer.wake()
        working.join()


@dataclass(slots=True)
class _Deliverer:
    """Sends due deliveries; its own coroutine changes its state, and a thread asks the database.

    Attributes:
        under_way: Deliveries being sent, or sent and not recorded yet, by their number.
        finished: The outcomes of attempts that are not recorded yet.
    """

    registry: Registry
    pace: Pace
    ended: threading.Event
    holder: str = field(default_factory=lambda: uuid4().hex)
    under_way: dict[int, DueDelivery] = field(default_factory=dict[int, DueDelivery])
    finished: dict[DeliveryRow, AttemptOutcome] = field(default_factory=dict[DeliveryRow, AttemptOutcome])
    _news: anyio.Event = field(default_factory=anyio.Event)
    _loop: asyncio.AbstractEventLoop | None = None
    _held_until: float = 0.0
    _drift_at: float = 0.0
    _has_failed: bool = False

    def wake(self) -> None:
        """Wake the deliverer to look at once; callable from any thread."""
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._news.set()

    async def work(self) -> None:
        """Work until the process ends."""
        self._loop = asyncio.get_running_loop()
        async with anyio.create_task_group() as group:
            while not self.ended.is_set():
                self._news = anyio.Event()
                for due in await anyio.to_thread.run_sync(self._look):
                    self.under_way[due.delivery.id] = due
                    group.start_soon(self._try, due)
                with anyio.move_on_after(self.pace.look_s):
                    await self._news.wait()
            with anyio.move_on_after(_LAST_S):
                while len(self.finished) < len(self.under_way):
                    self._news = anyio.Event()
                    await self._news.wait()
            group.cancel_scope.cancel()
        await anyio.to_thread.run_sync(self._end)

    async def _try(self, due: DueDelivery) -> None:
        row, outcome = due.delivery, AttemptOutcome(None, due.why_not)
        if due.message is not None:
            outcome = await send(due.message, self.registry.networks, timeout_s=self.pace.timeout_s)
        self.finished[row] = outcome
        self._news.set()

    def _look(self) -> list[DueDelivery]:
        """Record outcomes of attempts, number waiting events, and return deliveries to send."""
        return self._safely(self._settle_and_look) or []

    def _settle_and_look(self) -> list[DueDelivery]:
        self._settle()
        while number_some(self.registry):
            pass
        if time.monotonic() >= self._drift_at:
            self._drift_at = time.monotonic() + self.pace.drift_s
            tell_drift(self.registry)
        if self.under_way:
            self._holds_lease()
        return self._pick_due()

    def _pick_due(self) -> list[DueDelivery]:
        """Return the deliveries to send, as many as there is room for, if this process delivers."""
        free = self.pace.at_once - len(self.under_way)
        if free <= 0:
            return []
        of_hook: dict[str, int] = {}
        for due in list(self.under_way.values()):
            hook = due.delivery.webhook_id
            of_hook[hook] = of_hook.get(hook, 0) + 1
        full = [hook for hook, number in of_hook.items() if number >= self.pace.of_one]
        candidates = due_now(self.registry, under_way=set(self.under_way), full=full, limit=free)
        if not candidates or not self._holds_lease():
            return []
        picked: list[DueDelivery] = []
        for due in candidates:
            hook = due.delivery.webhook_id
            of_hook[hook] = of_hook.get(hook, 0) + 1
            if of_hook[hook] <= self.pace.of_one:
                picked.append(due)
        return picked

    def _holds_lease(self) -> bool:
        """Whether this process holds the lease; taken, or renewed after a third of its time."""
        now = time.monotonic()
        if now < self._held_until - self.pace.lease_s * 2 / 3:
            return True
        if not take_lease(self.registry, self.holder, lease_s=self.pace.lease_s):
            return False
        self._held_until = now + self.pace.lease_s
        return True

    def _settle(self) -> None:
        done = dict(self.finished)
        if not done:
            return
        try:
            settle(self.registry, self.holder, done, pauses_s=self.pace.pauses_s, give_up_s=self.pace.give_up_s)
        except LeaseLost as error:
            log.warning("%s: %d deliveries are tried again by it", error, len(done))
            self._held_until = 0.0
        for row in done:
            del self.finished[row], self.under_way[row.id]

    def _end(self) -> None:
        self._safely(self._settle)
        if self._held_until:
            self._safely(lambda: give_lease_back(self.registry, self.holder))

    def _safely(self, act: Callable[[], list[DueDelivery] | None]) -> list[DueDelivery] | None:
        """Run `act`; return None if the database does not answer, which is logged once."""
        try:
            deliveries = act()
        except (DeltaregError, SQLAlchemyError) as error:
            if not self._has_failed:
                log.warning("events are not told, it is tried again: %s", error)
            self._has_failed = True
            return None
        self._has_failed = False
        return deliveries
