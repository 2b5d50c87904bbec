"""A router that answers nobody without a token: all but the health of the server are made by it."""

from fastapi import APIRouter, Depends

from deltareg.api.auth import authenticate, reading
from deltareg.wire import API


def closed_router(tag: str, *, prefix: str = "") -> APIRouter:
    """Make a router below the API's own prefix.

    Prefix and dependencies are the router's own, for whatever `include_router` adds makes FastAPI
    analyse every route a second time: a third of a second of each start.

    Args:
        tag: The heading of its routes in the OpenAPI document.
        prefix: What their paths have in common below the API's prefix.
    """
    return APIRouter(prefix=API + prefix, tags=[tag], dependencies=[Depends(authenticate)])


def reading_router(tag: str) -> APIRouter:
    """Make a router for what is asked most: its routes read right after the token's check.

    A request without a token does not come to the route. The token is looked at by what the route
    gets instead of a caller (`auth.ByReading`), and nothing is read but through that.

    Args:
        tag: The heading of its routes in the OpenAPI document.
    """
    return APIRouter(prefix=API, tags=[tag], dependencies=[Depends(reading)])
