"""Bounds what a cold machine fetches: which pieces of other versions a version is stored with.

A machine that has the base and nothing else fetches what the version has in packs of its own, and
what is read for it of other versions' packs: equal pieces, and the chains below references. All of
that is within `MOST_TIMES` what the version would take alone, with no piece of another version. The
sums are exact: payloads are measured by encoding them, reads are planned as a pull plans them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from deltareg.client.packs.stored_pieces import ReusablePieces
from deltareg.codec import ENTRY_BYTES, PieceSource, Reference, measure_payloads, sample_sizes
from deltareg.digest import Digest
from deltareg.identity.pack_spans import MOST_TIMES, fetched_bytes
from deltareg.identity.storage_map import Chain

_WORTH: Final = 0.5  # a difference of more than this share saves little for what it costs a cold machine
_LEAST_BYTES: Final = 4 << 10  # so that a config or a model card keeps no pack from collection
_LEAST_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class StoragePlan:
    """How the pieces of a version are to be stored.

    Attributes:
        encoded: The pieces to encode, each with the only reference that it may have.
        reused: The pieces that stay where they are stored already.
    """

    encoded: Sequence[PieceSource]
    reused: frozenset[Digest]


def plan_storage(sources: Iterable[PieceSource], stored: ReusablePieces, *, workers: int, profile: str) -> StoragePlan:
    """Decide which pieces are stored with pieces of other versions: as many as the bound allows.

    Args:
        sources: All pieces of the version.
        stored: The pieces of other versions that it may use, the references of `sources` among them.
        workers: Threads to encode with.
        profile: The codec profile.
    """
    pieces: dict[Digest, PieceSource] = {}
    for source in sources:  # one that occurs twice is stored with its first reference
        pieces.setdefault(source.piece.digest, source)
    reusable = [_reuse(source, stored) for source in pieces.values() if _is_reusable(source, stored)]
    referring = [_referring(source, stored, profile) for source in pieces.values() if _is_new(source, stored)]
    measured = _measure([each for each in (*reusable, *referring) if each is not None], workers, profile)
    candidates = _worth_their_packs(measured, stored)
    taken = {each.source.piece.digest: each for each in _take(candidates, stored)}
    return StoragePlan(
        [_refer(source, taken.get(digest)) for digest, source in pieces.items() if not _stays(taken.get(digest))],
        frozenset(digest for digest, each in taken.items() if _stays(each)),
    )


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A piece that could be stored with pieces of other versions.

    Attributes:
        source: The piece, with the references that it has without other versions.
        chain: The stored pieces that would be read for it.
        reference: The piece of another version to encode it against; None if it is stored already.
        own_bytes: What it would take in a new pack with the reference; 0 if it is stored already.
        alone_bytes: What it would take with no piece of another version.
    """

    source: PieceSource
    chain: Chain
    reference: Reference | None = None
    own_bytes: int = 0
    alone_bytes: int = 0

    @property
    def price(self) -> tuple[float, int]:
        """How much more a cold machine fetches for each byte saved; of equal ones the largest first."""
        below_bytes = sum(chunk.length for piece in self.chain.pieces for chunk in piece.chunks)
        more = self.own_bytes + below_bytes - self.alone_bytes
        return max(more, 0) / max(self.alone_bytes - self.own_bytes, 1), -self.alone_bytes

    @property
    def place(self) -> tuple[str, int]:
        """Where the first chunk of the stored piece lies."""
        chunks = self.chain.piece.chunks
        return (str(chunks[0].pack), chunks[0].offset) if chunks else ("", 0)


def _is_reusable(source: PieceSource, stored: ReusablePieces) -> bool:
    return source.piece.digest in stored and not source.is_unchanged and source.piece.size_bytes > 0


def _is_new(source: PieceSource, stored: ReusablePieces) -> bool:
    return bool(source.others) and source.piece.digest not in stored and not source.is_unchanged


def _reuse(source: PieceSource, stored: ReusablePieces) -> _Candidate:
    return _Candidate(_alone(source), stored.chain(source.piece.digest))


