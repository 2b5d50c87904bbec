"""Holding collection back while a backup runs."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from uuid import uuid4

import sqlalchemy as sa

from deltareg.db.session import with_retry
from deltareg.db.upkeep import holds as queries
from deltareg.errors import Conflict, Unavailable

_RENEW_S = queries.LEASE_S / 10


@contextmanager
def holding(engine: sa.Engine, *, renew_s: float = _RENEW_S) -> Generator[Callable[[], None], None, None]:
    """Delete no object of the store while the block lasts; yield what raises unless that held all the time.

    A process that is killed holds for five minutes more, at most.
    """
    hold_id = str(uuid4())
    with_retry(engine, partial(queries.begin_hold, hold_id=hold_id))
    done, lapsed = threading.Event(), threading.Event()

    def renew() -> None:
        while not done.wait(renew_s):
            try:
                if not with_retry(engine, partial(queries.renew_hold, hold_id=hold_id)):
                    lapsed.set()
                    return
            except Unavailable:  # the next time; the hold itself says whether that was too late
                continue

    def check() -> None:
        """Raise unless the hold lasted until now.

        Raises:
            Conflict: It ended; a collection may have deleted what was still to be copied.
        """
        if lapsed.is_set() or not with_retry(engine, partial(queries.renew_hold, hold_id=hold_id)):
            raise Conflict(
                "the backup was out of touch with the database for so long that a collection may have run",
                fix="run it again: it goes on with what is there",
            )

    renewing = threading.Thread(target=renew, name="backup hold", daemon=True)
    renewing.start()
    try:
        yield check
    finally:
        done.set()
        renewing.join()
        with_retry(engine, partial(queries.end_hold, hold_id=hold_id))
