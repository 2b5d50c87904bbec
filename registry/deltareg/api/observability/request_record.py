"""One request while it is answered: what its line in the log, its metrics and its trace are made from."""

import time
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from deltareg.api.overload.traffic import waits_by_itself
from deltareg.host.time_spent import TimeSpent

# Only methods that exist are counted by name: anybody can make up more of them.
_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_NO_ROUTE: Final = "none"
_SUBJECTS: Final = ("ns", "name", "version", "channel", "upload_id", "run_id")
"""Which parts of an address say what a request is about; others may be tickets, and are never written."""
_ANSWERED_FROM: Final = "http.response.start"


class RequestRecord:
    """What a request is, and what becomes of it.

    Attributes:
        scope: The request, as the app leaves it.
        spent: Where its time went.
        request_id: Its id, which its answer carries.
        status: What was answered.
        sent_bytes: How long the body of the answer was.
        received_bytes: How long its own body was.
        seconds: How long all of it took.
    """

    __slots__ = (
        "_began",
        "_id_header",
        "received_bytes",
        "request_id",
        "scope",
        "seconds",
        "sent_bytes",
        "spent",
        "status",
    )

    def __init__(self, scope: Scope, spent: TimeSpent, request_id: str) -> None:
        """Begin; the clock runs from now on."""
        self.scope, self.spent, self.request_id = scope, spent, request_id
        self._id_header = (b"x-request-id", request_id.encode())
        self.status, self.sent_bytes, self.received_bytes = 500, 0, 0
        self.seconds = 0.0
        self._began = time.perf_counter()

    def end(self) -> None:
        """Stop the clock."""
        self.seconds = time.perf_counter() - self._began

    @property
    def method(self) -> str:
        """The method, or `other`."""
        method: str = self.scope["method"]
        return method if method in _METHODS else "other"

    @property
    def route(self) -> str:
        """The template of the route, whose number is bounded; `none` where there is none."""
        return getattr(self.scope.get("route"), "path", _NO_ROUTE)

    @property
    def principal(self) -> str:
        """The name of who asked; empty for nobody."""
        return str(self.scope.get("state", {}).get("principal_name", ""))

    @property
    def problem(self) -> str:
        """The code of the error that was answered; empty for none."""
        return str(self.scope.get("state", {}).get("problem", ""))

    @property
    def subject(self) -> str:
        """What the request is about, as its address says it, or the upload that it opened."""
        parts: dict[str, object] = dict(self.scope.get("path_params") or {})
        if opened := self.scope.get("state", {}).get("upload_id"):
            parts["upload_id"] = opened
        return " ".join(f"{name}={parts[name]}" for name in _SUBJECTS if name in parts)

    @property
    def is_patient(self) -> bool:
        """Whether it waits for something to happen, so that it is slow on purpose."""
        return waits_by_itself(self.scope["path"], self.scope["query_string"])

    def sending(self, send: Send) -> Send:
        """Wrap what sends the answer, which gets the request's id."""

        async def send_and_note(message: Message) -> None:
            if message["type"] == _ANSWERED_FROM:
                self.status = message["status"]
                message = {**message, "headers": [*message.get("headers", []), self._id_header]}
                await send(message)
                return
            self.sent_bytes += len(message.get("body", b""))
            if not message.get("more_body"):
                await send(message)
                return
            began = time.perf_counter()
            await send(message)
            self.spent.add("sending", began)

        return send_and_note

    def receiving(self, receive: Receive) -> Receive:
        """Wrap what receives the body."""

        async def receive_and_note() -> Message:
            began = time.perf_counter()
            message = await receive()
            self.spent.add("receiving", began)
            self.received_bytes += len(message.get("body", b""))
            return message

        return receive_and_note
