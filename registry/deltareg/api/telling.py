"""What a serving process does all the time: number events, and deliver them to webhooks.

Every process numbers; one of them delivers, while it holds a lease, and another goes on where it
was killed. Receivers are waited for without a thread each, several at a time, and no one of them
takes up what others need.
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
    """How often and how long.

    Attributes:
        look_s: How long to wait between two looks.
        lease_s: How long another process waits for one that was killed.
        drift_s: How long to wait between two looks at the fleet.
        timeout_s: How long a receiver may take.
        pauses_s: How long to wait after each try that failed.
        give_up_s: After how long a try that fails is the last.
        at_once: How many receivers are waited for at once.
        of_one: How many answers of one webhook are waited for at once.
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
    """Number what waits at once, and then tell of events while the block lasts.

    Where the database does not answer, it is tried again. At the end what is under way is waited
    for some seconds; what did not arrive by then is due as before.
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
    """Sends what is due; its own coroutine changes what it knows, and a thread asks the database.

    Attributes:
        under_way: What is being sent or was and is not written down, by the delivery's number.
        finished: What became of tries that are not written down yet.
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
        """Let it look at once; from any thread."""
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
        """Write down what became of tries, number what waits, and give what is to be sent."""
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
        """Give what is to be sent, as far as there is room, if it is this process that delivers."""
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
        """Whether it is this process that delivers; renewed when a third of the time is over."""
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
        """Do it; where the database does not answer, say so once until it does again."""
        try:
            deliveries = act()
        except (DeltaregError, SQLAlchemyError) as error:
            if not self._has_failed:
                log.warning("events are not told, it is tried again: %s", error)
            self._has_failed = True
            return None
        self._has_failed = False
        return deliveries
