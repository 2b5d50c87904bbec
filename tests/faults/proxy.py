"""A proxy between clients and the API server: its address stays, packs travel slowly through it.

What a client had sent when it died and was still on its way is lost, as behind a real network. The
proxy tells when the first byte of a pack and when the end of a push pass by, so that a kill can be
aimed at what comes after.
"""

import re
import select
import socket
import threading
import time
from contextlib import closing, suppress

_CHUNK = 1 << 16
_SLICES = 16
_METHODS = (b"GET ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ")
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Proxy:
    """Listens on a port of its own and forwards to `target`, which may change; a context manager.

    Attributes:
        target: The port of the server now.
        pace_s: How long one pack takes to pass.
        sent: Set when the first byte of a pack came by since `arm`.
        arrived: Set when the last byte of a pack did.
        ending: Set when the request to complete a push came by since `arm`.
    """

    def __init__(self, target):
        self.target = target
        self.pace_s = 0.0
        self.sent, self.arrived, self.ending = (threading.Event() for _ in range(3))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def arm(self):
        """Forget what came by so far."""
        self.sent.clear()
        self.arrived.clear()
        self.ending.clear()

    def _accept(self):
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with closing(client), suppress(OSError):
            server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            server.settimeout(None)
            with closing(server):
                down = threading.Thread(target=_copy, args=(server, client), daemon=True)
                down.start()
                try:
                    self._forward(client, server)
                finally:
                    _cut(server)  # ends the thread, too
                    down.join()

    def _forward(self, client, server):
        left = size = 0  # bytes of a pack that are still to come, and that it has
        while chunk := client.recv(_CHUNK):
            if chunk.startswith(_METHODS):
                head, end, body = chunk.partition(_END_OF_HEAD)
                left = size = _pack_bytes(head)
                self._note(head)
                server.sendall(head + end)
                chunk = body
            if left:
                left -= len(chunk)
                self._trickle(chunk, size, client, server, is_last=left <= 0)
            else:
                server.sendall(chunk)

    def _note(self, head):
        line = head.partition(b"\r\n")[0]
        if b"/uploads/" in line and b":complete " in line:
            self.ending.set()

    def _trickle(self, chunk, size, client, server, *, is_last):
        """Pass a part of a pack on, so that the whole of it takes `pace_s`."""
        step = max(1, size // _SLICES)
        for begin in range(0, len(chunk), step):
            part = chunk[begin : begin + step]
            server.sendall(part)
            self.sent.set()
            if is_last and begin + step >= len(chunk):
                self.arrived.set()
                return
            if _has_hung_up(client):
                raise ConnectionAbortedError
            time.sleep(self.pace_s * len(part) / size)  # the pace; nothing is expected of it


def _pack_bytes(head):
    """Give the size of the pack that a request carries, or 0."""
    found = _LENGTH.search(head)
    return int(found[1]) if head.startswith(b"PUT ") and found else 0


def _copy(source, target):
    with suppress(OSError):
        while chunk := source.recv(_CHUNK):
            target.sendall(chunk)
    _cut(target)


def _cut(connection):
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _has_hung_up(connection):
    """Tell whether the other side is gone, though bytes of it may still be here to be read."""
    poller = select.poll()
    poller.register(connection, select.POLLRDHUP)
    return bool(poller.poll(0))
