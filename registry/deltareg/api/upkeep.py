"""Drops what nobody needs any more, now and then, in each serving process.

These are the logs of runs that ended long ago, expired answers, answers that are repeated no more,
keys of leases, and events that nobody took out of the outbox. What was pushed before there were
proofs is proven, or queued to be, cards and weights that were not read yet are read, versions that
were not measured yet are measured, and what others recorded of pieces is offered.
"""

import logging
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from deltareg.api.background import running
from deltareg.api.observability.task_tally import TaskTally
from deltareg.errors import DeltaregError
from deltareg.service.push.backlog import settle_some_claims
from deltareg.service.registry import Registry
from deltareg.service.runs.log_retention import drop_some_logs
from deltareg.service.runs.result_retention import drop_some_results
from deltareg.service.upkeep.old_events import drop_some_events
from deltareg.service.upkeep.past_answers import drop_some_answers, drop_some_lease_keys
from deltareg.service.upkeep.recorded_pieces import offer_some_pieces
from deltareg.service.upkeep.unmeasured import measure_some_versions
from deltareg.service.upkeep.unread_cards import read_some_cards
from deltareg.service.upkeep.unread_weights import read_some_weights

log = logging.getLogger(__name__)

EVERY_S = 3_600.0
_PAUSE_S = 0.05


@contextmanager
def upkeep(
    registry: Registry, *, keep_logs_s: float | None, every_s: float = EVERY_S, tally: TaskTally | None = None
) -> Generator[None, None, None]:
    """Do the upkeep at once and then periodically, in a thread, while the block lasts.

    Several processes may do it at once. The end of the block waits for the current batch only. If
    the database does not answer, the next round tries again.

    Args:
        registry: The database.
        keep_logs_s: How long the log of a run is kept after its end, seconds; None for ever.
        every_s: How long to wait between two rounds, seconds.
        tally: Told how each of it goes.
    """
    chores = {
        "old logs of runs": partial(drop_some_logs, registry.engine, keep_s=keep_logs_s),
        "answers, and comparisons of what was deleted": partial(drop_some_results, registry.engine),
        "old events": partial(drop_some_events, registry.engine),
        "answers that are repeated no more": partial(drop_some_answers, registry.engine),
        "keys of leases of runs that ended": partial(drop_some_lease_keys, registry.engine),
        "places of pieces from before they were offered": partial(offer_some_pieces, registry),
        "claims from before there were proofs": partial(settle_some_claims, registry),
        "weights of versions from before they were compared": partial(read_some_weights, registry),
        "cards of versions from before they were read": partial(read_some_cards, registry),
        "versions from before cold pulls were measured": partial(measure_some_versions, registry),
    }
    with running(partial(_work, chores, every_s, tally or TaskTally()), name="upkeep"):
        yield


def _work(chores: Mapping[str, Callable[[], int]], every_s: float, tally: TaskTally, ended: threading.Event) -> None:
    while True:
        for what, drop_some in chores.items():
            try:
                with tally.doing(what):
                    _drop(what, drop_some, ended)
            except (DeltaregError, SQLAlchemyError) as error:  # nobody above: told, and goes on
                log.warning("%s: not done, it is tried again: %s", what, error)
        if ended.wait(every_s):
            return


def _drop(what: str, drop_some: Callable[[], int], ended: threading.Event) -> None:
    total = 0
    while dropped := drop_some():
        total += dropped
        if ended.wait(_PAUSE_S):  # others get their turn between batches
            break
    if total:
        log.info("%s: %d", what, total)
