"""Promotes what passes on channels that do so by themselves, in each serving process.

A verdict does this at once. This is for what passes without one, a freeze that has ended or a
signature that came, and for what a server left undone when it was killed.
"""

import logging
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from deltareg.api.background import running
from deltareg.db.channels.auto_promotions import newest_change
from deltareg.db.session import read
from deltareg.errors import DeltaregError
from deltareg.service.channels.auto_promote import promote_what_passes
from deltareg.service.registry import Registry

log = logging.getLogger(__name__)

EVERY_S = 60.0
_ANYWAY_S = 600.0


@contextmanager
def promoting(registry: Registry, *, every_s: float = EVERY_S) -> Generator[None, None, None]:
    """Promote what passes at once and then every so often, while the block lasts.

    Where nothing has changed in the registry, only time could let something pass: then it looks
    every ten minutes.
    """

    def work(ended: threading.Event) -> None:
        looked_at, change = float("-inf"), -1
        while True:
            try:
                with read(registry.engine) as conn:
                    newest = newest_change(conn)
                if newest != change or time.monotonic() - looked_at >= _ANYWAY_S:
                    promote_what_passes(registry)
                    looked_at, change = time.monotonic(), newest
            except (DeltaregError, SQLAlchemyError) as error:  # nobody above: told, and goes on
                log.warning("nothing is promoted by itself, it is tried again: %s", error)
            if ended.wait(every_s):
                return

    with running(work, name="promoting"):
        yield
