"""A receiver as a process of its own: it keeps what it takes, and can be killed at any moment.

Arguments: the port, the file that it keeps a line in for each thing that it has taken, the secret,
and how it behaves: `well`, `slow`, or `lies`, which redirects, refuses, hangs up, answers no HTTP,
and says 200 with garbage behind it, by turns. What the library does not verify it keeps as that.
"""

import json
import os
import random
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

from standardwebhooks import Webhook, WebhookVerificationError

LIES = ("refuses", "redirects", "hangs up", "garbage", "endless", "well", "well", "well")


class Server(ThreadingHTTPServer):
    """Knows how it behaves, the secret, and where it keeps what it takes."""

    daemon_threads = True

    def __init__(self, port, path, secret, behaviour):
        super().__init__(("127.0.0.1", int(port)), Receiver)
        self.behaviour, self.turn = behaviour, count()
        self.webhook = Webhook(secret)
        self.log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:  # its sender was killed in the middle
            self.close_connection = True
            return
        behaviour = self.server.behaviour
        if behaviour == "slow":
            time.sleep(random.random() / 5)
        if behaviour == "lies":
            behaviour = LIES[next(self.server.turn) % len(LIES)]
        getattr(self, behaviour.replace(" ", "_"), self.well)(body)

    def well(self, body):
        self.keep(body)
        self.answer(200)

    def keep(self, body):
        """Keep it before it is answered, as a receiver has to that loses nothing when killed."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            event = self.server.webhook.verify(body, headers)
        except WebhookVerificationError as error:
            event = {"wrong": str(error)}
        line = {"id": headers["webhook-id"], "event": event}
        os.write(self.server.log, (json.dumps(line) + "\n").encode())

    def answer(self, status, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def refuses(self, _body):
        self.answer(500)

    def redirects(self, _body):
        self.answer(302, Location="http://127.0.0.1:1/")

    def hangs_up(self, _body):
        self.close_connection = True

    def garbage(self, _body):
        self.wfile.write(b"\x16\x03\x01\x02 nothing that anybody reads\r\n\r\n")
        self.close_connection = True

    def endless(self, body):
        self.keep(body)
        self.answer(200, **{"Content-Length": str(1 << 40)})
        self.wfile.write(os.urandom(50_000))
        self.close_connection = True

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    Server(*sys.argv[1:]).serve_forever()
