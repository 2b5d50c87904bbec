"""The Xet routes, by which clients of 1.20 and later send all that is not within a commit.

A token route names an area and a ticket for it. Clients send xorbs and shards there. The rest of
the protocol, the search for other people's chunks and newer forms, is missing: it answers 404, and
clients go on without. Of an answer here, a client shows only the status.
"""

import re
import tempfile
import time
from functools import partial
from typing import BinaryIO, cast

import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from deltareg.api.app_state import state_of
from deltareg.api.auth import InRegistry
from deltareg.api.hub.hub_state import hub_state_of
from deltareg.api.hub.large_files import line_of
from deltareg.api.hub.refusals import HubRoute
from deltareg.api.hub.routes import Repository
from deltareg.api.hub.who import By, caller_of
from deltareg.api.sent_bodies import chunks_of, spool_body
from deltareg.db.hub.rows import AreaRow
from deltareg.errors import InvalidInput
from deltareg.service.hub.shards import SHARD_BYTES
from deltareg.service.hub.xet_store import find_area, give_area, take_shard, take_xorb

router = APIRouter(dependencies=[Depends(caller_of)], route_class=HubRoute, include_in_schema=False)
areas = APIRouter(prefix="/cas", route_class=HubRoute, include_in_schema=False)
_NAME = re.compile(r"[0-9a-f]{64}")
_SPOOL_BYTES = 1 << 20


@router.get("/api/models/{ns}/{name}/xet-write-token/{revision:path}")
def give_address(request: Request, registry: InRegistry, by: By, repository: Repository) -> Response:
    """Return the address for xorbs and shards, and the token to send them with."""
    line = line_of(repository, by)
    granted = give_area(registry, by, line)
    url = f"{str(request.base_url).rstrip('/')}/cas/{granted.area}"
    expires = int(time.time()) + granted.lives_s
    headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": granted.ticket, "X-Xet-Token-Expiration": str(expires)}
    body = {"casUrl": url, "accessToken": granted.ticket, "exp": expires}
    return JSONResponse(body, headers=headers)


def area_of(request: Request, registry: InRegistry, area: str) -> AreaRow:
    """Return the area that the request's ticket is for, before its body is read.

    Raises:
        Unauthenticated: The request has no ticket for the area.
    """
    ticket = request.headers.get("Authorization", "").partition(" ")[2].strip()
    return find_area(registry, area, ticket)


InArea = Depends(area_of)


@areas.post("/{area}/v1/xorbs/{prefix}/{name}")
async def receive_xorb(request: Request, registry: InRegistry, name: str, to: AreaRow = InArea) -> Response:
    """Receive a xorb, streamed to the store."""
    if _NAME.fullmatch(name) is None:
        raise InvalidInput("a xorb is named by 64 hexadecimal digits")
    length = request.headers.get("Content-Length", "")
    if not length.isascii() or not length.isdecimal():
        raise InvalidInput("a xorb is sent with its length")
    receive = partial(take_xorb, registry, to, name, size_bytes=int(length[:12]), body=chunks_of(request, "xorb"))
    state = state_of(request)
    async with state.bodies.hold(to.principal_id):
        await anyio.to_thread.run_sync(receive, limiter=state.body_limiter)
    return JSONResponse({"was_inserted": True})


@areas.post("/{area}/v1/shards")
async def receive_shard(request: Request, registry: InRegistry, to: AreaRow = InArea) -> Response:
    """Receive a shard, and assemble its files."""
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        await spool_body(request, "shard", spool, most_bytes=SHARD_BYTES)
        spool.seek(0)
        join = partial(take_shard, registry, to, cast("BinaryIO", spool))
        await anyio.to_thread.run_sync(join, limiter=hub_state_of(request).hub_joins)
    return JSONResponse({"result": 1})
