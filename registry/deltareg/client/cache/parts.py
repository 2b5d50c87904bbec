"""Parts of packs in the cache: fetched ranges, and the beginnings of interrupted downloads.

::

    parts/sha256/ab/<64 hex>/<begin>-<end>-<16 hex>

The last field is the xxh3 of the file, so a part that was damaged on disk is recognised without its
pack. The check value of each chunk shows whether the right bytes arrived.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import xxhash

from deltareg.client.disk.kept_files import draft_in, out_of_space, put, remove, touch_path, write_draft
from deltareg.digest import Digest
from deltareg.identity.pack_spans import ByteSpan

_STEP = 1 << 20


@dataclass(frozen=True, slots=True, order=True)
class PackPart:
    """A cached part of a pack.

    Attributes:
        span: Which bytes of the pack it holds.
        path: Where it is.
    """

    span: ByteSpan
    path: Path


class PartialPacks:
    """The parts of packs in a cache's folder."""

    def __init__(self, root: Path) -> None:
        """Use a cache's folder; it is created when something is first kept."""
        self._root = root

    def folder(self, digest: Digest) -> Path:
        """Return where the parts of a pack lie, or would lie."""
        return self._root / "parts" / "sha256" / digest.hex[:2] / digest.hex

    def find(self, digest: Digest) -> list[PackPart]:
        """Return the parts of a pack in order, and mark them as used."""
        folder = touch_path(self.folder(digest))
        return [] if folder is None else sorted(parts_in(folder))

    def keep(self, digest: Digest, begin: int, body: Iterable[bytes]) -> PackPart:
        """Write a part, which ends where the body ends; parts inside it are removed.

        Raises:
            DiskFull: The disk is full.
        """
        hasher = xxhash.xxh3_64()
        with draft_in(self._root) as draft, out_of_space(self._root):
            size = write_draft(draft, _hash_chunks(body, hasher))
            return self.take(digest, begin, draft, size=size, check=hasher.hexdigest())

    def take(self, digest: Digest, begin: int, draft: Path, *, size: int, check: str) -> PackPart:
        """Turn a finished draft into a part; an empty draft is not kept."""
        span = ByteSpan(begin, begin + size)
        part = PackPart(span, self.folder(digest) / f"{span.begin}-{span.end}-{check}")
        if size:
            put(draft, part.path)
            for other in self.find(digest):
                if span.holds(other.span) and span != other.span:
                    remove(other.path)
        return part

    def drop(self, digest: Digest) -> bool:
        """Remove all parts of a pack; return whether there were any."""
        folder = self.folder(digest)
        was_there = folder.is_dir()
        remove(folder)
        return was_there

    def drop_damaged(self, digest: Digest) -> bool:
        """Read the parts of a pack again and remove damaged ones; return whether there were any."""
        damaged = [part for part in self.find(digest) if is_part_damaged(part.path)]
        for part in damaged:
            remove(part.path)
        return bool(damaged)

    def read(self, digest: Digest, *, until: int) -> Iterator[bytes]:
        """Yield a pack's bytes from its start, as far as its parts hold them without a gap."""
        position = 0
        for part in self.find(digest):
            if part.span.begin <= position < part.span.end:
                with part.path.open("rb") as file:
                    file.seek(position - part.span.begin)
                    while position < until and (chunk := file.read(_STEP)):
                        position += len(chunk)
                        yield chunk


def parts_in(folder: Path) -> Iterator[PackPart]:
    """Yield the complete parts in a folder; remove those whose length differs from their name."""
    for path in _list_folder(folder):
        begin, _, rest = path.name.partition("-")
        end = rest.partition("-")[0]
        if begin.isdecimal() and end.isdecimal():
            span = ByteSpan(int(begin), int(end))
            try:
                is_whole = path.stat().st_size == span.size_bytes > 0
            except FileNotFoundError:  # another process has just taken it away
                continue
            if is_whole:
                yield PackPart(span, path)
            else:
                remove(path)


def is_part_damaged(path: Path) -> bool:
    """Whether a part's bytes differ from what its name says."""
    hasher = xxhash.xxh3_64()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_STEP):
                hasher.update(chunk)
    except FileNotFoundError:
        return False
    return hasher.hexdigest() != path.name.rpartition("-")[2]


def _list_folder(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _hash_chunks(body: Iterable[bytes], hasher: xxhash.xxh3_64) -> Iterator[bytes]:
    for chunk in body:
        hasher.update(chunk)
        yield chunk
