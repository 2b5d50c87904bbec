"""Lines between the processes of a site, which a storm cuts, slows, silences or lets lie.

A link listens on a port that stays, and leads each connection to the first of its targets that answers,
by turns. It passes bytes and knows nothing of what they say; the one to the store knows requests of HTTP.
"""

import random
import re
import select
import socket
import struct
import threading
import time
from contextlib import closing, suppress

_STEP = 1 << 16
_LOOK_S = 0.05
_REQUEST = re.compile(rb"(GET|HEAD|POST|PUT|DELETE) (\S+) HTTP/1\.1\r\n")
_END_OF_HEAD = b"\r\n\r\n"
_ANSWER = b"HTTP/1.1 %d Broken\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy"
MODES = ("cut", "silent", "slow")


class Link:
    """A line to one of some ports; a context manager.

    Attributes:
        targets: The ports behind it.
        mode: Empty, or how it is broken: `cut` refuses and resets, `silent` takes bytes and passes none,
            `slow` passes them late.
    """

    def __init__(self, *targets):
        self.targets, self.mode = list(targets), ""
        self._turn = 0
        self._stop = threading.Event()
        self._cut = 0  # connections that were made before the newest cut end
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._accepting.join(10)
        self._listener.close()

    def lead_to(self, *targets):
        """Lead to other ports from now on, and end the connections to those before."""
        self.targets = list(targets)
        self.cut()

    def cut(self):
        """End all connections with a reset."""
        self._cut += 1

    def _accept(self):
        while not self._stop.is_set():
            if select.select([self._listener], [], [], _LOOK_S)[0]:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        cuts = self._cut
        with closing(client), suppress(OSError):
            server = None if self.mode == "cut" else self._connect()
            if server is None:
                _reset(client)
                return
            with closing(server):
                for connection in (client, server):
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._relay(client, server, cuts)

    def _connect(self):
        self._turn += 1
        for step in range(len(self.targets)):
            with suppress(OSError, IndexError):
                port = self.targets[(self._turn + step) % len(self.targets)]
                return socket.create_connection(("127.0.0.1", port), timeout=5)
        return None

    def _relay(self, client, server, cuts):
        conversation = self._converse()
        while not self._stop.is_set():
            if self.mode == "cut" or cuts != self._cut:
                _reset(client, server)
                return
            if self.mode == "silent":
                time.sleep(_LOOK_S)
                continue
            for ready in select.select([client, server], [], [], _LOOK_S)[0]:
                data = ready.recv(_STEP)
                if self.mode == "slow":
                    time.sleep(0.3)  # the fault itself
                if not data or not conversation.pass_on(data, client, server, is_question=ready is client):
                    return

    def _converse(self):
        return Passing()


class Passing:
    """A connection of which nothing is known."""

    def pass_on(self, data, client, server, *, is_question):
        """Pass bytes on; tells whether the connection stands."""
        (server if is_question else client).sendall(data)
        return True


class StoreLink(Link):
    """The line to a store, which answers a share of the requests wrongly.

    Attributes:
        faults: How, while there are any: `busy`, `error`, `full`, `cut`, `lost`, `late`, `lie`.
        share: Of the requests, how many.
        counts: How many it was, by fault.
    """

    def __init__(self, target, *, seed):
        super().__init__(target)
        self.faults: tuple[str, ...] = ()
        self.share = 0.0
        self.counts: dict[str, int] = {}
        self.chance = random.Random(seed)

    def draw(self, method, path):
        """Say what becomes of a request."""
        fault = self.chance.choice(self.faults) if self.faults and self.chance.random() < self.share else ""
        # A listing has no digest; what is asked for here and is an object's has one.
        if fault == "lie" and (method != b"GET" or b"/blobs/" not in path):
            fault = ""
        if fault == "full" and method not in {b"PUT", b"POST"}:
            fault = ""
        if fault:
            self.counts[fault] = self.counts.get(fault, 0) + 1
        return fault

    def _converse(self):
        return _Asking(self)


class _Asking:
    """Requests and answers of one connection, one after another."""

    def __init__(self, link):
        self._link, self._fault, self._is_body = link, "", False

    def pass_on(self, data, client, server, *, is_question):
        if is_question:
            return self._ask(data, client, server)
        return self._answer(data, client)

    def _ask(self, data, client, server):
        start = _REQUEST.match(data)
        if start is not None:
            self._fault, self._is_body = self._link.draw(start[1], start[2]), False
        status = {"busy": 503, "error": 500, "full": 507}.get(self._fault)
        if status is not None:
            client.sendall(_ANSWER % status)
            return False
        if self._fault == "late":
            time.sleep(self._link.chance.uniform(0.5, 8.0))  # the fault itself
            self._fault = ""
        server.sendall(data)
        return True

    def _answer(self, data, client):
        if self._fault == "lost":
            _reset(client)
            return False
        begin = 0
        if not self._is_body:
            head, end, _ = data.partition(_END_OF_HEAD)
            begin, self._is_body = len(head) + len(end), True
        if self._fault == "cut":
            client.sendall(data[: begin + (len(data) - begin) // 2])
            _reset(client)
            return False
        if self._fault == "lie" and len(data) > begin:
            at = self._link.chance.randrange(begin, len(data))
            data = data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]
            self._fault = ""
        client.sendall(data)
        return True


def _reset(*connections):
    """Close with a reset, as a machine does that has lost its memory."""
    for connection in connections:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
