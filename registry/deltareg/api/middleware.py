"""Applies to every request: an id, the door with its limits, a count for the metrics, a log line."""

import json
import math
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import anyio.to_thread
from starlette.types import ASGIApp, Receive, Scope, Send

from deltareg.api.observability.observer import RequestObserver
from deltareg.api.overload.door import Door, on_its_way
from deltareg.api.overload.traffic import is_page
from deltareg.errors import DeltaregError
from deltareg.host.causes import valid_traceparent
from deltareg.host.time_spent import SPENT
from deltareg.shared_state import REFUSED
from deltareg.wire import ProblemDocument, describe_problem, status_of

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PACK_PATH = re.compile(
    r".*/uploads/[^/]+/packs/\d+|/lfs/[0-9a-f]{32}"
    r"|/cas/[0-9a-f]{32}/v1/(shards|xorbs/[^/]+/[0-9a-f]{64})"
)
_DOCUMENT_PATH = re.compile(r".*/(suites|referrers|evaluations|uploads(/[^/]*)?|runs/[^/]+:(upload|replace))")
_COMMIT_PATH = re.compile(r"/api/models/[^/]+/[^/]+/commit/.+")
_BODY_MAX = 1 << 20
_COMMIT_BODY_MAX = 48 << 20
_PROBLEM = b"application/problem+json"
_Refusal = tuple[int, str, str]
_Fields = Mapping[bytes, bytes]


_STRANGE_NAME = (
    "this server does not go by the name in the Host header; who runs it lets DELTAREG_ALLOWED_HOSTS name it, and"
    " behind a proxy sets DELTAREG_BEHIND_PROXY=1"
)


class RequestContext:
    """Plain ASGI middleware, since it must not buffer the bodies that stream through."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        observer: RequestObserver,
        allowed_hosts: Sequence[str],
        is_live: Callable[[str], bool],
        door: Door,
        document_bytes: int,
    ) -> None:
        """Wrap an app.

        Args:
            app: The app that answers the requests that pass.
            observer: Tells of the requests.
            allowed_hosts: Accepted host names; `*` is any, `*.example.org` any subdomain.
            is_live: Whether an `Authorization` header holds a valid token.
            door: Decides which requests are answered now.
            document_bytes: The longest body of a request that carries a document.
        """
        self._app = app
        self._observer = observer
        self._is_live = is_live
        self._door, self._document_bytes = door, document_bytes
        self._hosts = [_bare(host) for host in allowed_hosts]
        self._is_for_us = lru_cache(256)(self._goes_by)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        fields = dict(scope["headers"])
        request_id = _request_id(fields)
        scope.setdefault("state", {})["request_id"] = request_id
        record = self._observer.begin(scope, request_id)
        if not record.spent.traceparent and b"traceparent" in fields:
            record.spent.traceparent = valid_traceparent(_text(fields, b"traceparent"))
        spending = SPENT.set(record.spent)
        if b"content-length" in fields or b"transfer-encoding" in fields:
            receive = record.receiving(receive)
        passage = None
        try:
            passage = await self._door.enter(scope, fields)
            send_on = on_its_way(passage, record.sending(send))
            if passage.refusal is not None:
                scope["state"]["problem"] = passage.refusal.code
                if is_page(scope["path"]):
                    scope["state"][REFUSED] = passage.refusal
                    await self._app(scope, receive, send_on)
                else:
                    await _turn_away(send_on, passage.refusal, request_id)
                return
            refusal = self._refusal(scope, fields) or await self._stranger(scope, fields)
            if refusal is None:
                await self._app(scope, receive, send_on)
            else:
                await _refuse(send_on, refusal, request_id)
        finally:
            SPENT.reset(spending)
            if passage is not None:
                passage.leave()
                self._door.note(passage, scope, record.status)
            self._observer.end(record)

    def _refusal(self, scope: Scope, fields: _Fields) -> _Refusal | None:
        if not self._is_for_us(_text(fields, b"host")):
            return 400, "Bad request", _STRANGE_NAME
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            return 400, "Bad request", "the address holds a NUL character"
        if b"content-length" not in fields and b"transfer-encoding" not in fields:
            return None
        limit = self._limit(scope)
        if limit is not None and b"transfer-encoding" in fields:
            return 413, "Too large", "a body of this route says its length, which it may not leave to its chunks"
        if limit is not None and _length(fields) > limit:
            return 413, "Too large", f"the body is larger than the {limit} bytes that this route takes"
        return None

    def _limit(self, scope: Scope) -> int | None:
        """Return how long a body may be; None for packs, which have a limit of their own."""
        path = scope["path"]
        if _PACK_PATH.fullmatch(path):
            return None
        if _DOCUMENT_PATH.fullmatch(path):
            return self._document_bytes
        return _COMMIT_BODY_MAX if _COMMIT_PATH.fullmatch(path) else _BODY_MAX

    async def _stranger(self, scope: Scope, fields: _Fields) -> _Refusal | None:
        """Refuse a large body without a valid token, which would be in memory before the check."""
        if _length(fields) <= _BODY_MAX or _PACK_PATH.fullmatch(scope["path"]):
            return None
        header = _text(fields, b"authorization")
        if await anyio.to_thread.run_sync(self._is_live, header):
            return None
        return 401, "Not logged in", "a body of this size needs a token"

    def _goes_by(self, header: str) -> bool:
        host = _bare(header)
        return any(
            pattern in {"*", host} or (pattern.startswith("*.") and host.endswith(pattern[1:]))
            for pattern in self._hosts
        )


def _bare(host: str) -> str:
    """Return a host without its port, and without the brackets of an IPv6 address."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name if name.count(":") > 1 else name.partition(":")[0]


def _text(fields: _Fields, name: bytes) -> str:
    return fields.get(name, b"").decode("latin-1")


def _request_id(fields: _Fields) -> str:
    if b"x-request-id" in fields and _ID.fullmatch(sent_id := _text(fields, b"x-request-id")):
        return sent_id
    return secrets.token_hex(16)


def _length(fields: _Fields) -> float:
    text = _text(fields, b"content-length") or "0"
    return int(text) if text.isascii() and text.isdecimal() else math.inf


async def _turn_away(send: Send, error: DeltaregError, request_id: str) -> None:
    """Answer a request that the door keeps out; its body is not read, so the connection ends."""
    document = describe_problem(error, request_id=request_id)
    body = json.dumps(document.model_dump()).encode()
    headers = [(b"content-type", _PROBLEM), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status_of(error), "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _refuse(send: Send, refusal: _Refusal, request_id: str) -> None:
    status, title, detail = refusal
    code = "unauthenticated" if status == 401 else "invalid_input"
    document = ProblemDocument(
        type="about:blank", title=title, status=status, detail=detail, code=code, request_id=request_id
    )
    body = document.model_dump_json().encode()
    headers = [
        (b"content-type", _PROBLEM),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *([(b"www-authenticate", b"Bearer")] if status == 401 else []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
