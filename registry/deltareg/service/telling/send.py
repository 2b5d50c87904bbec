"""Sending one message to one webhook: once, within its time, to an address that was looked at.

The third place where this server waits without holding a thread: receivers are slow, and many.
Whatever they answer, little of it is read and nothing of it is believed but the status.
"""

import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import anyio
import anyio.to_thread

from deltareg import __version__
from deltareg.errors import InvalidInput
from deltareg.host.addresses import Network, Resolve, resolve
from deltareg.host.lean_httpx import httpx
from deltareg.service.telling.addresses import WebhookAddress, pin_addresses

TIMEOUT_S = 15.0
"""How long one try may take from the look at the name to the end of the answer, seconds."""
_MOST_READ = 4 << 10
_LONGEST_WAIT_S = 3_600
_GONE = 410


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """What is sent.

    Attributes:
        target: Where to.
        body: The body.
        headers: Its headers.
    """

    target: WebhookAddress
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """What became of a try.

    Attributes:
        status: What was answered; None for nothing.
        told: What went wrong; empty where it arrived.
        took_us: How long it took, microseconds.
        wait_s: How long the receiver asks to wait, seconds; None where it does not.
    """

    status: int | None
    description: str
    took_us: int = 0
    wait_s: int | None = None

    @property
    def is_ok(self) -> bool:
        """Whether it arrived."""
        return not self.description

    @property
    def is_gone(self) -> bool:
        """Whether the receiver says that it is not there any more."""
        return self.status == _GONE


async def send(
    message: WebhookMessage, networks: Sequence[Network], *, timeout_s: float = TIMEOUT_S, resolving: Resolve = resolve
) -> AttemptOutcome:
    """Send a message and say what became of it; nothing is raised, and it is never sent twice."""
    begun = time.monotonic()
    outcome = AttemptOutcome(None, f"no answer within {timeout_s:g} seconds")
    with anyio.move_on_after(timeout_s):
        outcome = await _try_addresses(message, networks, resolving)
    took_us = round((time.monotonic() - begun) * 1_000_000)
    return AttemptOutcome(outcome.status, outcome.description, took_us, outcome.wait_s)


async def _try_addresses(message: WebhookMessage, networks: Sequence[Network], resolving: Resolve) -> AttemptOutcome:
    try:
        ips = await anyio.to_thread.run_sync(
            lambda: pin_addresses(message.target, networks, resolving=resolving), abandon_on_cancel=True
        )
    except InvalidInput as error:
        return AttemptOutcome(None, error.message)
    description = ""
    for ip in ips:
        try:
            return await _post(message, ip)
        except httpx.ConnectError as error:  # nothing was sent: the next address may be better
            description = description or f"cannot connect: {_words(error)}"
        except httpx.HTTPError as error:
            return AttemptOutcome(None, f"no answer: {_words(error)}")
    return AttemptOutcome(None, description)


async def _post(message: WebhookMessage, ip: str) -> AttemptOutcome:
    target = message.target
    headers = {
        **message.headers,
        "Host": target.authority,
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "User-Agent": f"deltareg/{__version__}",
    }
    # A connection of its own: one that is kept would be another receiver's at the same address.
    async with (
        httpx.AsyncClient(verify=_load_certificates(), trust_env=False, follow_redirects=False, timeout=None) as client,
        client.stream(
            "POST",
            target.at(ip),
            content=message.body,
            headers=headers,
            extensions={"sni_hostname": target.host} if target.scheme == "https" else {},
        ) as response,
    ):
        await _read_some(response)
        return _judge_response(response)


async def _read_some(response: httpx.Response) -> None:
    """Read to the end of a short answer, so that its sender sees it taken, and no further."""
    count = 0
    try:
        async for part in response.aiter_raw():
            count += len(part)
            if count > _MOST_READ:
                return
    except httpx.HTTPError:
        return  # the status has come, and is all that counts


def _judge_response(response: httpx.Response) -> AttemptOutcome:
    status = response.status_code
    if response.is_success:
        return AttemptOutcome(status, "")
    if response.is_redirect or 300 <= status < 400:
        return AttemptOutcome(status, f"answered {status}: redirects are not followed, name the last one")
    return AttemptOutcome(status, f"answered {status}", wait_s=_wait(response.headers.get("Retry-After")))


def _wait(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdecimal():
        return None
    return min(int(text[:9]), _LONGEST_WAIT_S)


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]


@cache
def _load_certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
