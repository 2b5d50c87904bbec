"""Recounts: what quotas and lists count is counted anew, and put right."""

from deltareg.service.operations.operation import DAY_S, Operation, Place, StepContext, StepOutcome
from deltareg.service.upkeep.counts import mend_counts


def _recount(context: StepContext, _place: Place) -> StepOutcome:
    """Count everything, and mend what differs."""
    wrong = mend_counts(context.registry.engine)
    return StepOutcome(None, len(wrong), counts={"mended": len(wrong)} if wrong else {})


RECOUNT = Operation("recount", "counts anew what quotas and lists count", 7 * DAY_S, _recount)
