"""Channels as models of vLLM: an ASGI middleware that gives each request the revision a channel is at.

vLLM takes it with `--middleware deltareg.integrations.vllm.ChannelNames`. A request for the model
`ns/name@prod` becomes one for `ns/name@prod#17`, which vLLM asks the resolver for. So a move counts
from one request to the next: none fails, and none is answered from what was cached for another
version.
"""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any

from deltareg.documents.json_values import is_object, parse_json

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
_LENGTH = b"content-length"


class ChannelNames:
    """The middleware; it changes the `model` of requests in JSON, and nothing else."""

    def __init__(self, app: App, *, keys: Sequence[str] | None = None) -> None:
        """Wrap vLLM's own app.

        Args:
            app: The app.
            keys: The API keys of vLLM, which looks at them only after this; by default those that
                it was started with.
        """
        from deltareg.integrations.vllm.surroundings import read_keys

        self._app, self._keys = app, read_keys() if keys is None else keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        pairs: Iterable[tuple[bytes, bytes]] = scope.get("headers") or ()
        headers = dict(pairs)
        is_json = headers.get(b"content-type", b"").partition(b";")[0].strip().lower() == b"application/json"
        if scope["type"] != "http" or scope["method"] != "POST" or not is_json or not self._is_known(headers):
            await self._app(scope, receive, send)
            return
        body, last = await _read(receive)
        named = body if last is not None else await self._name(body)
        if named is not body:
            scope = {**scope, "headers": _headers(scope, len(named))}
        await self._app(scope, _give(named, last, receive), send)

    def _is_known(self, headers: dict[bytes, bytes]) -> bool:
        """Whether vLLM will take the request: nobody else may have the registry asked."""
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        is_bearer = scheme.lower() == b"bearer"
        return not self._keys or (is_bearer and any(hmac.compare_digest(given, key.encode()) for key in self._keys))

    async def _name(self, body: bytes) -> bytes:
        if b"@" not in body:
            return body
        try:
            document: object = parse_json(body)
        except ValueError:  # vLLM says what is wrong with it
            return body
        if not is_object(document):
            return body
        name = document.get("model")
        # Names of another form are other people's: not even the settings are read for them.
        if not isinstance(name, str) or not {"/", "@"} <= set(name):
            return body
        revision = await _find_revision(name)
        if revision is None:
            return body
        return json.dumps({**document, "model": revision}, ensure_ascii=False).encode("utf-8", "surrogatepass")


async def _find_revision(name: str) -> str | None:
    from deltareg.integrations.vllm.resolver import newest_finder

    names = newest_finder()
    if names is None:
        return None
    known = names.look_up_channel(name)
    return known or await asyncio.get_running_loop().run_in_executor(None, names.resolve_channel, name)


async def _read(receive: Receive) -> tuple[bytes, MutableMapping[str, Any] | None]:
    """Read a body; the message that ended it early, if one did."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts), message
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts), None


def _give(body: bytes, last: MutableMapping[str, Any] | None, receive: Receive) -> Receive:
    """Give a body that was read, then what came after it."""
    messages: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": last is not None}]
    if last is not None:
        messages.append(last)

    async def give() -> MutableMapping[str, Any]:
        return messages.pop(0) if messages else await receive()

    return give


def _headers(scope: Scope, length: int) -> list[tuple[bytes, bytes]]:
    others = [(name, value) for name, value in scope["headers"] if name.lower() != _LENGTH]
    return [*others, (_LENGTH, str(length).encode())]
