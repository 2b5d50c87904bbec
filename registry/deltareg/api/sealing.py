"""Seals the new rows of the audit trail every few seconds, in each serving process."""

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from deltareg.api.background import running
from deltareg.errors import DeltaregError
from deltareg.service.registry import Registry
from deltareg.service.trail.keep import CheckpointStores, differs_from_kept
from deltareg.service.trail.seal import ROWS, SealBatch, seal_some

log = logging.getLogger(__name__)

EVERY_S = 10.0
"""How long a row of the audit trail waits to be sealed, seconds."""
_PAUSE_S = 0.02


class _Teller:
    """Stores checkpoints, and reports once whether the store locks them."""

    def __init__(self, places: CheckpointStores) -> None:
        self._places = places
        self._has_said = False

    def __call__(self, batch: SealBatch) -> None:
        is_locked = self._places.keep(batch)
        if not self._has_said:
            how = "locked, so that nobody takes them back" if is_locked else "without a lock"
            log.info("checkpoints of the audit trail are kept in the store, %s", how)
        self._has_said = True


def warn_of_differences(registry: Registry, places: CheckpointStores) -> None:
    """Log an error, before anything is sealed, if the log contradicts stored checkpoints."""
    if places.file is None:
        return
    try:
        difference = differs_from_kept(registry, places.file)
    except (DeltaregError, SQLAlchemyError) as error:
        log.warning("the log is not held against %s: %s", places.file, error)
        return
    if difference:
        log.error(
            "the log of the audit trail does not go on from what is kept in %s: %s. If a backup was"
            " restored, tell those who use the registry, whose clients refuse it until they do"
            " `deltareg audit accept`, and move the file away; else somebody rewrote the database",
            places.file,
            difference,
        )


@contextmanager
def sealing(
    registry: Registry, places: CheckpointStores, *, every_s: float = EVERY_S, rows: int = ROWS
) -> Generator[None, None, None]:
    """Seal what waits at once and then every so often while the block lasts, and at its end.

    Several processes may do this at once: one of them seals, the others find nothing to do. If the
    database does not answer, the next round tries again.

    Args:
        registry: The database, and the server's key.
        places: Where checkpoints are stored outside the database.
        every_s: How long to wait between two rounds.
        rows: The most rows that one checkpoint seals.
    """
    seal = partial(seal_some, registry, rows=rows, tell=_Teller(places))

    def work(ended: threading.Event) -> None:
        warn_of_differences(registry, places)
        while True:
            try:
                while seal():
                    if ended.wait(_PAUSE_S):  # others get their turn between batches
                        return
            except (DeltaregError, SQLAlchemyError) as error:  # nobody above: told, and goes on
                log.warning("the audit trail is not sealed, it is tried again: %s", error)
            if ended.wait(every_s):
                return

    try:
        with running(work, name="sealing"):
            yield
    finally:
        try:
            seal()
        except (DeltaregError, SQLAlchemyError) as error:
            log.warning("the end of the audit trail is not sealed: %s", error)
