"""Stretches of packs that a pull fetches in one request, planned from the chunks that it needs.

Chunks that lie near one another are fetched together, so that many small tensors take few requests.
A stretch has a limit, which also bounds what an interruption loses.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.identity.storage_map import Chunk

GAP_BYTES = 128 << 10  # a request costs more than reading as much as this
LIMIT_BYTES = 16 << 20
WHOLE_SHARE = 0.7  # of a pack; where this much is wanted, its digest is had for little more


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


def span_of(chunk: Chunk) -> ByteSpan:
    """Return the span of its pack that a chunk takes."""
    return ByteSpan(chunk.offset, chunk.offset + chunk.length)


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
