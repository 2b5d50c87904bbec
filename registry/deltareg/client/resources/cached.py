"""Single things of the cache, by what people call them: pinned, unpinned, removed."""

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
    """The cache, with a server to ask what a reference means."""

    __slots__ = ()

    def pin(self, text: str) -> Pin:
        """Keep a version (its files and its packs), or one thing by its digest, whatever happens.

        Raises:
            NotFound: There is nothing with this digest in the cache, or no such version.
        """
        name, digests = self._find_digests(text)
        return self._context.cache.pins.add(name, digests)

    def unpin(self, text: str) -> Pin:
        """Let a thing be pruned again.

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
        """Take a version, or one thing by its digest, out of the cache.

        Raises:
            NotFound: There is no such thing.
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
        """Give the full name of a thing and the digests that are kept of it, its own first."""
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
    """Check that a text means one thing.

    Raises:
        InvalidInput: It means several.
    """
    if len(names) > 1:
        raise InvalidInput(
            f"{text} is the beginning of {len(names)} digests: {', '.join(names[:3])}", fix="write more of it"
        )
