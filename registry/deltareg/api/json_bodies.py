"""JSON bodies, read within a budget: of what a request costs in memory, its sender decides nothing.

Parsed JSON takes many times its length: an empty object is 3 bytes of text and 72 of memory. So brackets are counted
before anything is parsed, and a long document lies in a file until its turn has come.
"""

import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, BinaryIO, Final, cast

from anyio import to_thread
from fastapi import Request, Response
from fastapi.routing import APIRoute

from deltareg.api.app_state import state_of
from deltareg.api.sent_bodies import spool_body
from deltareg.documents.json_values import parse_json
from deltareg.errors import InvalidInput
from deltareg.shared_state import HOLDER

_IN_MEMORY_BYTES: Final = 64 << 10
_LONG_BYTES: Final = 1 << 20
_FREE_PARTS: Final = 4_096
_BYTES_OF_CONTAINER: Final = 24
_BYTES_OF_VALUE: Final = 6


class _ParsedRequest(Request):
    """A request whose JSON is parsed already."""

    def __init__(self, request: Request, value: object) -> None:
        super().__init__(request.scope, request.receive)
        self._body = b"{}"  # not nothing, and no second copy of the text
        self._json = value


class JsonRoute(APIRoute):
    """A route that reads its JSON body within the budget."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request, once its body is read."""
        inner = super().get_route_handler()
        if self.body_field is None:
            return inner

        async def handle(request: Request) -> Response:
            if not request.headers.get("Content-Type", "").lower().startswith("application/json"):
                return await inner(request)
            async with AsyncExitStack() as held:
                raw = await _read(request, held)
                if not raw:
                    return await inner(request)
                # A long one is parsed in a thread: elsewhere it would hold up every other request until it is done.
                value = parse_sent(raw) if len(raw) <= _LONG_BYTES else await to_thread.run_sync(parse_sent, raw)
                parsed = _ParsedRequest(request, value)
                del raw, value
                return await inner(parsed)

        return handle


async def _read(request: Request, held: AsyncExitStack) -> bytes:
    """Read a body; a long one comes into memory when there are slots for it, and holds them until the answer."""
    text = request.headers.get("Content-Length", "0")
    length = int(text) if text.isascii() and text.isdecimal() else 0
    if length <= _IN_MEMORY_BYTES:
        return await request.body()
    state = state_of(request)
    with tempfile.TemporaryFile() as spool:
        await spool_body(request, "document", cast("BinaryIO", spool), most_bytes=length)
        if length > _LONG_BYTES:
            await held.enter_async_context(state.documents.hold(getattr(request.state, HOLDER, ""), length))
        spool.seek(0)
        return await to_thread.run_sync(spool.read)


def parse_sent(raw: bytes) -> object:
    """Parse JSON that somebody sent.

    Raises:
        InvalidInput: It is no JSON, is nested too deep, or has so many parts that it would take too much memory.
    """
    _check_parts(raw)
    try:
        return parse_json(raw)
    except ValueError as error:
        raise InvalidInput(f"the body is no JSON: {error}") from error


def _check_parts(raw: bytes) -> None:
    containers = raw.count(b"{") + raw.count(b"[")
    values = raw.count(b",") if len(raw) > _LONG_BYTES else 0
    if containers > _FREE_PARTS + len(raw) // _BYTES_OF_CONTAINER or values > len(raw) // _BYTES_OF_VALUE:
        raise InvalidInput(
            f"the document has {containers} objects and lists in {len(raw)} bytes, which is more than any of ours"
        )
