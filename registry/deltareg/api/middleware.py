"""Applies to every request: an id, limits, a count for the metrics, a log line."""

import logging
import math
import re
import time
import uuid
from collections.abc import Callable, Sequence

import anyio.to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deltareg.api.metrics import Metrics
from deltareg.db.sql.document import DOCUMENT_BYTES_MAX
from deltareg.wire import ProblemDocument

logger = logging.getLogger("deltareg.requests")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PACK_PATH = re.compile(
    r".*/uploads/[^/]+/packs/\d+|/lfs/[0-9a-f]{32}"
    r"|/cas/[0-9a-f]{32}/v1/(shards|xorbs/[^/]+/[0-9a-f]{64})"
)
_DOCUMENT_PATH = re.compile(r".*/(suites|referrers|evaluations|uploads(/[^/]*)?|runs/[^/]+:(upload|replace))")
_COMMIT_PATH = re.compile(r"/api/models/[^/]+/[^/]+/commit/.+")
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_BODY_MAX = 1 << 20
_DOCUMENT_BODY_MAX = DOCUMENT_BYTES_MAX
_COMMIT_BODY_MAX = 48 << 20
_PROBLEM = b"application/problem+json"
_Refusal = tuple[int, str, str]


class RequestContext:
    """Plain ASGI middleware, since it must not buffer the bodies that stream through."""

    def __init__(
        self, app: ASGIApp, *, metrics: Metrics, allowed_hosts: Sequence[str], is_live: Callable[[str], bool]
    ) -> None:
        """Wrap an app.

        Args:
            app: The app that answers the requests that pass.
            metrics: Counts the requests.
            allowed_hosts: Accepted host names; `*` is any, `*.example.org` any subdomain.
            is_live: Whether an `Authorization` header holds a valid token.
        """
        self._app = app
        self._metrics = metrics
        self._is_live = is_live
        self._hosts = [_bare(host) for host in allowed_hosts]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        refusal = self._refusal(scope) or await self._stranger(scope)
        try:
            if refusal is None:
                await self._app(scope, receive, send_with_id)
            else:
                await _refuse(send_with_id, refusal, request_id)
        finally:
            self._note(scope, status, time.perf_counter() - started, request_id)

    def _refusal(self, scope: Scope) -> _Refusal | None:
        if not self._is_for_us(_header(scope, b"host")):
            return 400, "Bad request", "this server does not go by the name in the Host header"
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            return 400, "Bad request", "the address holds a NUL character"
        if _is_too_large(scope):
            return 413, "Too large", "the body is larger than this route takes, or does not say"
        return None

    async def _stranger(self, scope: Scope) -> _Refusal | None:
        """Refuse a large body without a valid token, which would be in memory before the check."""
        if _PACK_PATH.fullmatch(scope["path"]) or _length(scope) <= _BODY_MAX:
            return None
        header = _header(scope, b"authorization")
        if await anyio.to_thread.run_sync(self._is_live, header):
            return None
        return 401, "Not logged in", "a body of this size needs a token"

    def _is_for_us(self, header: str) -> bool:
        host = _bare(header)
        return any(
            pattern in {"*", host} or (pattern.startswith("*.") and host.endswith(pattern[1:]))
            for pattern in self._hosts
        )

    def _note(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path", "none")
        # Only methods that exist are counted by name: anybody can make up more of them.
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.count(method, route, status, seconds)
        logger.info(
            "request",
            extra={
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "ms": round(seconds * 1000, 1),
                "request_id": request_id,
            },
        )


def _bare(host: str) -> str:
    """Return a host without its port, and without the brackets of an IPv6 address."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name if name.count(":") > 1 else name.partition(":")[0]


def _header(scope: Scope, name: bytes) -> str:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    return headers.get(name, b"").decode("latin-1")


def _request_id(scope: Scope) -> str:
    sent_id = _header(scope, b"x-request-id")
    return sent_id if _ID.fullmatch(sent_id) else uuid.uuid4().hex


def _is_too_large(scope: Scope) -> bool:
    """Whether the announced body is larger than the route accepts; packs have their own limit."""
    if _PACK_PATH.fullmatch(scope["path"]):
        return False
    if _header(scope, b"transfer-encoding"):
        return True  # a body of unknown length is for packs only, whatever length it announces
    limit = _DOCUMENT_BODY_MAX if _DOCUMENT_PATH.fullmatch(scope["path"]) else _BODY_MAX
    if _COMMIT_PATH.fullmatch(scope["path"]):
        limit = _COMMIT_BODY_MAX
    return _length(scope) > limit


def _length(scope: Scope) -> float:
    text = _header(scope, b"content-length") or "0"
    return int(text) if text.isascii() and text.isdecimal() else math.inf


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
