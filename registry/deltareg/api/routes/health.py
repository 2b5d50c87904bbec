"""Health and metrics: the only routes that need no token."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse

from deltareg.api.app_state import state_of

router = APIRouter(tags=["health"])
_NOTHING: list[Literal["store"]] = []


@router.get("/livez", response_class=PlainTextResponse)
async def livez() -> str:
    """The process runs."""
    return "ok\n"


@router.get("/readyz", response_class=PlainTextResponse)
async def readyz(request: Request, exclude: Annotated[list[Literal["store"]], Query()] = _NOTHING) -> str:
    """The database answers and has the right schema, disks of its own have room, the store takes and gives bytes.

    With `exclude=store` the last is left out: a server whose store is away still resolves and rolls back.
    """
    health = state_of(request).health
    looks = [health.problem] if "store" in exclude else [health.problem, health.store]
    for look in looks:
        problem = await look.take()
        if problem is not None:
            raise problem.with_traceback(None)
    return "ok\n"


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Counters in the Prometheus text format; what the server counts itself is told without the database, too."""
    text = await state_of(request).health.text.take()
    return Response(text, media_type="text/plain; version=0.0.4")
