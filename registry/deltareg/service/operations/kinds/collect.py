"""Collection by itself: frees what nothing needs, a batch of a stage at a time."""

from deltareg.db.session import with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.db.upkeep import collection as queries
from deltareg.service.operations.operation import DAY_S, Operation, Place, StepContext, StepOutcome, number_in, text_in
from deltareg.service.push.staging import sweep
from deltareg.service.upkeep.collect import (
    CollectionStep,
    delete_some,
    mark_some,
    release_forms,
    release_some,
    sweep_some,
)

_MOST = 100


def _collect(context: StepContext, place: Place) -> StepOutcome:
    """Do a batch of a stage: versions, uploads, leftovers of failed pushes, packs."""
    engine, store, keeping = context.registry.engine, context.registry.store, context.keeping
    after = number_in(place, "after")
    match text_in(place, "stage"):
        case "" | "versions":
            released = release_some(engine, round(keeping.deleted_s * US_PER_S), most=_MOST)
            stage = "versions" if released else "uploads"
            return StepOutcome({"stage": stage}, released, counts={"versions": released} if released else {})
        case "uploads":
            release_forms(engine, round(keeping.forms_s * US_PER_S))
            idle_us = round(keeping.upload_grace_s * US_PER_S)
            expired = with_retry(engine, lambda conn: queries.expire_uploads(conn, idle_us=idle_us))
            with_retry(engine, queries.drop_manifests)
            sweep(engine, store, idle_s=keeping.upload_grace_s)
            return StepOutcome({"stage": "leftovers"}, expired, counts={"uploads": expired} if expired else {})
        case "leftovers":
            return _outcome("leftovers", sweep_some(engine, store, after), then="mark")
        case "mark":
            return _outcome("mark", mark_some(engine, after), then="delete")
        case _:
            return _outcome("delete", delete_some(engine, store, after), then=None)


def _outcome(stage: str, step: CollectionStep, *, then: str | None) -> StepOutcome:
    counts = {"objects": len(step.sizes), "bytes": sum(step.sizes)} if step.sizes else {}
    place: Place | None = None if then is None else {"stage": then}
    if step.after is not None:
        place = {"stage": stage, "after": step.after}
    return StepOutcome(place, len(step.sizes), counts=counts)


COLLECT = Operation("collect", "frees bytes that nothing refers to", DAY_S, _collect)
