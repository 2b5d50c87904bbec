"""What happens to every request: an id, a size limit, a count for the metrics, a log line."""

import logging
import re
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deltareg.api.metrics import Metrics

logger = logging.getLogger("deltareg.requests")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PACK_PATH = re.compile(r".*/uploads/[^/]+/packs/\d+")
_UPLOAD_PATH = re.compile(r".*/uploads(/[^/]*)?")
_BODY_MAX = 1 << 20
_MANIFEST_BODY_MAX = 256 << 20


class RequestContext:
    """ASGI middleware; plain, because it must not buffer the bodies that stream through."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        """Wrap an app."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request."""
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

        if _is_too_large(scope):
            await _refuse(send_with_id, request_id)
        else:
            await self._app(scope, receive, send_with_id)
        seconds = time.perf_counter() - started
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.count(scope["method"], route, status, seconds)
        logger.info(
            "request",
            extra={
                "method": scope["method"], "path": scope["path"], "status": status,
                "ms": round(seconds * 1000, 1), "request_id": request_id,
            },
        )  # fmt: skip


def _request_id(scope: Scope) -> str:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


def _is_too_large(scope: Scope) -> bool:
    """Whether the announced body is larger than the route takes; packs have their own."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    length = headers.get(b"content-length", b"0").decode("latin-1")
    if _PACK_PATH.fullmatch(scope["path"]):
        return False
    if b"transfer-encoding" in headers and b"content-length" not in headers:
        return True  # a body of unknown length is for packs only
    limit = _MANIFEST_BODY_MAX if _UPLOAD_PATH.fullmatch(scope["path"]) else _BODY_MAX
    return not length.isdecimal() or int(length) > limit


async def _refuse(send: Send, request_id: str) -> None:
    body = (
        b'{"type":"about:blank","title":"Too large","status":413,"detail":"the body is larger than '
        b'this route takes","code":"invalid_input","request_id":"' + request_id.encode() + b'"}'
    )
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
