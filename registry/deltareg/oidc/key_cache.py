"""A provider's public keys: fetched once, and again when it signs with one that is not among them."""

import threading
import time
from collections.abc import Callable

from joserfc.errors import JoseError
from joserfc.jwk import KeySet, KeySetSerialization

from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import Unavailable
from deltareg.oidc.asking import ask

LEAST_PAUSE_S = 10.0
"""How long the keys are not fetched again, however many unknown ones are named meanwhile."""
_FRESH_S = 3600.0
_KINDS = {"RSA", "EC", "OKP"}


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
        self._keys: KeySet | None = None
        self._asked_at = float("-inf")

    def keys(self, url: str, kid: str | None) -> KeySet:
        """Return the keys, fetched anew if they are old or lack the one named.

        Raises:
            Unavailable: They were never fetched, and cannot be now.
        """
        with self._lock:
            age_s = self._clock() - self._asked_at
            is_lacking = self._keys is None or (kid is not None and all(key.kid != kid for key in self._keys))
            if age_s > _FRESH_S or (is_lacking and age_s >= LEAST_PAUSE_S):
                self._renew(url)
            if self._keys is None:
                raise _unreadable(self._provider)
            return self._keys

    def _renew(self, url: str) -> None:
        """Fetch the keys; what was fetched before serves on where that fails."""
        self._asked_at = self._clock()
        try:
            self._keys = _fetch(url, self._provider)
        except Unavailable:
            if self._keys is None:
                raise


def _fetch(url: str, provider: str) -> KeySet:
    status, found = ask("GET", url, provider=provider)
    listed = found.get("keys")
    if status != 200 or not is_list(listed):
        raise _unreadable(provider)
    public = [key for key in listed if is_object(key) and key.get("kty") in _KINDS and key.get("use", "sig") == "sig"]
    wanted: KeySetSerialization = {"keys": public}  # type: ignore[typeddict-item]  # the library checks each key
    try:
        return KeySet.import_key_set(wanted)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise _unreadable(provider) from error


def _unreadable(provider: str) -> Unavailable:
    return Unavailable(f"the keys of the provider {provider} cannot be read", fix="try again, or ask its admin")
