"""Holding back, while a backup runs, what would take from it: a hold that a thread renews until the block ends."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from uuid import uuid4

import sqlalchemy as sa

from deltareg.db.session import with_retry
from deltareg.db.upkeep import holds as queries
from deltareg.errors import Conflict, DeltaregError

_RENEW_S = queries.LEASE_S / 10


@contextmanager
def holding(engine: sa.Engine, *, renew_s: float = _RENEW_S) -> Generator[Callable[[], None], None, None]:
    """Delete no object of the store while the block lasts; yield what raises unless that held all the time.

    A process that is killed holds for five minutes more, at most.
    """
    hold_id = str(uuid4())
    with_retry(engine, partial(queries.begin_hold, hold_id=hold_id))

    def renew() -> bool:
        return with_retry(engine, partial(queries.renew_hold, hold_id=hold_id))

    try:
        with renewing(renew, every_s=renew_s, lost="the database for so long that a collection may have run") as check:
            yield check
    finally:
        with_retry(engine, partial(queries.end_hold, hold_id=hold_id))


@contextmanager
def renewing(renew: Callable[[], bool], *, every_s: float, lost: str) -> Generator[Callable[[], None], None, None]:
    """Renew a hold while the block lasts; yield what renews it at once, and raises unless it held all the time.

    Args:
        renew: Renews it, called by several threads; returns False if it was over.
        every_s: How often.
        lost: What it was out of touch with if it is over, and what may have come of that.
    """
    done, lapsed = threading.Event(), threading.Event()

    def renew_on() -> None:
        while not done.wait(every_s):
            try:
                if not renew():
                    lapsed.set()
                    return
            except DeltaregError:  # the next time; the hold itself says whether that was too late
                continue

    def check() -> None:
        """Raise unless the hold lasted until now.

        Raises:
            Conflict: It ended.
        """
        if lapsed.is_set() or not renew():
            raise Conflict(f"this was out of touch with {lost}", fix="run it again: it goes on with what is there")

    thread = threading.Thread(target=renew_on, name="backup hold", daemon=True)
    thread.start()
    try:
        yield check
    finally:
        done.set()
        thread.join()
