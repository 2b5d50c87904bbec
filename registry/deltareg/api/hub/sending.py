"""Sends files that are assembled while they are sent: few at a time, in threads of their own.

An answer waits for a place, and holds it until its last byte is sent. The number of places bounds
the memory: each takes a few chunks, whatever the size of the file.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import anyio
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from deltareg.api.hub.refusals import hub_status, refusal
from deltareg.api.problems import tell_fault
from deltareg.errors import DeltaregError, Unavailable
from deltareg.service.hub.content import FileContent
from deltareg.service.hub.drafts import StagedContent

_PLACES = 16
_PATIENCE_S = 8.0  # clients give an answer ten seconds to begin
_SENT_BYTES = 1 << 20
_STALL_S = 60.0  # who takes nothing for so long does not keep the place from others


class SendPool:
    """A pool of places for sending files at once, and of threads that decode them."""

    def __init__(self, threads: int) -> None:
        """Create the pool; threads start when they are needed."""
        self._free = anyio.Semaphore(_PLACES)
        self._threads = ThreadPoolExecutor(threads, "deltareg-hub")

    async def take(self) -> bool:
        """Wait for a place; return False if none became free in time."""
        with anyio.move_on_after(_PATIENCE_S) as waiting:
            await self._free.acquire()
        return not waiting.cancelled_caught

    def leave(self) -> None:
        """Give a place back."""
        self._free.release()

    async def step(self, chunks: Iterator[memoryview]) -> memoryview | None:
        """Return the next chunk, decoded in one of the threads; None at the end.

        This waits even when nobody needs the chunk any more: a thread cannot be stopped.
        """
        future = asyncio.get_running_loop().run_in_executor(self._threads, next, chunks, None)
        with anyio.CancelScope(shield=True):
            await asyncio.wait([future])
        return future.result()


class FileAnswer(Response):
    """An answer with bytes of a file; an error in its first chunk still becomes an error status."""

    def __init__(
        self,
        request: Request,
        content: FileContent | StagedContent,
        span: tuple[int, int],
        *,
        status: int,
        headers: dict[str, str],
        places: SendPool,
    ) -> None:
        """Prepare the answer; nothing is read yet.

        Args:
            request: The request that is answered.
            content: The file.
            span: The position of the first byte to send, and of the one after the last.
            status: 200 or 206.
            headers: All headers of the answer.
            places: The pool that it takes its place in.
        """
        super().__init__(status_code=status, headers=headers)
        self._request, self._content, self._span = request, content, span
        self._sent = headers
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        if not await self._places.take():
            busy = Unavailable("the server sends as many files as it can", fix="ask again soon")
            await refusal(self._request, busy)(scope, receive, send)
            return
        try:
            await self._send(scope, receive, send)
        finally:
            self._places.leave()

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        chunks = self._content.read(*self._span)
        try:
            first = await self._places.step(chunks)
        except DeltaregError as error:
            if hub_status(error) >= 500:
                tell_fault(self._request, error)
            await refusal(self._request, error)(scope, receive, send)
            return
        body = StreamingResponse(self._body(first, chunks), self.status_code, self._sent)
        await body(scope, receive, partial(_send_soon, send))

    async def _body(self, chunk: memoryview | None, chunks: Iterator[memoryview]) -> AsyncIterator[memoryview]:
        while chunk is not None:
            for begin in range(0, len(chunk), _SENT_BYTES):
                yield chunk[begin : begin + _SENT_BYTES]
            # What goes wrong now is too late for an answer: the connection is cut.
            chunk = await self._places.step(chunks)


async def _send_soon(send: Send, message: Message) -> None:
    """Send a part of an answer, if the client accepts it in time.

    Raises:
        TimeoutError: It does not; the connection is cut, and the client resumes over another.
    """
    with anyio.fail_after(_STALL_S):
        await send(message)
