"""Reads request bodies in a thread: they arrive on the event loop, a thread writes the store."""

from collections.abc import Iterator
from typing import Protocol

import anyio.from_thread
from fastapi import Request
from starlette.requests import ClientDisconnect

from deltareg.errors import InvalidInput, Unavailable

# The loop reads 64 KiB at a time, and each question of a thread to it takes as long as that.
_STEP_BYTES = 1 << 20


def chunks_of(request: Request, what: str) -> Iterator[bytes]:
    """Yield a request's body piece by piece, to a thread that asks when it has room for more.

    Args:
        request: The request.
        what: What the body is, for the error message.

    Raises:
        Unavailable: The connection was cut.
    """
    body = request.stream()

    async def next_step() -> bytes:
        parts, size = list[bytes](), 0
        while size < _STEP_BYTES and (chunk := await anext(body, None)) is not None:
            parts.append(chunk)
            size += len(chunk)
        return b"".join(parts)

    try:
        while step := anyio.from_thread.run(next_step):
            yield step
    except ClientDisconnect as error:
        raise Unavailable(f"the connection was cut while the {what} came in") from error


class Spool(Protocol):
    """The file that a body is written to."""

    def write(self, part: bytes, /) -> int:
        """Append a part of the body."""
        ...


async def spool_body(request: Request, what: str, spool: Spool, *, most_bytes: int) -> None:
    """Write a request's whole body into a file, before it is processed.

    Raises:
        InvalidInput: The body is longer than `most_bytes`.
        Unavailable: The connection was cut.
    """
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most_bytes:
                raise InvalidInput(f"a {what} has at most {most_bytes} bytes")
            spool.write(part)
    except ClientDisconnect as error:
        raise Unavailable(f"the connection was cut while the {what} came in") from error
