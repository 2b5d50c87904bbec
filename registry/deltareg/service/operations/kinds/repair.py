"""Repairs: what is damaged is healed from where it is whole, and the rest marked; in the name of who asked."""

from deltareg.db.access.grants import holdings_of
from deltareg.db.access.principals import principal_name
from deltareg.db.session import read
from deltareg.errors import Forbidden
from deltareg.service.authority.caller_grants import grants_within, read_holdings
from deltareg.service.authority.grants import Right
from deltareg.service.operations.operation import Operation, Place, StepContext, StepOutcome, text_in
from deltareg.service.registry import Caller
from deltareg.service.upkeep.fsck import run_fsck

_RIGHTS = frozenset({Right.ADMIN.value})
_SECONDS = 5.0


def _repair(context: StepContext, place: Place) -> StepOutcome:
    """Repair for some seconds."""
    report = run_fsck(
        context.registry,
        _who_answers(context),
        read_data=False,
        repairs=True,
        after=text_in(place, "after"),
        seconds=_SECONDS,
    )
    counts = {"packs": report.packs} if report.packs else {}
    for finding in report.findings:
        counts[finding.kind] = counts.get(finding.kind, 0) + 1
    return StepOutcome(None if report.after is None else {"after": report.after}, report.packs, counts=counts)


def _who_answers(context: StepContext) -> Caller:
    """Return who asked for the repair, with the rights that they have now."""
    if context.set_by is None:
        raise Forbidden("nobody has asked for a repair", fix="deltareg upkeep run repair")
    with read(context.registry.engine) as conn:
        grants = grants_within(_RIGHTS, read_holdings(holdings_of(conn, context.set_by)), None)
        return Caller(principal_name(conn, context.set_by), context.set_by, None, grants)


REPAIR = Operation("repair", "heals what the store lost from where it is whole", 0.0, _repair)
