"""What the tests of events share: a registry with a webhook key, people, and events in it."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network

import sqlalchemy as sa
from standardwebhooks import Webhook

from deltareg.db import tables as t
from deltareg.db.access import grants
from deltareg.db.session import read, write
from deltareg.refs import LineRef
from deltareg.service.events import Action
from deltareg.service.registry import Registry
from deltareg.service.telling.webhooks import add_webhook
from deltareg.signing.secret_box import SecretBox
from deltareg.store.memory import MemoryStore
from deltareg.wire import WebhookAdd
from tests.service import rows

LOOPBACK = (ip_network("127.0.0.0/8"),)
LINE = LineRef("lab", "x")
SUBJECTS = ("lab/x@prod", "lab/x@dev", "lab/x@staging")


def registry_on(engine, **more):
    box, _ = SecretBox.generate()
    return Registry(engine, MemoryStore(), box=box, networks=LOOPBACK, **more)


def owner_of_lab(engine, name="ada"):
    """Make the namespace `lab` with a line `x`, owned by somebody; gives them as a caller."""
    caller = rows.caller(engine, name)
    rows.line(engine, maker=caller)
    own(engine, caller)
    return caller


def own(engine, caller, *, namespace="lab"):
    with write(engine) as conn:
        query = sa.select(t.namespaces.c.id).where(t.namespaces.c.name == namespace)
        grants.add_grant(
            conn, caller.principal_id, role="owner", namespace_id=conn.execute(query).scalar_one(), created_by=None
        )


def happen(registry, caller, subjects, *, action=Action.CHANNEL_PROMOTE, on=LINE):
    """Let something happen to each of some subjects, each in a transaction of its own."""
    for at, subject in enumerate(subjects):
        with write(registry.engine) as conn:
            after = {"version": at, "reason": f"reason {at}", "secret": "kept"}
            caller.record(conn, action, subject, on=on, before=None, after=after)


def happen_in_one(registry, caller, subjects, **more):
    """Let something happen to each of some subjects, in one transaction."""
    with write(registry.engine) as conn:
        for at, subject in enumerate(subjects):
            after = {"version": at, **more}
            caller.record(conn, Action.CHANNEL_PROMOTE, subject, on=LINE, before=None, after=after)


def hook(registry, caller, url, *, namespace="lab", **more):
    """Make a webhook; gives its id and its secret."""
    made = add_webhook(registry, caller, WebhookAdd(url=url, namespace=namespace, **more))
    return made.webhook.id, made.secret


def states(registry):
    with read(registry.engine) as conn:
        query = sa.select(t.deliveries.c.state, sa.func.count()).group_by(t.deliveries.c.state)
        return {row[0]: row[1] for row in conn.execute(query)}


@contextmanager
def receiver(answer=lambda _request: 200):
    """Listen on loopback; what came is in `got`. `answer` gives a status, or does it all itself."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(Got(self.path, dict(self.headers), body))
            status = answer(self)
            if status is not None:
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield Listening(f"http://127.0.0.1:{server.server_address[1]}", got)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Listening:
    def __init__(self, url, got):
        self.url = url
        self.got = got

    @property
    def events(self):
        return [json.loads(each.body) for each in self.got]


class Got:
    """A request that came, as it came."""

    def __init__(self, path, headers, body):
        self.path = path
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body

    def checked(self, secret):
        """Verify it as a receiver does, by the library; gives the event."""
        return Webhook(secret).verify(self.body, self.headers)


def until(condition, what, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
    return found
