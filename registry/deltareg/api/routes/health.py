"""Health and metrics: the only routes that need no token."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from deltareg.api.app_state import state_of
from deltareg.errors import DeltaregError

router = APIRouter(tags=["health"])


@router.get("/livez", response_class=PlainTextResponse)
async def livez() -> str:
    """The process runs."""
    return "ok\n"


@router.get("/readyz", response_class=PlainTextResponse)
async def readyz(request: Request) -> str:
    """The database answers and has the right schema, and the server's own disks have room."""
    problem = await state_of(request).health.problem.take()
    if problem is not None:
        raise problem.with_traceback(None)
    return "ok\n"


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Counters in the Prometheus text format."""
    text = await state_of(request).health.text.take()
    if isinstance(text, DeltaregError):
        raise text.with_traceback(None)
    return Response(text, media_type="text/plain; version=0.0.4")
