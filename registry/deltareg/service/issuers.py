"""Whose assertions may be exchanged, and the keys that they sign with, by OpenID Connect discovery.

Only issuers that the operator lists are ever asked. Nothing that a request says names an address:
an issuer's own document names where its keys are, and that host has to be the issuer's own or one of
the open Internet. Answers are small, soon, and never redirects.
"""

import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from deltareg.documents.json_values import is_list, is_object
from deltareg.documents.strict_json import parse_object
from deltareg.errors import InvalidInput, Unavailable
from deltareg.host.addresses import Network, is_allowed, resolve
from deltareg.host.lean_httpx import httpx
from deltareg.host.token_files import is_here
from deltareg.host.urls import split_url

GITHUB, GITLAB = "https://token.actions.githubusercontent.com", "https://gitlab.com"
KNOWN = (GITHUB, GITLAB)
"""The issuers that are listed where an operator lists none."""
FRESH_S = 600.0
"""How long keys are used before they are asked for again."""
STALE_S = 3600.0
"""How long keys are used while their issuer does not answer."""
PAUSE_S = 10.0
"""How long an issuer is left alone after it failed, or had no such key: nobody makes us call it at will."""
_TIMEOUT_S = 5.0
_WHOLE_S = 10.0
_MOST_BYTES = 256 << 10
_MOST_KEYS = 64
Jwk = Mapping[str, object]


