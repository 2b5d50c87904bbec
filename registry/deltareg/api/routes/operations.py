"""Tasks of operators: collect garbage, check the store against the database."""

from fastapi import Request

from deltareg.api.app_state import state_of
from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.parameters import Seconds
from deltareg.service.upkeep import collect, fsck, pieces, plan
from deltareg.wire import CheckInfo, CheckMore, CollectReport, FsckReport

router = closed_router("operations")


@router.get("/gc/plans")
def plan_collection(
    request: Request, registry: InRegistry, by: By, grace_s: Seconds = None, keep_forms_s: Seconds = None
) -> CollectReport:
    """Say what a collection would free."""
    state = state_of(request)
    grace = state.upload_grace_s if grace_s is None else grace_s
    keep = state.keep_logs_s
    forms = state.keep_forms_s if keep_forms_s is None else keep_forms_s
    deleted = state.keep_deleted_s if grace_s is None else grace_s
    return plan.plan_collection(registry, by, grace_s=grace, deleted_s=deleted, keep_logs_s=keep, keep_forms_s=forms)


@router.post("/gc/runs")
def run_collection(
    request: Request, registry: InRegistry, by: By, grace_s: Seconds = None, keep_forms_s: Seconds = None
) -> CollectReport:
    """Free what nothing needs, and drop the logs of runs that ended long ago."""
    state = state_of(request)
    grace = state.upload_grace_s if grace_s is None else grace_s
    keep = state.keep_logs_s
    forms = state.keep_forms_s if keep_forms_s is None else keep_forms_s
    deleted = state.keep_deleted_s if grace_s is None else grace_s
    return collect.run_collection(registry, by, grace_s=grace, deleted_s=deleted, keep_logs_s=keep, keep_forms_s=forms)


@router.post("/fsck")
def check_store(
    registry: InRegistry, by: By, *, read_data: bool = False, repair: bool = False, after: str | None = None
) -> FsckReport:
    """Hold the store against the database; with `read_data`, hash every pack again.

    With `repair`, heal what can be healed, and name what has to be pushed again. With `after`, do
    some seconds of it: the first with an empty one, and each other with that of the one before.
    """
    return fsck.run_fsck(registry, by, read_data=read_data, repairs=repair, after=after)


@router.post("/fsck/checks")
def check_pieces(registry: InRegistry, by: By, body: CheckMore) -> CheckInfo:
    """Begin a check of pieces by workers, or queue more of one."""
    return pieces.go_on(registry, by, body)


@router.get("/fsck/checks/{check_id}")
def show_check(registry: InRegistry, by: By, check_id: str) -> CheckInfo:
    """Show how far a check of pieces is."""
    return pieces.show_check(registry, by, check_id)
