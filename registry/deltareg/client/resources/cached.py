"""Pins, unpins and removes single entries of the cache, by the names that people use."""

from collections.abc import Sequence

from deltareg.client.asking.resolving import resolve, version_path
from deltareg.client.cache.pins import Pin
from deltareg.client.cache.pruning import PruneReport
from deltareg.client.disk.kept_files import remove
from deltareg.client.resources.resource import Resource
from deltareg.errors import Conflict, InvalidInput, NotFound
from deltareg.identity.storage_map import StorageMap
from deltareg.refs import Ref

_LEAST_DIGITS = 6


class Cached(Resource):
    """The cache on this machine, with a server to resolve references."""

    __slots__ = ()

    def pin(self, text: str) -> Pin:
        """Keep a version (files and packs), or an entry by its digest, whatever the cache's size.

        Raises:
            NotFound: The cache has nothing with this digest, or the version does not exist.
        """
        name, digests = self._find_digests(text)
        return self._context.cache.pins.add(name, digests)

    def unpin(self, text: str) -> Pin:
        """Let a pinned version or entry be pruned again.

        Raises:
            NotFound: It is not pinned.
        """
        pins = self._context.cache.pins.all()
        prefix = _hex(text)
        matches = [pin for pin in pins if text == pin.name or _starts(pin.digests[0], prefix)]
        if not matches and "/" in text:  # a channel, perhaps
            name = resolve(self._context, Ref.parse(text), bare="prod").ref
            matches = [pin for pin in pins if pin.name == name]
        if not matches:
            raise NotFound(f"{text} is not pinned", fix="deltareg cache ls")
        _check_one(text, [pin.name for pin in matches])
        self._context.cache.pins.drop(matches[0])
        return matches[0]

    def remove(self, text: str, *, dry_run: bool = False) -> PruneReport:
        """Remove a version, or one entry by its digest, from the cache.

        Raises:
            NotFound: The cache has no such entry.
            Conflict: It is pinned; nothing is removed.
        """
        name, digests = self._find_digests(text)
        entries = [entry for entry in self._context.cache.entries() if entry.digest in digests]
        pin_names = [pin.name for pin in self._context.cache.pins.all() if {*pin.digests} & {*digests}]
        if pin_names:
            raise Conflict(f"{name} is pinned", fix=f"deltareg cache unpin {pin_names[0]}")
        if not dry_run:
            for entry in entries:
                remove(entry.path)
        return PruneReport(len(entries), sum(entry.size_bytes for entry in entries), dry_run)

    def _find_digests(self, text: str) -> tuple[str, tuple[str, ...]]:
        """Return the full name of a version or entry, and its cached digests, its own first."""
        if "/" in text:
            return self._version(Ref.parse(text))
        prefix = _hex(text)
        matches = {e.digest for e in self._context.cache.entries() if _starts(e.digest, prefix)}
        if not matches:
            raise NotFound(f"the cache holds nothing with the digest {text}", fix="deltareg cache ls")
        _check_one(text, sorted(matches))
        (digest,) = matches
        return digest, (digest,)

    def _version(self, ref: Ref) -> tuple[str, tuple[str, ...]]:
        version = resolve(self._context, ref, bare="prod")
        path = version_path(Ref.parse(version.ref))
        storage = StorageMap.decode(self._context.api.send("GET", f"{path}/storage").content)
        own = version.digest.rpartition(":")[2]
        return version.ref, (own, *(pack.digest.hex for pack in storage.packs))


def _hex(text: str) -> str:
    return text.rpartition(":")[2].lower()


def _starts(digest: str, prefix: str) -> bool:
    return len(prefix) >= _LEAST_DIGITS and digest.startswith(prefix)


def _check_one(text: str, names: Sequence[str]) -> None:
    """Check that a text means a single thing.

    Raises:
        InvalidInput: It means several.
    """
    if len(names) > 1:
        raise InvalidInput(
            f"{text} is the beginning of {len(names)} digests: {', '.join(names[:3])}", fix="write more of it"
        )