def _referring(source: PieceSource, stored: ReusablePieces, profile: str) -> _Candidate | None:
    """Return the piece against another version's; None if a sample says that it is not worth it."""
    sizes = sample_sizes(source, profile=profile)
    size, reference = min(zip(sizes[1:], source.others, strict=True), key=lambda pair: pair[0])
    if size > _WORTH * sizes[0]:
        return None
    return _Candidate(_alone(source), stored.chain(reference.piece.digest), reference)


def _measure(candidates: Sequence[_Candidate], workers: int, profile: str) -> list[_Candidate]:
    """Encode what has to be known: each piece alone, and against its reference."""
    # What is reused and stands alone there would take as much here.
    deep = [each for each in candidates if each.reference is not None or len(each.chain.pieces) > 1]
    referring = [each.source.against(each.reference) for each in deep if each.reference is not None]
    alone = measure_payloads([each.source for each in deep], workers=workers, profile=profile)
    own = measure_payloads(referring, workers=workers, profile=profile)
    alone_by = {each.source.piece.digest: _size_in_pack(lengths) for each, lengths in zip(deep, alone, strict=True)}
    own_by = {source.piece.digest: _size_in_pack(lengths) for source, lengths in zip(referring, own, strict=True)}
    return [
        replace(
            each,
            own_bytes=own_by.get(each.source.piece.digest, 0),
            alone_bytes=alone_by.get(each.source.piece.digest)
            or _size_in_pack([chunk.length for chunk in each.chain.piece.chunks]),
        )
        for each in candidates
    ]


def _worth_their_packs(candidates: Sequence[_Candidate], stored: ReusablePieces) -> Sequence[_Candidate]:
    """Leave out what spares little in a pack of another version, which then stays as long as this version does."""
    spared: Counter[Digest] = Counter()
    for each in candidates:
        spared.update(dict.fromkeys(each.chain.packs, each.alone_bytes - each.own_bytes))
    worth = {
        pack.digest for pack in stored.packs if spared[pack.digest] >= max(_LEAST_BYTES, _LEAST_SHARE * pack.size_bytes)
    }
    return [each for each in candidates if each.chain.packs <= worth]


def _take(candidates: Sequence[_Candidate], stored: ReusablePieces) -> Sequence[_Candidate]:
    """Return the candidates that may be stored with others' pieces: all, or as many as fit.

    Those that cost a cold machine least come first; or those that lie together, if that saves more.
    """
    if _fits(candidates, candidates, stored):
        return candidates
    by_price = sorted(candidates, key=lambda each: (each.price, str(each.source.piece.digest)))
    by_place = sorted(candidates, key=lambda each: (each.reference is not None, each.place, each.price))
    fitting = [_longest_prefix(ordered, stored) for ordered in (by_price, by_place)]
    return max(fitting, key=lambda taken: sum(each.alone_bytes - each.own_bytes for each in taken))


def _longest_prefix(ordered: Sequence[_Candidate], stored: ReusablePieces) -> Sequence[_Candidate]:
    fitting, above = 0, len(ordered)
    while fitting < above:
        count = (fitting + above + 1) // 2
        if _fits(ordered[:count], ordered, stored):
            fitting = count
        else:
            above = count - 1
    return ordered[:fitting]


def _fits(taken: Sequence[_Candidate], candidates: Sequence[_Candidate], stored: ReusablePieces) -> bool:
    """Whether a cold machine may be given these of the candidates, and all others alone."""
    alone = sum(each.alone_bytes for each in candidates)
    own = alone - sum(each.alone_bytes - each.own_bytes for each in taken)
    chunks = (chunk for each in taken for piece in each.chain.pieces for chunk in piece.chunks)
    return own + fetched_bytes(chunks, stored.packs) <= MOST_TIMES * alone


def _stays(candidate: _Candidate | None) -> bool:
    return candidate is not None and candidate.reference is None


def _refer(source: PieceSource, candidate: _Candidate | None) -> PieceSource:
    reference = None if candidate is None else candidate.reference
    return _alone(source) if reference is None else source.against(reference)


def _alone(source: PieceSource) -> PieceSource:
    return replace(source, others=())


def _size_in_pack(lengths: Sequence[int]) -> int:
    """Return what payloads take in a pack."""
    return sum(lengths) + ENTRY_BYTES * len(lengths)