@dataclass(slots=True)
class _Known:
    """What is known of one issuer; times are of `clock`, `-inf` for never."""

    keys: Mapping[str, Jwk] = field(default_factory=dict[str, Jwk])
    fetched_at: float = float("-inf")
    tried_at: float = float("-inf")
    why: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Issuers:
    """The issuers that the operator lists, with a cache of their keys; threads may share it."""

    def __init__(
        self,
        listed: Sequence[str] = KNOWN,
        *,
        networks: Sequence[Network] = (),
        also_trusted: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is fetched yet.

        Args:
            listed: Their names, as `iss` writes them: https, or http on this machine.
            networks: Private networks in which another host than the issuer's own may hold its keys.
            also_trusted: Certificates of further authorities, PEM: those of a cluster.
            clock: Returns seconds.

        Raises:
            InvalidInput: One is no address of an issuer, or there are no such certificates.
        """
        for issuer in listed:
            _check(issuer)
        self.listed = tuple(listed)
        self._networks = tuple(networks)
        self._also_trusted = also_trusted
        if also_trusted is not None:
            _load_certificates(also_trusted)
        self._clock = clock
        self._known = {issuer: _Known() for issuer in listed}

    def key(self, issuer: str, keyid: str) -> Jwk | None:
        """Return a public key of a listed issuer; None if it has none of that id.

        Raises:
            Unavailable: The issuer does not answer, and no keys of it are known.
        """
        known = self._known[issuer]
        if not self._may_ask(known, keyid):
            return self._use(issuer, known, keyid)
        if known.lock.acquire(timeout=_WHOLE_S):
            try:
                if self._may_ask(known, keyid):  # the thread before this one may have asked
                    self._ask(issuer, known)
            finally:
                known.lock.release()
        return self._use(issuer, known, keyid)

    def _may_ask(self, known: _Known, keyid: str) -> bool:
        now = self._clock()
        is_wanted = now - known.fetched_at > FRESH_S or keyid not in known.keys
        return is_wanted and now - known.tried_at > PAUSE_S

    def _use(self, issuer: str, known: _Known, keyid: str) -> Jwk | None:
        if self._clock() - known.fetched_at > STALE_S:
            raise Unavailable(
                f"{issuer} does not give its keys: {known.why or 'it was asked just now'}",
                fix="try again in a moment; if it lasts, see whether the server may reach it",
            )
        return known.keys.get(keyid)

    def _ask(self, issuer: str, known: _Known) -> None:
        try:
            keys = self._fetch(issuer)
        except InvalidInput as error:
            known.why = error.message
        else:
            known.keys, known.fetched_at, known.why = keys, self._clock(), ""
        finally:
            known.tried_at = self._clock()

    def _fetch(self, issuer: str) -> Mapping[str, Jwk]:
        document = self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration", issuer)
        if document.get("issuer") != issuer:
            raise InvalidInput("its discovery document names another issuer")
        where = document.get("jwks_uri")
        if not isinstance(where, str):
            raise InvalidInput("its discovery document does not say where its keys are")
        keys = self._get(where, issuer).get("keys")
        if not is_list(keys) or len(keys) > _MOST_KEYS:
            raise InvalidInput(f"it has no list of at most {_MOST_KEYS} keys")
        named = [(key.get("kid"), key) for key in keys if is_object(key)]
        ids = [keyid for keyid, _ in named if isinstance(keyid, str)]
        return {keyid: key for keyid, key in named if isinstance(keyid, str) and ids.count(keyid) == 1}

    def _get(self, url: str, issuer: str) -> dict[str, object]:
        """Fetch one JSON document: from an address that was looked at, whole, soon, and without a redirect.

        Raises:
            InvalidInput: It cannot be had so.
        """
        target = _check(url)
        host, port = target.hostname or "", target.port or (443 if target.scheme == "https" else 80)
        if target.scheme == "http" and not (is_here(url) and is_here(issuer)):
            raise InvalidInput(f"{url[:200]} is not https")
        ip = self._pin(host, port, is_own=host == split_url(issuer).hostname)
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        literal = f"[{ip}]" if ":" in ip else ip
        headers = {"Host": target.netloc, "Accept": "application/json", "Accept-Encoding": "identity"}
        until = time.monotonic() + _WHOLE_S
        try:
            with (
                httpx.Client(
                    verify=_load_certificates(self._also_trusted),
                    trust_env=False,
                    follow_redirects=False,
                    timeout=_TIMEOUT_S,
                ) as client,
                client.stream(
                    "GET",
                    f"{target.scheme}://{literal}:{port}{path}",
                    headers=headers,
                    extensions={"sni_hostname": host} if target.scheme == "https" else {},
                ) as response,
            ):
                if response.status_code != 200:
                    raise InvalidInput(f"{url[:200]} answers {response.status_code}")
                body = bytearray()
                for part in response.iter_raw():
                    body += part
                    if len(body) > _MOST_BYTES or time.monotonic() > until:
                        raise InvalidInput(f"{url[:200]} is too long, or too slow")
        except httpx.HTTPError as error:
            raise InvalidInput(f"{url[:200]}: {str(error)[:200] or type(error).__name__}") from error
        return parse_object(bytes(body), what=url[:200])

    def _pin(self, host: str, port: int, *, is_own: bool) -> str:
        try:
            ips = resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise InvalidInput(f"{host} is not found from this server") from error
        if not ips or not (is_own or all(is_allowed(ip_address(ip), self._networks) for ip in ips)):
            raise InvalidInput(f"{host} is no address of the open Internet")
        return ips[0]


def _check(url: str) -> SplitResult:
    """Parse an address that may be asked.

    Raises:
        InvalidInput: It is none.
    """
    wrong = InvalidInput(f"no address of an issuer: {url[:200]!r}", fix="https://gitlab.example")
    if not url.isascii() or not url.isprintable() or set(url) & set(' \\"<>^`{|}#@'):
        raise wrong
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises where it is no number
    except ValueError as error:
        raise wrong from error
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise wrong
    if parts.scheme == "http" and not is_here(url):
        raise InvalidInput(f"an issuer is asked by https alone, not by {url[:200]}", fix="https://…")
    return parts


@cache
def _load_certificates(also: Path | None) -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    if also is not None:
        try:
            context.load_verify_locations(also)
        except OSError as error:  # ssl.SSLError is one
            raise InvalidInput(f"there are no certificates in {also}", fix="name a PEM file of the cluster") from error
    return context
