"""Routers that answer nobody without a token: all but the health routes are created here."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, TypeVar, get_type_hints

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from deltareg.api.auth import authenticate, reading
from deltareg.api.json_bodies import JsonRoute
from deltareg.wire import API

T = TypeVar("T")


def closed_router(tag: str, *, prefix: str = "") -> APIRouter:
    """Create a router below the API's own prefix.

    The router has its own prefix and dependencies: whatever `include_router` adds makes FastAPI
    analyse every route a second time, which costs a third of a second of each start.

    Args:
        tag: The heading of its routes in the OpenAPI document.
        prefix: What their paths share below the API's prefix.
    """
    return APIRouter(prefix=API + prefix, tags=[tag], dependencies=[Depends(authenticate)], route_class=JsonRoute)


class ReadingRoute(APIRoute):
    """A route whose endpoint takes the request, `by`, `asked` and the names in its path, and nothing else.

    FastAPI documents it like any other. It does not resolve the endpoint's dependencies at each
    request, which takes longer than most answers of such a route do.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request: it runs the endpoint in a thread, or awaits it where it may wait."""
        query: type[BaseModel] = get_type_hints(self.endpoint)["asked"]

        async def handle(request: Request) -> Response:
            by = await reading(request)
            try:
                parsed_query = query.model_validate(request.query_params)
            except ValidationError as error:
                problems = error.errors(include_url=False)
                raise RequestValidationError([each | {"loc": ("query", *each["loc"])} for each in problems]) from error
            act = partial(self.endpoint, request, by=by, asked=parsed_query, **request.path_params)
            return await (act() if iscoroutinefunction(self.endpoint) else in_thread(act))

        return handle


async def in_thread(act: Callable[[], T]) -> T:
    """Run something that waits in a thread of the loop: anyio's, which others take, cost a tenth of an answer."""
    return await asyncio.get_running_loop().run_in_executor(None, act)


def reading_router(tag: str, *, prefix: str = "") -> APIRouter:
    """Create a router for the most frequent requests: it reads right after the token's check.

    A request without a token does not reach the route. The route gets `auth.ByReading` instead of a
    caller; that checks the token, and the route reads nothing except through it.

    Args:
        tag: The heading of its routes in the OpenAPI document.
        prefix: What their paths share below the API's prefix.
    """
    return APIRouter(prefix=API + prefix, tags=[tag], dependencies=[Depends(reading)], route_class=ReadingRoute)
