"""Health and metrics: the only routes that need no token."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from deltareg.api.app_state import state_of
from deltareg.api.auth import InRegistry
from deltareg.db.session import check_schema
from deltareg.errors import DiskFull, Unavailable
from deltareg.service.channels.fleet import count_followers
from deltareg.service.quotas.shares import quota_shares
from deltareg.service.runs.queue import queue_depth, workforce
from deltareg.service.runs.second_look import count_disputes

router = APIRouter(tags=["health"])


@router.get("/livez", response_class=PlainTextResponse)
async def livez() -> str:
    """The process runs."""
    return "ok\n"


@router.get("/readyz", response_class=PlainTextResponse)
def readyz(request: Request, registry: InRegistry) -> str:
    """The database answers and has the right schema, and the server's own disks have room."""
    check_schema(registry.engine)
    room = state_of(request).room
    if room is not None:
        try:
            room.check()
        except DiskFull as error:
            raise Unavailable(error.message, fix=error.fix) from error  # 503 is what probes know
    return "ok\n"


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request, registry: InRegistry) -> Response:
    """Counters in the Prometheus text format."""
    counters = state_of(request).metrics
    counters.set_queue(queue_depth(registry))
    counters.set_workers(workforce(registry))
    counters.set_followers(count_followers(registry))
    counters.set_quotas(quota_shares(registry))
    counters.set_disputes(count_disputes(registry))
    return Response(counters.text(), media_type="text/plain; version=0.0.4")
