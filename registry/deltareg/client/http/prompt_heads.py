"""A limit on how long the head of an answer takes, which may come a byte a minute.

HTTP libraries bound each read, and not their sum. What is limited here is the time from the last
byte of a request to the end of the head of its answer; how long a body takes is up to its reader.
"""

import ssl
import time
from collections.abc import Iterable
from typing import Any, Final

import httpcore

from deltareg.host.lean_httpx import httpx

_END: Final = b"\r\n\r\n"


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
        self._tail = seen[-len(_END) :]
        if _END in seen:
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
