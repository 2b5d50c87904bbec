"""Health and metrics: the only routes that need no token."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from deltareg.api.app_state import state_of

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
    """Counters in the Prometheus text format; what the server counts itself is told without the database, too."""
    text = await state_of(request).health.text.take()
    return Response(text, media_type="text/plain; version=0.0.4")
