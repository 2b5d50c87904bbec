"""Retention by itself: deletes what rules let go, a batch of a line at a time."""

from deltareg.service.operations.operation import DAY_S, Operation, Place, StepContext, StepOutcome, number_in
from deltareg.service.retention.retaining import next_line, retain_some


def _retain(context: StepContext, place: Place) -> StepOutcome:
    """Delete a batch of the next line that has one."""
    after = number_in(place, "line")
    line = next_line(context.registry, after)
    if line is None:
        return StepOutcome(None)
    deleted = retain_some(context.registry, line)
    if deleted:
        return StepOutcome({"line": after}, deleted, counts={"deleted": deleted})
    return StepOutcome({"line": line.id}, counts={"lines": 1})


RETAIN = Operation("retain", "deletes the versions that rules of retention let go", DAY_S, _retain)
