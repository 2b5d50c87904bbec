"""What a hostile client does to a server until it is stopped: `overload_attacks.py NAME PORT TOKEN FILE`.

Each is a program of its own, at the lowest priority, for it stands for another machine.
"""

import json
import os
import resource
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import httpx

from deltareg.service.access.tokens import mint_secret

SOCKETS, TRICKLES, LISTS, MANIFESTS, BAD_TOKENS_A_MINUTE = 1_100, 32, 60, 4, 2_000
MANIFEST_MIB = 100
_PATHS = ("/deltas?limit=200", "/audit?limit=200", "/runs?limit=200", "/search?text=a&limit=200", "/events?limit=200")


def slowloris(port, token):
    """Hold sockets, each with a header that never ends; open another for each that is closed."""
    head = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-a: "
    held: list[socket.socket] = []
    while True:
        while len(held) < SOCKETS:
            held.append(_opened(port, head))
        time.sleep(1)
        held = [one for one in held if _sends(one, b"x")]


def trickles(port, token):
    """Send packs a byte at a time, by one token; begin again where one is ended."""
    upload = _upload(port, token)
    held: dict[int, socket.socket] = {}
    while True:
        for number in range(TRICKLES):
            if number not in held:
                lines = [
                    f"PUT /api/v1/uploads/{upload}/packs/{number} HTTP/1.1",
                    "Host: 127.0.0.1",
                    f"Authorization: Bearer {token}",
                    f"X-Content-Digest: sha256:{'0' * 64}",
                    "Content-Length: 60000000",
                ]
                held[number] = _opened(port, ("\r\n".join(lines) + "\r\n\r\n").encode())
        time.sleep(1)
        held = {number: one for number, one in held.items() if _sends(one, b"x")}


def lists(port, token):
    """Ask for the dearest lists, from many threads at once."""
    _threads(LISTS, lambda: [_ask(port, token, path) for path in _PATHS])


def manifests(port, token):
    """Send manifests of 100 MiB, some at once."""
    head = b'{"subject":"delta","target":"mallory/big","manifest":"['
    body = head + b"1," * (MANIFEST_MIB << 19) + b'1]"}'
    _threads(MANIFESTS, lambda: _ask(port, token, "/uploads", content=body))


def documents(port, token):
    """Send documents that are just short enough, and made to take the most memory."""
    size = 47 << 20
    text = "[" + "{}," * (size // 24 - 1) + "{}]"
    body = b'{"subject":"delta","target":"mallory/big","manifest":"' + text.encode().ljust(size) + b'"}'
    _threads(MANIFESTS, lambda: _ask(port, token, "/uploads", content=body))


def bad_tokens(port, token):
    """Send well-formed tokens that nobody has, at a rate."""
    began, sent = time.monotonic(), 0
    while True:
        _ask(port, mint_secret("pat"), "/whoami")
        sent += 1
        time.sleep(max(0.0, began + sent * 60 / BAD_TOKENS_A_MINUTE - time.monotonic()))


ATTACKS = {one.__name__: one for one in (slowloris, trickles, lists, manifests, documents, bad_tokens)}
_ANSWERS: Counter[str] = Counter()
_HTTP = httpx.Client(timeout=120, limits=httpx.Limits(max_connections=200))


def _ask(port, token, path, **more):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    method = "POST" if more else "GET"
    try:
        status = _HTTP.request(method, f"http://127.0.0.1:{port}/api/v1{path}", headers=headers, **more).status_code
    except httpx.HTTPError as error:
        _ANSWERS[type(error).__name__] += 1
        time.sleep(0.2)
    else:
        _ANSWERS[str(status)] += 1


def _upload(port, token):
    root, headers = f"http://127.0.0.1:{port}/api/v1", {"Authorization": f"Bearer {token}"}
    manifest = httpx.get(f"{root}/deltas/mallory/own/versions/1/manifest", headers=headers).text
    asked = {"subject": "delta", "target": "mallory/slow", "manifest": manifest, "base": "tinyllama"}
    return httpx.post(f"{root}/uploads", json=asked, headers=headers).json()["id"]


def _opened(port, head):
    while True:
        try:
            one = socket.create_connection(("127.0.0.1", port), timeout=5)
            one.sendall(head)
        except OSError:
            time.sleep(0.1)
        else:
            one.setblocking(False)
            return one


def _sends(one, data):
    """Send without waiting; false where the other side has closed."""
    try:
        while one.recv(4096):
            pass
    except BlockingIOError:
        with suppress(OSError):
            one.send(data)
            return True
    except OSError:
        pass
    _ANSWERS["closed"] += 1
    one.close()
    return False


def _threads(count, act):
    def forever():
        while True:
            act()

    for _ in range(count):
        threading.Thread(target=forever, daemon=True).start()
    threading.Event().wait()


def main():
    name, port, token, told = sys.argv[1:]
    os.nice(19)
    resource.setrlimit(resource.RLIMIT_NOFILE, (8_192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    def tell():
        while True:
            Path(told).write_text(json.dumps(dict(_ANSWERS)))
            time.sleep(0.5)

    threading.Thread(target=tell, daemon=True).start()
    ATTACKS[name](int(port), token)


if __name__ == "__main__":
    main()
