"""Sending by Xet, as clients of 1.20 and later do with all that does not come within a commit.

A token route names an area and a ticket for it. Xorbs and shards are sent there; what the protocol
has beside them, the search for chunks of others and newer forms, is not here: 404, and clients go
on without. The client shows nothing of what is said here but its status.
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
    """Say where to send xorbs and shards to, and by which token."""
    line = line_of(repository)
    granted = give_area(registry, by, line)
    url = f"{str(request.base_url).rstrip('/')}/cas/{granted.area}"
    expires = int(time.time()) + granted.lives_s
    headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": granted.ticket, "X-Xet-Token-Expiration": str(expires)}
    body = {"casUrl": url, "accessToken": granted.ticket, "exp": expires}
    return JSONResponse(body, headers=headers)


def area_of(request: Request, registry: InRegistry, area: str) -> AreaRow:
    """Find the area that a request is for, by its ticket; before anything of its body is read.

    Raises:
        Unauthenticated: It has none.
    """
    ticket = request.headers.get("Authorization", "").partition(" ")[2].strip()
    return find_area(registry, area, ticket)


InArea = Depends(area_of)


@areas.post("/{area}/v1/xorbs/{prefix}/{name}")
async def receive_xorb(request: Request, registry: InRegistry, name: str, to: AreaRow = InArea) -> Response:
    """Take a xorb, streamed to the store."""
    if _NAME.fullmatch(name) is None:
        raise InvalidInput("a xorb is named by 64 hexadecimal digits")
    length = request.headers.get("Content-Length", "")
    if not length.isascii() or not length.isdecimal():
        raise InvalidInput("a xorb is sent with its length")
    receive = partial(take_xorb, registry, to, name, size_bytes=int(length[:12]), body=chunks_of(request, "xorb"))
    await anyio.to_thread.run_sync(receive, limiter=state_of(request).body_limiter)
    return JSONResponse({"was_inserted": True})


@areas.post("/{area}/v1/shards")
async def receive_shard(request: Request, registry: InRegistry, to: AreaRow = InArea) -> Response:
    """Take a shard, and put its files together."""
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        await spool_body(request, "shard", spool, most_bytes=SHARD_BYTES)
        spool.seek(0)
        join = partial(take_shard, registry, to, cast("BinaryIO", spool))
        await anyio.to_thread.run_sync(join, limiter=hub_state_of(request).hub_joins)
    return JSONResponse({"result": 1})
