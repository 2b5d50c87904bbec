"""Keys: which workers are enrolled, and which keys this machine trusts."""

from collections.abc import Sequence
from pathlib import Path

from deltareg.client import use_cases
from deltareg.client.resources.resource import AnyPath, Resource
from deltareg.client.results.listing import Listing
from deltareg.errors import InvalidInput, NotFound
from deltareg.wire import KeyEnrol, KeyInfo, KeyRevoke, Page, request_of

_PRINT = "print it where the worker runs: deltareg-worker key"


class Keys(Resource):
    """The public keys of workers and servers."""

    __slots__ = ()

    def list(self) -> Listing[KeyInfo]:
        """List every key that was ever enrolled, including ended ones."""
        return self._list("/keys", Page[KeyInfo])

    def enrol(self, name: str, key: str, *, host: str = "", replaces: bool = False) -> KeyInfo:
        """Enrol a worker by its public key, given as text or as a file.

        Raises:
            Conflict: The worker is enrolled with another key, which `replaces` would end.
        """
        request = request_of(KeyEnrol, name=name, key=_text(key), host=host, replaces=replaces)
        return self._context.api.post("/keys", request, KeyInfo)

    def revoke(self, named: str, *, reason: str) -> KeyInfo:
        """Revoke a key and everything it signed; by (the start of) its keyid, or its worker's name.

        Raises:
            NotFound: There is no such key.
        """
        keyid = self.find(named).keyid
        request = request_of(KeyRevoke, reason=reason)
        return self._context.api.post(f"/keys/{keyid}:revoke", request, KeyInfo)

    def find(self, named: str) -> KeyInfo:
        """Find a key by its keyid, by 8 or more characters of it, or by the name of its worker.

        Raises:
            NotFound: There is no such key.
            InvalidInput: Several keys match.
        """
        keys = list(self.list())
        live = [key for key in keys if key.name == named and key.state == "live"]
        started = [key for key in keys if len(named) >= 8 and key.keyid.startswith(named)]
        matches = live or started
        if not matches:
            raise NotFound(f"no worker {named} is enrolled", fix="deltareg worker keys")
        if len(matches) > 1:
            raise InvalidInput(f"{named} names several keys", fix="name one: deltareg worker keys")
        return matches[0]

    def export(self, path: AnyPath) -> int:
        """Write all keys to a file, to verify without the server; return how many there are."""
        trusted = use_cases.trusted_keys.told_keys(self._context)
        trusted.write(Path(path), server=self._context.config.server)
        return len(trusted.keys)

    def pin(self) -> Sequence[KeyInfo]:
        """Trust the server's current keys from now on; return those that are new."""
        return use_cases.trusted_keys.trusted_keys(self._context, takes_new=True)[1]


def _text(key: str) -> str:
    """Return a key that is given as text or in a file."""
    if key.startswith("ed25519:"):
        return key
    try:
        text = Path(key).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"no public key, and no file with one: {key[:80]}", fix=_PRINT) from error
    if "PRIVATE KEY" in text:
        raise InvalidInput(f"{key} is the key itself, which stays where it is", fix=_PRINT)
    return text.splitlines()[0] if text else ""
