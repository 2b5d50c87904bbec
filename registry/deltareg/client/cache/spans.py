"""Stretches of packs: what a pull asks for in one request, planned from the chunks that it needs.

Chunks that lie near one another are fetched together, so many small tensors are few requests, and a
stretch has a limit, so what an interruption loses is bounded too.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deltareg.digest import Digest
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import Chunk, StorageMap

GAP_BYTES = 128 << 10  # a request costs more than reading as much as this
LIMIT_BYTES = 16 << 20
WHOLE_SHARE = 0.7  # of a pack; where this much is wanted, its digest is had for little more


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Bytes of a pack: from `begin` to before `end`."""

    begin: int
    end: int

    @property
    def size_bytes(self) -> int:
        """How many they are."""
        return self.end - self.begin

    def holds(self, other: "Span") -> bool:
        """Whether all of the other's bytes are among these."""
        return self.begin <= other.begin and other.end <= self.end


def needed_chunks(manifest: Manifest, storage: StorageMap) -> Iterator[Chunk]:
    """Give the chunks that a manifest's files are rebuilt from, in the order of need.

    A piece may be encoded against another one of the map, whose chunks come before its own.
    """
    seen: set[Digest] = set()
    for digest in _in_order(manifest):
        for needed in _with_references(digest, storage):
            if needed not in seen:
                seen.add(needed)
                yield from storage.pieces[needed].chunks


def span_of(chunk: Chunk) -> Span:
    """Give the bytes of its pack that a chunk is."""
    return Span(chunk.offset, chunk.offset + chunk.length)


def coalesce(spans: Iterable[Span]) -> dict[Span, list[Span]]:
    """Join what lies near one another into stretches up to the limit, each with what is in it.

    A span that is longer than the limit is a stretch by itself.
    """
    stretches: dict[Span, list[Span]] = {}
    begin = end = 0
    inside: list[Span] = []
    for span in sorted(spans):
        is_near = span.begin - end <= GAP_BYTES and span.end - begin <= LIMIT_BYTES
        if inside and not is_near:
            stretches[Span(begin, end)] = inside
            inside = []
        if not inside:
            begin, end = span.begin, span.end
        inside.append(span)
        end = max(end, span.end)
    return stretches | ({Span(begin, end): inside} if inside else {})


def missing(held: Iterable[Span], size_bytes: int) -> list[Span]:
    """Give what nobody holds of a pack, cut at the limit."""
    found: list[Span] = []
    position = 0
    for span in (*sorted(held), Span(size_bytes, size_bytes)):
        end = min(span.begin, size_bytes)
        begins = range(position, end, LIMIT_BYTES)
        found += [Span(begin, min(begin + LIMIT_BYTES, end)) for begin in begins]
        position = max(position, span.end)
    return found


def _in_order(manifest: Manifest) -> Iterator[Digest]:
    """Give the digests of a manifest's pieces, file by file."""
    tensors: dict[str, list[Digest]] = {}
    for tensor in manifest.tensors:
        tensors.setdefault(tensor.file, []).append(tensor.digest)
    for file in manifest.files:
        yield file.part.digest
        yield from tensors.get(file.path, ())


def _with_references(digest: Digest, storage: StorageMap) -> list[Digest]:
    """Give a piece and those of the map that it stands on, the foot first."""
    chain: list[Digest] = []
    piece = storage.pieces.get(digest)
    while piece is not None and piece.digest not in chain:
        chain.append(piece.digest)
        piece = None if piece.reference is None else storage.pieces.get(piece.reference)
    return chain[::-1]
