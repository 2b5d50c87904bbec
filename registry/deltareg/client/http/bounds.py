"""How much of an answer is read, and how long that may take: a registry is somebody else's machine.

Bytes are counted after they were unpacked, while they arrive. gzip alone is unpacked: it makes at
most a thousand bytes of one, so that no step of it is large.
"""

import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import httpcore

from deltareg.errors import InvalidInput, Unavailable
from deltareg.host.lean_httpx import httpx

ANSWER_BYTES: Final = 256 << 20
"""Of a document: five times what a server accepts of one."""
PROBLEM_BYTES: Final = 4 << 20
"""Of an error."""
LINE_BYTES: Final = 1 << 20
"""Of a line, and of an event, in a stream that has no end."""
LEAST_BYTES_A_SECOND: Final = 1 << 10
"""How slow an answer may come, once its time without any bytes is over."""
_WITHIN_S: Final = 120.0
ENCODINGS: Final = "gzip"
_HEAD_END: Final = b"\r\n\r\n"
_WHOSE = "check the address: deltareg config get server; if it is right, tell who runs it"


def check_encoding(response: httpx.Response) -> None:
    """Refuse an answer that is packed in another way than was asked for.

    Raises:
        InvalidInput: It is.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in {"", "identity", ENCODINGS}:
        raise InvalidInput(f"the server's answer is packed as {encoding[:40]!r}, which nobody asked for", fix=_WHOSE)


def ask_whole(
    client: httpx.Client,
    method: str,
    url: httpx.URL | str,
    **options: Any,  # noqa: ANN401  # as in the library
) -> httpx.Response:
    """Send a request without the client's own credentials, and read an answer that is no longer than an error.

    Redirects are not followed.

    Raises:
        InvalidInput: It is longer.
        Unavailable: It comes too slowly.
    """
    request = client.build_request(method, url, **options)
    response = client.send(request, stream=True, auth=httpx.Auth(), follow_redirects=False)
    try:
        check_encoding(response)
        return read_whole(response, within_s=_WITHIN_S, most=PROBLEM_BYTES)
    finally:
        response.close()


def read_whole(response: httpx.Response, *, within_s: float, most: int | None = None) -> httpx.Response:
    """Read an answer to its end and return it, unpacked.

    Args:
        response: A streamed answer.
        within_s: How long it may take, beside a second for each `LEAST_BYTES_A_SECOND`.
        most: How many bytes it may have; by default what its kind may.

    Raises:
        InvalidInput: It is longer than any answer of a registry.
        Unavailable: It comes too slowly.
    """
    if most is None:
        most = PROBLEM_BYTES if response.is_error else ANSWER_BYTES
    announced = response.headers.get("Content-Length", "")
    if response.request.method != "HEAD" and announced.isdecimal() and int(announced[:20]) > most:
        raise _too_long(most)
    body = bytearray()
    for chunk in read_chunks(response, most=most, within_s=within_s):
        body += chunk
    kept = [(name, value) for name, value in response.headers.multi_items() if name not in _OF_BODY]
    return httpx.Response(
        response.status_code,
        headers=kept,
        content=bytes(body),
        request=response.request,
        extensions=response.extensions,
        history=response.history,
    )


_OF_BODY = {"content-encoding", "content-length", "transfer-encoding"}


def read_chunks(
    response: httpx.Response, *, most: int | None, within_s: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[bytes]:
    """Yield the unpacked bytes of an answer as they come.

    Args:
        response: A streamed answer.
        most: How many there may be; None where the caller counts.
        within_s: As in `read_whole`.
        clock: Returns seconds.

    Raises:
        InvalidInput: There are more.
        Unavailable: They come too slowly.
    """
    received, began = 0, clock()
    for chunk in response.iter_bytes():
        received += len(chunk)
        if most is not None and received > most:
            raise _too_long(most)
        if clock() - began > within_s + received / LEAST_BYTES_A_SECOND:
            told = f"the answer comes too slowly: {received} bytes in {clock() - began:.0f} s"
            slow = Unavailable(told, fix="try again later")
            slow.is_final = True
            raise slow
        yield chunk


def read_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of a stream without their ends.

    Raises:
        InvalidInput: A line is too long.
    """
    rest = bytearray()
    for chunk in chunks:
        *ended, begun = chunk.split(b"\n")
        for end in ended:
            rest += end
            yield _line(rest)
            rest.clear()
        rest += begun
        if len(rest) > LINE_BYTES:
            raise _too_long(LINE_BYTES, "a line of the stream")


def _line(raw: bytearray) -> str:
    if len(raw) > LINE_BYTES:
        raise _too_long(LINE_BYTES, "a line of the stream")
    return raw.removesuffix(b"\r").decode("utf-8", "replace") if raw else ""


def _too_long(most: int, what: str = "the server's answer") -> InvalidInput:
    return InvalidInput(f"{what} has more than {most >> 20} MiB, and was given up", fix=_WHOSE)


def limit_heads(client: httpx.Client, within_s: float) -> None:
    """Let each answer to a client have its head within some seconds, or fail as one that did not come in time."""
    # The library offers no way to name a backend; a transport of one's own would lose the proxies of the environment.
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001  # as said above
        pool = getattr(transport, "_pool", None)
        if isinstance(pool, httpcore.ConnectionPool):
            pool._network_backend = _Backend(pool._network_backend, within_s)  # noqa: SLF001  # as said above


class _Backend(httpcore.NetworkBackend):
    """Opens connections whose answers have prompt heads."""

    def __init__(self, inner: httpcore.NetworkBackend, within_s: float) -> None:
        self._inner, self._within_s = inner, within_s

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, self._within_s)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.connect_unix_socket(path, timeout, socket_options), self._within_s)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    """A connection that knows whether the head of an answer is still to come."""

    def __init__(self, inner: httpcore.NetworkStream, within_s: float) -> None:
        self._inner, self._within_s = inner, within_s
        self._asked_at: float | None = None
        self._tail = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._asked_at is None:
            return self._inner.read(max_bytes, timeout)
        left_s = self._asked_at + self._within_s - time.monotonic()
        if left_s <= 0:
            raise httpcore.ReadTimeout("the head of an answer came too slowly")
        data = self._inner.read(max_bytes, left_s if timeout is None else min(timeout, left_s))
        seen = self._tail + data
        self._tail = seen[-len(_HEAD_END) :]
        if _HEAD_END in seen:
            self._asked_at = None
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)
        self._asked_at, self._tail = time.monotonic(), b""

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._within_s)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401  # as in the library
        return self._inner.get_extra_info(info)
