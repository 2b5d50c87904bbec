"""Does the operations that are due, in each serving process; the database says who does which."""

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from deltareg.api.background import running
from deltareg.errors import DeltaregError
from deltareg.service.operations.operation import KeepingTimes
from deltareg.service.operations.working import OperationPace, OperationWorker
from deltareg.service.registry import Registry

log = logging.getLogger(__name__)

LOOK_S = 5.0
_KEEPING, _PACE = KeepingTimes(), OperationPace()


@contextmanager
def upkeep(
    registry: Registry, keeping: KeepingTimes = _KEEPING, *, pace: OperationPace = _PACE, look_s: float = LOOK_S
) -> Generator[None, None, None]:
    """Do what is due, in a thread, while the block lasts.

    The end of the block waits for the step under way only. If the database does not answer, it is
    tried again.

    Args:
        registry: The database and the store.
        keeping: How long what has done its work is kept.
        pace: How long leases and pauses are.
        look_s: How long to wait between two looks, seconds.
    """

    def work(ended: threading.Event) -> None:
        worker = OperationWorker(registry, keeping, rest=ended.wait, pace=pace)
        is_ready = False
        while not ended.is_set():
            try:
                if not is_ready:
                    worker.add_operations()
                    is_ready = True
                while worker.work_on_one() and not ended.is_set():
                    pass
            except (DeltaregError, SQLAlchemyError) as error:  # nobody above: told, and goes on
                log.warning("nothing is kept in order now, it is tried again: %s", error)
            ended.wait(look_s)

    with running(work, name="upkeep"):
        yield
