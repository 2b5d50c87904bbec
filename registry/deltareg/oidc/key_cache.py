"""A provider's public keys: fetched once, and again when it signs with one that is not among them.

A key that cannot be read is in nobody's way: only a token that it signs is refused, and the error names it.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet

from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import Unavailable
from deltareg.oidc.asking import ask

log = logging.getLogger(__name__)

LEAST_PAUSE_S = 10.0
"""How long the keys are not fetched again, however many unknown ones are named meanwhile."""
_FRESH_S = 3600.0
_MEMBERS = ("kty", "kid", "use", "alg", "n", "e", "crv", "x", "y")
"""The members of a key that are read (RFC 7517, RFC 7518); a certificate beside them may be anything."""
_MOST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class PublishedKeys:
    """The keys for signatures that a provider publishes, once each.

    Attributes:
        readable: Those that can check a signature.
        unreadable: What is wrong with each of the others, by its id or its place in the list.
    """

    readable: KeySet
    unreadable: Mapping[str, str] = field(default_factory=dict[str, str])


class KeyCache:
    """The keys of one provider; may be shared by threads."""

    def __init__(self, provider: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare; nothing is fetched yet.

        Args:
            provider: Its name, for errors.
            clock: Gives the seconds of a steady clock.
        """
        self._provider, self._clock = provider, clock
        self._lock = threading.Lock()
        self._published: PublishedKeys | None = None
        self._asked_at = float("-inf")

    def keys(self, url: str, kid: str | None) -> KeySet:
        """Return the keys, fetched anew if they are old or lack the one named.

        Raises:
            Unavailable: They were never fetched, and cannot be now; or the one named cannot be read.
        """
        with self._lock:
            age_s = self._clock() - self._asked_at
            known = self._published
            is_lacking = known is None or (kid is not None and all(key.kid != kid for key in known.readable))
            if age_s > _FRESH_S or (is_lacking and age_s >= LEAST_PAUSE_S):
                self._renew(url)
            return self._choose(kid)

    def newer_keys(self, url: str, kid: str | None) -> KeySet | None:
        """Return the keys fetched anew, as a signature does not fit those that there are; None if nothing changed.

        A provider that gives its keys no ids, or the same id to the next one, names no unknown key.

        Raises:
            Unavailable: The key named cannot be read.
        """
        with self._lock:
            if self._clock() - self._asked_at < LEAST_PAUSE_S:
                return None
            before = self._published
            self._renew(url)
            return None if self._published == before else self._choose(kid)

    def _renew(self, url: str) -> None:
        """Fetch the keys; what was fetched before serves on where that fails."""
        self._asked_at = self._clock()
        try:
            published = _fetch(url, self._provider)
        except Unavailable:
            if self._published is None:
                raise
            return
        known = {} if self._published is None else self._published.unreadable
        for name, why in published.unreadable.items():
            if known.get(name) != why:
                log.warning("the key %s of the provider %s cannot be read: %s", name, self._provider, why)
        self._published = published

    def _choose(self, kid: str | None) -> KeySet:
        known = self._published
        if known is None:
            raise _unreadable(self._provider)
        is_read = any(key.kid == kid for key in known.readable)
        named = kid if kid in known.unreadable and not is_read else None
        if named is None and not known.readable:
            named = next(iter(known.unreadable), None)
        if named is not None:
            raise Unavailable(
                f"the provider {self._provider} signs with its key {named}, which cannot be read:"
                f" {known.unreadable[named]}",
                fix="let it sign with RSA, P-256, P-384, P-521 or Ed25519",
            )
        return known.readable


def _fetch(url: str, provider: str) -> PublishedKeys:
    status, found = ask("GET", url, provider=provider)
    listed = found.get("keys")
    if status != 200 or not is_list(listed):
        raise _unreadable(provider)
    keys: list[Key] = []
    unreadable: dict[str, str] = {}
    for number, each in enumerate(listed, start=1):
        if is_object(each) and (each.get("use", "sig") != "sig" or each.get("kty") == "oct"):
            continue  # for something else, or a secret, with which anybody could sign
        try:
            key = _read_key(each)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            unreadable[_name_of(each, number)] = f"{type(error).__name__} {error}".strip()[:_MOST_SHOWN]
            continue
        if key not in keys:
            keys.append(key)
    if not keys and not unreadable:
        raise _unreadable(provider)
    return PublishedKeys(KeySet(keys), unreadable)


def _read_key(value: object) -> Key:
    """Read a public key.

    Raises:
        ValueError: It is none of a kind that signs; the library raises other errors besides.
    """
    if not is_object(value):
        raise ValueError("no object")
    if value.get("kty") not in ("RSA", "EC", "OKP"):
        raise ValueError(f"its type is {str(value.get('kty'))[:20]}")
    if "crv" in value and value["kty"] != "RSA" and not isinstance(value["crv"], str):
        raise ValueError("its curve is no name")
    read = {name: value[name] for name in _MEMBERS if value.get(name) is not None}
    key = JWKRegistry.import_key(cast("dict[str, str | list[str]]", read))
    key.ensure_kid()
    return key


def _name_of(value: object, number: int) -> str:
    """Return the id that a key has, as a text; its place if it has none."""
    kid = value.get("kid") if is_object(value) else None
    shown = "".join(letter for letter in str(kid)[:_MOST_SHOWN] if letter.isprintable())
    return shown if kid is not None and shown else f"number {number}"


def _unreadable(provider: str) -> Unavailable:
    return Unavailable(f"the keys of the provider {provider} cannot be read", fix="try again, or ask its admin")
