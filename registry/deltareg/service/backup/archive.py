"""The place of backups: a store of its own, in which everything lies once, under its digest.

    blobs/<sha256>/<mark>          a pack, a segment of rows, a catalog, the keys; encrypted where a key was given
    blobs/<sha256>/<no mark>       how the names of all those begin, never encrypted
    log/backups/<time>-<digest>    what a backup is, signed; written last and deleted first, so that part of one is none

The mark tells objects that are encrypted to some keys from those to others. Names are of the bytes before
encryption, so the next backup finds what is there.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from deltareg.digest import Digest
from deltareg.errors import Conflict, IntegrityFailure, NotFound
from deltareg.service.backup.manifest import BackupManifest, read_manifest
from deltareg.service.backup.segments import ANOTHER
from deltareg.signing.age_keys import AgeKeys
from deltareg.store import BlobStore, fresh_key

_LOG = "backups"


@dataclass(slots=True)
class Archive:
    """Backups in a store.

    Attributes:
        store: The store; nothing else lies in it.
        keys: Whom objects are encrypted to, and what opens them.
        there: The names of objects that are known to be there.
        sent: How many objects were written, and their bytes.
    """

    store: BlobStore
    keys: AgeKeys = field(default_factory=AgeKeys)
    there: set[str] = field(default_factory=set[str])
    sent: list[int] = field(default_factory=list[int])

    def look(self) -> None:
        """Find out what is there, by listing the store once."""
        self.there = {key for key, _ in self.store.keys("blobs/")}

    def has(self, digest: str, mark: str = "") -> bool:
        """Whether an object is there; for the keys of this archive unless a mark says otherwise."""
        return self._name(digest, mark) in self.there

    def put(self, digest: str, body: Iterable[bytes]) -> None:
        """Write an object unless it is there.

        Args:
            digest: The sha256 of the bytes, in hex.
            body: The bytes; what it raises passes through, and nothing is written then.
        """
        name = self._name(digest, "")
        if name in self.there:
            return
        with suppress(Conflict):  # another backup into this place was quicker
            self.sent.append(self.store.write(name, self.keys.encrypt(body)))
        self.there.add(name)

    def get(self, digest: str, manifest: BackupManifest) -> Iterator[bytes]:
        """Give the bytes of an object.

        Raises:
            BlobMissing: It is not there.
            IntegrityFailure: It was cut short, or cannot be decrypted.
        """
        name = self._name(digest, manifest.mark)
        yield from self.keys.decrypt(self.store.read(name), is_encrypted=manifest.is_encrypted)

    def get_checked(self, digest: str, manifest: BackupManifest) -> Iterator[bytes]:
        """Give the bytes of an object whose name is the digest of its bytes; raise at the end if they are others.

        Raises:
            BlobMissing: It is not there.
            IntegrityFailure: They are not those that were backed up.
        """
        hashed = hashlib.sha256()
        for chunk in self.get(digest, manifest):
            hashed.update(chunk)
            yield chunk
        if hashed.hexdigest() != digest:
            raise IntegrityFailure(f"object {digest} of the backup is another one than it was", fix=ANOTHER)

    def add_manifest(self, manifest: BackupManifest, envelope: bytes) -> str:
        """Write what a backup is: from here on it is one, by the name that this returns."""
        name = _log_name(manifest, envelope)
        self.store.keep(name, envelope)
        return name

    def all(self) -> list[tuple[str, BackupManifest]]:
        """Return all backups, the oldest first, each with the name that its manifest lies under.

        Raises:
            IntegrityFailure: One was changed after it was signed, or is of a newer release.
        """
        read = [(envelope, read_manifest(envelope)) for envelope in self.store.read_log(_LOG)]
        return [(_log_name(manifest, envelope), manifest) for envelope, manifest in read]

    def find(self, backup: str = "") -> BackupManifest:
        """Return a backup by its name, or the newest.

        Raises:
            NotFound: There is no such backup.
            IntegrityFailure: The newest was changed after it was signed; an older one has to be named.
        """
        found: list[BackupManifest] = []
        newest: IntegrityFailure | None = None
        for envelope in self.store.read_log(_LOG):
            try:
                found.append(read_manifest(envelope))
            except IntegrityFailure as error:
                newest = error
            else:
                newest = None
        matching = [one for one in found if one.name == backup] if backup else found[-1:]
        names = ", ".join(one.name for one in found[-5:]) or "none"
        if newest is not None and not backup:
            raise IntegrityFailure(
                f"the newest backup: {newest.message}", fix=f"name an older one: {names}"
            ) from newest
        if not matching:
            raise NotFound(f"there is no backup {backup}".rstrip(), fix=f"there are: {names}")
        return matching[0]

    def _name(self, digest: str, mark: str) -> str:
        return fresh_key(Digest("sha256", digest), attempt=UUID(mark) if mark else self.keys.mark)


def _log_name(manifest: BackupManifest, envelope: bytes) -> str:
    return f"log/{_LOG}/{manifest.taken_us:018}-{hashlib.sha256(envelope).hexdigest()[:16]}"
