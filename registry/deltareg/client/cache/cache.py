"""The client's cache: content-addressed, safe for several processes and network disks.

::

    <cache dir>/
      blobs/sha256/ab/<64 hex>      packs
      parts/sha256/ab/<64 hex>/     parts of packs, by the bytes that they hold
      manifests/<64 hex>            manifests by their own digest
      snapshots/<64 hex>/           pulled versions by manifest digest, whole or absent
      bases/<64 hex>/               bases by root, whole or absent
      bases-in-use/<64 hex>         locks that workers hold on the bases they use, which then stay
      digests/<64 hex>              digests of local folders, by path and file stat, and
                                    comparisons of versions, by all that they depend on
      pins/<64 hex>                 what is never pruned
      tmp/<uuid>                    one process's work in progress

All files are read-only. Correctness never depends on a lock: a file under its final name is whole,
because it was renamed into place, and two processes that write the same thing write the same bytes. What
is lost of a note that two change at once on a disk without locks is found again.
"""

import hashlib
import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.client.disk.kept_files import (
    draft_in,
    keep_note,
    out_of_space,
    put,
    read_note,
    remove,
    touch_path,
    write_draft,
)
from deltareg.digest import Digest
from deltareg.errors import IntegrityFailure

if TYPE_CHECKING:  # each is loaded when it is used: most commands only ask a registry something
    from deltareg.client.cache.parts import PartialPacks
    from deltareg.client.cache.pins import Pins
    from deltareg.client.cache.pruning import CacheEntry, PruneReport


class Cache:
    """The cache under one folder."""

    def __init__(self, root: Path) -> None:
        """Use a folder as the cache; it is created when something is first kept."""
        self.path = root

    @property
    def parts(self) -> "PartialPacks":
        """The parts of packs."""
        from deltareg.client.cache.parts import PartialPacks

        return PartialPacks(self.path)

    @property
    def pins(self) -> "Pins":
        """What is never pruned."""
        from deltareg.client.cache.pins import Pins

        return Pins(self.path)

    def blob_path(self, digest: Digest) -> Path:
        """Return where a pack lies, or would lie."""
        return self.path / "blobs" / "sha256" / digest.hex[:2] / digest.hex

    def folder_path(self, kind: str, digest: Digest) -> Path:
        """Return where a snapshot or base lies, or would lie."""
        return self.path / kind / digest.hex

    def find_blob(self, digest: Digest) -> Path | None:
        """Return the path of a cached pack and mark it as used; None if it is not cached."""
        return touch_path(self.blob_path(digest))

    def find_folder(self, kind: str, digest: Digest) -> Path | None:
        """Return a cached snapshot or base and mark it as used; None if it is not cached."""
        return touch_path(self.folder_path(kind, digest))

    def drop_folder(self, kind: str, digest: Digest) -> None:
        """Remove a snapshot or base, if it is there."""
        remove(self.folder_path(kind, digest))

    def drop_damaged(self, digests: Collection[Digest]) -> bool:
        """Read packs and their parts again and remove damaged ones; return whether there were any.

        If nothing is damaged, all parts are removed: the wrong bytes may have arrived for one of
        them.
        """
        from deltareg.client.cache import pruning

        blobs = [path for path in map(self.blob_path, digests) if pruning.is_damaged(path)]
        for path in blobs:
            remove(path)
        parts = [digest for digest in digests if self.parts.drop_damaged(digest)]
        if blobs or parts:
            return True
        return bool([digest for digest in digests if self.parts.drop(digest)])

    def keep_blob(self, digest: Digest, body: Iterable[bytes], *, size_bytes: int) -> Path | None:
        """Write a pack and check its digest; if the body breaks off, keep a part and return None.

        Raises:
            IntegrityFailure: The bytes do not have that digest; nothing is kept.
            DiskFull: The disk is full.
        """
        import xxhash

        whole, part = hashlib.sha256(), xxhash.xxh3_64()

        def hash_chunks() -> Iterator[bytes]:
            for chunk in body:
                whole.update(chunk)
                part.update(chunk)
                yield chunk

        target = self.blob_path(digest)
        with self.draft() as draft, out_of_space(self.path):
            size = write_draft(draft, hash_chunks())
            if size < size_bytes:
                self.parts.take(digest, 0, draft, size=size, check=part.hexdigest())
                return None
            if whole.hexdigest() != digest.hex:
                raise IntegrityFailure(
                    f"pack {digest.short} arrived as {whole.hexdigest()[:12]}",
                    fix="pull again; if it happens again, push the same folder again",
                )
            put(draft, target)
        self.parts.drop(digest)
        return target

    def manifest(self, digest: Digest) -> bytes | None:
        """Return a cached manifest; None if it is not cached."""
        raw = read_note(self.path / "manifests" / digest.hex)
        return raw if raw and hashlib.sha256(raw).hexdigest() == digest.hex else None

    def keep_manifest(self, digest: Digest, raw: bytes) -> None:
        """Keep a manifest."""
        keep_note(self.path, self.path / "manifests" / digest.hex, raw)

    def note(self, name: str) -> bytes | None:
        """Return a note on local digests; None if there is none."""
        return read_note(self.path / "digests" / name)

    def keep_note(self, name: str, raw: bytes) -> None:
        """Keep a note on local digests."""
        keep_note(self.path, self.path / "digests" / name, raw)

    def change_note(self, name: str, change: Callable[[bytes | None], bytes | None]) -> None:
        """Change a note from what it says at that moment; other processes that change it wait.

        Args:
            name: Its name.
            change: Returns the new content from the old one; None leaves it as it is.
        """
        from deltareg.host.shared_files import hold_folder

        folder = self.path / "digests"
        with suppress(OSError):  # keeping it says what is wrong
            folder.mkdir(parents=True, exist_ok=True)
        with hold_folder(folder) if folder.is_dir() else nullcontext():
            after = change(self.note(name))
            if after is not None:
                self.keep_note(name, after)

    def keep_first(self, name: str, raw: bytes) -> bytes:
        """Keep a note that is computed once: where another process was faster, return its bytes."""
        target = self.path / "digests" / name
        with self.draft() as draft, out_of_space(self.path):
            write_draft(draft, [raw])
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(draft, target)
            except FileExistsError:
                return target.read_bytes()
            except OSError:  # a disk without links: two at once are two, and the later one stays
                put(draft, target)
        return raw

    @contextmanager
    def draft(self) -> Generator[Path, None, None]:
        """Yield a fresh path to write to; whatever is still there at the end is removed."""
        with draft_in(self.path) as draft:
            yield draft

    def entries(self) -> "list[CacheEntry]":
        """List everything that pruning may remove, least recently used first."""
        from deltareg.client.cache import pruning

        return pruning.entries(self.path)

    def prune(
        self,
        *,
        max_bytes: int | None = None,
        older_than_s: float | None = None,
        dry_run: bool = False,
        now: float | None = None,
        keep: Collection[Path] = (),
    ) -> "PruneReport":
        """Remove entries that were not used for some time, then the oldest until the rest fits."""
        from deltareg.client.cache import pruning

        return pruning.prune(
            self.path, max_bytes=max_bytes, older_than_s=older_than_s, dry_run=dry_run, now=now, keep=keep
        )

    def verify(self, *, fix: bool = False) -> list[str]:
        """Hash every pack and part again and list the damaged ones; with `fix`, remove them."""
        from deltareg.client.cache import pruning

        return pruning.verify(self.path, fix=fix)
