"""Pieces whose reference is stored itself: decoded on demand, checked, in little memory."""

import tracemalloc
from dataclasses import replace
from itertools import pairwise

import pytest

from deltareg.codec import CHUNK_ELEMENTS, OrderedPool, PieceSource
from deltareg.codec.rebuild import PieceRebuilder
from deltareg.errors import DeltaregError, IntegrityFailure, Unavailable
from deltareg.identity.storage_map import StorageMap, StoredPiece
from tests.codec.samples import encoded, fetcher, nudged, piece_of, reader, source, weights


def generations(count, elements=5000):
    """Make a base and words that were nudged on from it, one generation after another."""
    found = [weights(elements)]
    for seed in range(count):
        found.append(nudged(found[-1], seed=seed))
    return found


def chained(words):
    """Store each generation against the one before; give packs, map and the base by digest."""
    sources = [
        PieceSource(piece_of("BF16", data), reader(data), piece_of("BF16", below), reader(below))
        for below, data in pairwise(words)
    ]
    packs, encoder = encoded(sources)
    base = {piece_of("BF16", words[0]).digest: reader(words[0])}
    return packs, StorageMap(encoder.pack_refs, encoder.pieces), base


def rebuilt(storage, packs, base, piece):
    with OrderedPool(2) as pool:
        return b"".join(PieceRebuilder(storage, fetcher(packs), base, pool)([piece]))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_chain_is_decoded_down_to_the_base(count):
    words = generations(count)
    packs, storage, base = chained(words)

    assert rebuilt(storage, packs, base, piece_of("BF16", words[-1])) == words[-1]


def test_chunks_need_not_end_where_those_of_the_reference_do():
    words = generations(2, 30_000)
    packs, storage, base = chained(words)
    # The same bytes as the last generation, cut at other places than its reference was.
    cuts = [0, 600, 20_000, 40_002, 59_000, 60_000]
    below = words[1]
    parts = [source("BF16", words[2][begin:end], below[begin:end]) for begin, end in pairwise(cuts)]
    more, encoder = encoded(parts)
    chunks = tuple(chunk for part in parts for chunk in encoder.pieces[part.piece.digest].chunks)
    top = piece_of("BF16", words[2])
    piece = StoredPiece(top.digest, piece_of("BF16", below).digest, chunks)
    cut_map = StorageMap((*storage.packs, *encoder.pack_refs), {**storage.pieces, top.digest: piece})

    assert rebuilt(cut_map, packs | more, base, top) == words[2]


def test_a_damaged_reference_is_found_before_it_is_used():
    words = generations(2)
    packs, storage, base = chained(words)
    below = storage.pieces[piece_of("BF16", words[1]).digest]
    chunk = below.chunks[0]
    damaged = bytearray(packs[chunk.pack])
    damaged[chunk.offset + chunk.length // 2] ^= 0x10

    with pytest.raises(DeltaregError) as found:
        rebuilt(storage, {chunk.pack: bytes(damaged)}, base, piece_of("BF16", words[2]))

    assert isinstance(found.value, IntegrityFailure)


def test_a_reference_that_is_too_short_is_refused():
    words = generations(2)
    packs, storage, base = chained(words)
    short = storage.pieces[piece_of("BF16", words[1]).digest]
    short = replace(short, chunks=(replace(short.chunks[0], size_bytes=5000),))
    broken = StorageMap(storage.packs, {**storage.pieces, short.digest: short})

    with pytest.raises(IntegrityFailure, match="beyond the end"):
        rebuilt(broken, packs, base, piece_of("BF16", words[2]))


def test_without_the_base_nothing_comes_of_a_chain():
    words = generations(2)
    packs, storage, _ = chained(words)

    with pytest.raises(Unavailable, match="base tensor"):
        rebuilt(storage, packs, {}, piece_of("BF16", words[2]))


def test_no_reference_is_ever_held_whole():
    words = generations(3, 12 * CHUNK_ELEMENTS)
    packs, storage, base = chained(words)
    top = piece_of("BF16", words[-1])

    tracemalloc.start()
    with OrderedPool(2) as pool:
        for _ in PieceRebuilder(storage, fetcher(packs), base, pool)([top]):
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 2 * 2 * 12 * (2 * CHUNK_ELEMENTS) / 2, "half of two references"
