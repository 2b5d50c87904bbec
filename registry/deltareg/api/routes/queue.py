"""The current queue, the workers, and the logs of runs."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from deltareg.api.app_state import state_of
from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.waiting import wait_until
from deltareg.errors import DeltaregError
from deltareg.refs import Ref
from deltareg.service.runs import log
from deltareg.service.runs import queue as service
from deltareg.service.runs.demand import PoolOffer, demand_of, read_labels
from deltareg.wire import API, LogAppend, Page, PoolDemand, RunInfo, RunKindName, RunLog, RunState, WorkerInfo

router = closed_router("runs")
open_router = APIRouter(prefix=API, tags=["runs"])


@router.get("/queue")
def list_queue(
    registry: InRegistry, by: By, ref: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page[RunInfo]:
    """List what runs, and then what waits, the next one first."""
    of = None if ref is None else by.current_ref(Ref.parse(ref))
    return service.list_queue(registry, by, ref=of, cursor=cursor, limit=limit)


@open_router.get("/queue/demand")
async def count_demand(
    request: Request,
    *,
    pool: Annotated[str, Query(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")],
    label: Annotated[list[str], Query()] = [],  # noqa: B006  # FastAPI copies it
    what: Annotated[list[RunKindName], Query()] = [],  # noqa: B006
    asked: bool = False,
) -> PoolDemand:
    """Count the runs that want a worker of a pool; like the metrics, it needs no token.

    Its workers offer each `label=name=value` and take the kinds of run that `what` names. With
    `asked`, runs that ask for nothing are left to other pools. Runs that the pool's workers do not
    know are left out, as those of an older release do not know a new check.
    """
    seen = await state_of(request).health.queue.take()
    if isinstance(seen, DeltaregError):
        raise seen.with_traceback(None)
    return demand_of(seen, PoolOffer(pool, read_labels(label), tuple(what), is_for_asked=asked))


@router.get("/workers")
def list_workers(registry: InRegistry, by: By) -> Page[WorkerInfo]:
    """List the workers of the last day, and what each of them runs."""
    return service.list_workers(registry, by)


@router.get("/runs/{run_id}/log")
async def read_log(
    request: Request,
    registry: InRegistry,
    by: By,
    run_id: str,
    after: Annotated[int, Query(ge=0)] = 0,
    wait: Annotated[float, Query(ge=0, le=60)] = 0,
    seen: RunState | None = None,
) -> RunLog:
    """Read a log on from a line; with `wait`, answer when there is more or the state is not `seen`.

    Without `seen` only lines are waited for.
    """

    def look() -> RunLog:
        return log.read_log(registry, by, run_id, after=after)

    def is_news(found: RunLog) -> bool:
        return bool(found.items) or (seen is not None and found.run.state != seen)

    return await wait_until(request, look, is_news, wait_s=wait, longest_pause_s=1.0)


@router.post("/runs/{run_id}/log", status_code=204)
def append_log(registry: InRegistry, by: By, run_id: str, body: LogAppend) -> None:
    """Append to the log of a run, as the worker that holds it."""
    log.append_log(registry, by, run_id, body)
