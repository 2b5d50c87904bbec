"""Collection by itself: frees what nothing needs, a batch of a stage at a time."""

from deltareg.db.session import with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.db.upkeep import collection as queries
from deltareg.service.operations.operation import DAY_S, Operation, Place, StepContext, StepOutcome, number_in, text_in
from deltareg.service.push.staging import sweep
from deltareg.service.upkeep.collect import (
    CollectionStep,
    ReleaseStep,
    delete_some,
    mark_some,
    release_forms,
    release_some,
    sweep_some,
)


def _collect(context: StepContext, place: Place) -> StepOutcome:
    """Do a batch of a stage: versions, uploads, leftovers of failed pushes, packs."""
    engine, store, keeping = context.registry.engine, context.registry.store, context.keeping
    after = number_in(place, "after")
    before, so_far = number_in(place, "before") or None, number_in(place, "released")
    match text_in(place, "stage"):
        case "" | "versions":
            return _continue_walk(release_some(engine, round(keeping.deleted_s * US_PER_S), before), so_far)
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


def _continue_walk(step: ReleaseStep, so_far: int) -> StepOutcome:
    """Go on with older versions; after the oldest begin again, unless the whole walk released none."""
    of_walk = so_far + step.released
    place: Place = {"stage": "versions" if of_walk else "uploads"}
    if step.before is not None:
        place = {"stage": "versions", "before": step.before, "released": of_walk}
    return StepOutcome(place, step.released, counts={"versions": step.released} if step.released else {})


def _outcome(stage: str, step: CollectionStep, *, then: str | None) -> StepOutcome:
    counts = {"objects": len(step.sizes), "bytes": sum(step.sizes)} if step.sizes else {}
    place: Place | None = None if then is None else {"stage": then}
    if step.after is not None:
        place = {"stage": stage, "after": step.after}
    return StepOutcome(place, len(step.sizes), counts=counts)


COLLECT = Operation("collect", "frees bytes that nothing refers to", DAY_S, _collect)
