"""Stretches of packs that a pull fetches in one request, planned from the chunks that it needs.

Chunks that lie near one another are fetched together, so that many small tensors take few requests.
A stretch has a limit, which also bounds what an interruption loses. Client and server plan alike, so
that what a pull will fetch is known from the storage map alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deltareg.digest import Digest

if TYPE_CHECKING:
    from deltareg.identity.manifest import Manifest
    from deltareg.identity.storage_map import Chunk, PackRef, StorageMap

GAP_BYTES = 16 << 10  # a request costs more than reading as much as this
LIMIT_BYTES = 16 << 20
WHOLE_SHARE = 0.95  # of a pack; where this much is wanted, its digest is had for little more
MOST_TIMES = 1.05
"""What a cold machine may fetch of a version, times what the version would take alone."""


@dataclass(frozen=True, slots=True, order=True)
class ByteSpan:
    """Bytes of a pack: from `begin` to before `end`."""

    begin: int
    end: int

    @property
    def size_bytes(self) -> int:
        """How many bytes they are."""
        return self.end - self.begin

    def holds(self, other: "ByteSpan") -> bool:
        """Whether all of the other's bytes are among these."""
        return self.begin <= other.begin and other.end <= self.end


def span_of(chunk: "Chunk") -> ByteSpan:
    """Return the span of its pack that a chunk takes."""
    return ByteSpan(chunk.offset, chunk.offset + chunk.length)


def is_nearly_whole(wanted_bytes: int, size_bytes: int) -> bool:
    """Whether so much of a pack is wanted that it is fetched whole."""
    return wanted_bytes >= WHOLE_SHARE * size_bytes or size_bytes - wanted_bytes <= GAP_BYTES


def coalesce(spans: Iterable[ByteSpan]) -> dict[ByteSpan, list[ByteSpan]]:
    """Join neighbouring spans into stretches up to the limit, each with the spans in it.

    A span longer than the limit is a stretch by itself.
    """
    stretches: dict[ByteSpan, list[ByteSpan]] = {}
    begin = end = 0
    inside: list[ByteSpan] = []
    for span in sorted(spans):
        is_near = span.begin - end <= GAP_BYTES and span.end - begin <= LIMIT_BYTES
        if inside and not is_near:
            stretches[ByteSpan(begin, end)] = inside
            inside = []
        if not inside:
            begin, end = span.begin, span.end
        inside.append(span)
        end = max(end, span.end)
    return stretches | ({ByteSpan(begin, end): inside} if inside else {})


def missing(held: Iterable[ByteSpan], size_bytes: int) -> list[ByteSpan]:
    """Return the spans of a pack that `held` does not cover, cut at the limit."""
    spans: list[ByteSpan] = []
    position = 0
    for span in (*sorted(held), ByteSpan(size_bytes, size_bytes)):
        end = min(span.begin, size_bytes)
        begins = range(position, end, LIMIT_BYTES)
        spans += [ByteSpan(begin, min(begin + LIMIT_BYTES, end)) for begin in begins]
        position = max(position, span.end)
    return spans


def fetched_bytes(chunks: "Iterable[Chunk]", packs: "Iterable[PackRef]") -> int:
    """Return how many bytes a machine with an empty cache fetches of packs, to read some chunks.

    Args:
        chunks: The chunks.
        packs: At least the packs that they lie in.
    """
    sizes = {pack.digest: pack.size_bytes for pack in packs}
    spans: dict[Digest, set[ByteSpan]] = {}
    for chunk in chunks:
        spans.setdefault(chunk.pack, set()).add(span_of(chunk))
    total = 0
    for digest, wanted in spans.items():
        stretched = sum(stretch.size_bytes for stretch in coalesce(wanted))
        total += sizes[digest] if is_nearly_whole(stretched, sizes[digest]) else stretched
    return total


def cold_bytes(manifest: "Manifest", storage: "StorageMap") -> int:
    """Return how many bytes a machine that has the base, and nothing else, fetches of a version."""
    from deltareg.identity.needed_chunks import needed_chunks  # a cache that is only looked into needs no manifest

    return fetched_bytes(needed_chunks(manifest, storage), storage.packs)
