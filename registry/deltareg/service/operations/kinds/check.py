"""The store held against the database, without reading bytes: what is wrong is counted and logged."""

import logging

from deltareg.service.operations.operation import DAY_S, Operation, Place, StepContext, StepOutcome, text_in
from deltareg.service.upkeep.fsck import check_part

log = logging.getLogger(__name__)
_SECONDS = 5.0


def _check(context: StepContext, place: Place) -> StepOutcome:
    """Check for some seconds."""
    part = check_part(
        context.registry.engine,
        context.registry.store,
        read_data=False,
        after=text_in(place, "after"),
        seconds=_SECONDS,
    )
    counts = {"packs": part.packs} if part.packs else {}
    for finding in part.findings:
        kind = f"{finding.kind} found"
        counts[kind] = counts.get(kind, 0) + 1
        log.warning("the store differs from the database: %s: %s: %s", finding.kind, finding.subject, finding.detail)
    return StepOutcome(None if part.cursor is None else {"after": part.cursor}, part.packs, counts=counts)


CHECK = Operation("check", "holds the store against the database; reads no bytes", 7 * DAY_S, _check)
