"""Pieces come back byte for byte, or not at all."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.codec import CHUNK_ELEMENTS, OrderedPool, PieceRequest, decode_piece, decode_pieces
from deltareg.errors import BaseMismatch, IntegrityFailure
from deltareg.identity.storage_map import StoredPiece
from deltareg.tensors.header import ITEM_BYTES
from tests.codec.samples import encoded, fetcher, noise, nudged, reader, source, weights


def decoded(one, packs, piece, **options):
    """Decode a piece as its source describes it."""
    options.setdefault("read_reference", one.read_reference)
    return b"".join(decode_piece(piece, one.piece, fetch=fetcher(packs), **options))


def stored(one):
    """Encode one source: (packs, stored piece)."""
    packs, encoder = encoded([one])
    return packs, encoder.pieces[one.piece.digest]


BASE = weights(2 * CHUNK_ELEMENTS + 1001)
TUNED = source("BF16", nudged(BASE), BASE)
SOURCES = {
    "a fine-tune": TUNED,
    "an unchanged tensor": source("BF16", BASE, BASE),
    "a tensor alone": source("F32", weights(CHUNK_ELEMENTS + 3, 4)),
    "noise": source("U8", noise(3 << 20)),
    "a text": source("U8", b"key: value\n" * 9000),
    "an empty file": source("U8", b""),
    "a scalar": source("F32", b"\0\0\x80\x3f", shape=()),
}


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
@pytest.mark.parametrize("name", SOURCES)
def test_it_comes_back(name, workers):
    one = SOURCES[name]
    packs, piece = stored(one)

    with OrderedPool(workers) as pool:
        data = decoded(one, packs, piece, pool=pool if workers else None)

    assert data == one.read(0, one.piece.size_bytes)


@given(
    dtype=st.sampled_from(sorted(ITEM_BYTES)),
    words=st.binary(min_size=1, max_size=500),
    steps=st.lists(st.integers(0, 255), min_size=1, max_size=9),
)
def test_any_tensor_comes_back(dtype, words, steps):
    data = words * ITEM_BYTES[dtype]
    reference = bytes((b + steps[i % len(steps)]) & 0xFF for i, b in enumerate(data))
    one = source(dtype, data, reference)
    packs, piece = stored(one)

    assert decoded(one, packs, piece) == data


@pytest.mark.parametrize("workers", [1, 3])
def test_pieces_come_back_one_after_another(workers):
    sources = list(SOURCES.values())
    packs, encoder = encoded(sources)
    requests = [PieceRequest(encoder.pieces[s.piece.digest], s.piece, s.read_reference) for s in sources]

    with OrderedPool(workers) as pool:
        data = b"".join(decode_pieces(requests, fetch=fetcher(packs), pool=pool))

    assert data == b"".join(s.read(0, s.piece.size_bytes) for s in sources)


def test_an_empty_piece_is_checked_as_well():
    one = SOURCES["an empty file"]
    other = replace(one.piece, digest=SOURCES["noise"].piece.digest)

    with pytest.raises(IntegrityFailure):
        list(decode_piece(StoredPiece(other.digest, None, ()), other, fetch=fetcher({})))


def test_a_piece_with_another_digest_is_refused_at_its_end():
    one = SOURCES["a tensor alone"]
    packs, piece = stored(one)
    other = replace(one.piece, shape=(1, *one.piece.shape))

    with pytest.raises(IntegrityFailure, match="is not blake3:"):
        list(decode_piece(piece, other, fetch=fetcher(packs)))


def test_chunks_in_another_order_are_refused():
    packs, piece = stored(TUNED)
    first, second, *rest = piece.chunks

    with pytest.raises(IntegrityFailure):
        decoded(TUNED, packs, replace(piece, chunks=(second, first, *rest)))


@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: (*c, c[-1])])
def test_chunks_that_do_not_add_up_are_refused_before_any_is_fetched(change):
    _, piece = stored(TUNED)

    def fetch(chunk):
        raise AssertionError("a chunk was fetched")

    with pytest.raises(IntegrityFailure, match="bytes, not"):
        list(decode_piece(replace(piece, chunks=change(piece.chunks)), TUNED.piece, fetch=fetch))


def test_a_chunk_against_no_named_reference_is_refused():
    packs, piece = stored(TUNED)

    with pytest.raises(IntegrityFailure, match="needs a reference"):
        decoded(TUNED, packs, replace(piece, reference=None))


def test_another_base_is_refused():
    packs, piece = stored(TUNED)

    with pytest.raises(IntegrityFailure):
        decoded(TUNED, packs, piece, read_reference=reader(weights(len(BASE) // 2, seed=8)))


@pytest.mark.parametrize("name", ["a fine-tune", "an unchanged tensor"])
def test_a_missing_base_is_named(name):
    packs, piece = stored(SOURCES[name])

    with pytest.raises(BaseMismatch, match="name the base") as caught:
        raise_with_fix(lambda: decoded(SOURCES[name], packs, piece, read_reference=None))

    assert "reference" in caught.value.message


def raise_with_fix(run):
    """Run and put the fix into the message, where `match` looks."""
    try:
        run()
    except BaseMismatch as error:
        error.args = (f"{error.message}: {error.fix}",)
        raise


def test_a_base_that_is_shorter_is_named():
    packs, piece = stored(TUNED)

    with pytest.raises(BaseMismatch):
        decoded(TUNED, packs, piece, read_reference=reader(BASE[:-4]))


def test_an_unchanged_piece_is_checked_against_its_digest():
    one = SOURCES["an unchanged tensor"]
    piece = StoredPiece(one.piece.digest, one.piece.digest, ())

    with pytest.raises(IntegrityFailure):
        decoded(one, {}, piece, read_reference=reader(nudged(BASE)))


def test_one_damaged_chunk_stops_all_threads():
    packs, piece = stored(TUNED)
    ((digest, pack),) = packs.items()
    at = piece.chunks[1].offset + piece.chunks[1].length // 2
    damaged = {digest: pack[:at] + bytes([pack[at] ^ 0xFF]) + pack[at + 1 :]}

    with OrderedPool(2) as pool, pytest.raises(IntegrityFailure):
        decoded(TUNED, damaged, piece, pool=pool)
