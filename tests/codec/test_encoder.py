"""Pieces become packs: the same ones every time, once each, and in little memory."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deltareg.codec import CHUNK_ELEMENTS, PackEncoder, PieceSource, Reference, read_pack
from deltareg.codec.chunk_codec import CONTEXTS, FLOATS, RAW, ZSTD
from deltareg.codec.codecs import thread_codecs
from deltareg.digest import sha256_of
from deltareg.errors import InvalidInput
from deltareg.identity.storage_map import StorageMap, StoredPiece
from tests.codec.samples import encoded, noise, nudged, piece_of, reader, source, weights


def stored(one, **options):
    """Encode one source and give its stored piece."""
    _, encoder = encoded([one], **options)
    return encoder.pieces[one.piece.digest]


def codecs(piece):
    return [chunk.codec for chunk in piece.chunks]


def test_packs_are_the_same_whatever_the_number_of_threads():
    base = weights(3 * CHUNK_ELEMENTS + 17)
    sources = [
        source("BF16", nudged(base), base),
        source("F32", weights(2 * CHUNK_ELEMENTS, 4)),
        *(source("BF16", nudged(base[:2000], seed=n), base[:2000]) for n in range(40)),
        source("U8", b'{"a": 1}' * 500),
    ]

    runs = [encoded(sources, workers=workers) for workers in (1, 2, 5)]

    first_packs, first = runs[0]
    for packs, encoder in runs[1:]:
        assert packs == first_packs
        assert encoder.pieces == first.pieces
        assert encoder.pack_refs == first.pack_refs


def test_a_pack_says_what_it_is():
    encoder = PackEncoder([source("BF16", weights(1000))])

    (pack,) = encoder.packs()

    assert pack.number == 0
    assert pack.digest == sha256_of(pack.data)
    assert pack.entries == read_pack(pack.data)
    assert encoder.pack_refs == (pack.ref,)


def test_a_piece_equal_to_its_reference_takes_nothing():
    data = weights(1000)
    one = source("BF16", data, data)

    packs, encoder = encoded([one])

    assert packs == {}
    assert encoder.pieces == {one.piece.digest: StoredPiece(one.piece.digest, one.piece.digest, ())}


def test_equal_pieces_are_encoded_once():
    one = source("BF16", weights(1000))

    packs, encoder = encoded([one, one, source("BF16", weights(1000))])

    (pack,) = packs.values()
    assert len(read_pack(pack)) == 1
    assert len(encoder.pieces) == 1


def test_an_empty_piece_has_no_chunks():
    one = source("U8", b"")

    assert stored(one) == StoredPiece(one.piece.digest, None, ())


def test_a_fine_tune_is_encoded_against_its_reference():
    base = weights(CHUNK_ELEMENTS)
    one = source("BF16", nudged(base), base)

    piece = stored(one)

    assert codecs(piece) == [CONTEXTS]
    assert piece.reference == one.reference.digest


def test_an_unrelated_reference_is_not_used():
    piece = stored(source("BF16", weights(100_000), noise(200_000)))

    assert codecs(piece) == [FLOATS]
    assert piece.reference is None


def test_chunks_of_a_piece_use_the_reference_or_not():
    base = weights(2 * CHUNK_ELEMENTS)
    half = len(base) // 2
    one = source("BF16", nudged(base[:half]) + bytes(half), base)

    piece = stored(one)

    assert codecs(piece)[0] == CONTEXTS
    assert not thread_codecs()[codecs(piece)[1]].uses_reference
    assert piece.reference == one.reference.digest


@pytest.mark.parametrize(("dtype", "shape"), [("F16", (64, 100)), ("BF16", (100, 64)), ("BF16", (6400,))])
def test_a_reference_of_another_dtype_or_shape_is_not_used(dtype, shape):
    base = weights(6400)
    data = nudged(base)
    one = PieceSource(piece_of("BF16", data, (64, 100)), reader(data), piece_of(dtype, base, shape), reader(base))

    assert stored(one).reference is None


def test_text_is_searched_for_repetitions():
    parts = ("self_attn.q_proj", "self_attn.k_proj", "mlp.up_proj", "mlp.down_proj", "norm")
    names = [f"model.layers.{n}.{part}.weight" for n in range(80) for part in parts]
    text = json.dumps({name: {"dtype": "BF16", "shape": [4096, 4096]} for name in names}).encode()

    piece = stored(source("U8", text))

    assert codecs(piece) == [ZSTD]
    assert piece.chunks[0].length * 5 < len(text)


def test_noise_is_stored_as_it_is():
    assert codecs(stored(source("U8", noise(300_000)))) == [RAW]


def test_a_piece_is_cut_into_chunks_of_one_mi_elements():
    piece = stored(source("F32", bytes(4 * (2 * CHUNK_ELEMENTS + 5))))

    assert [c.size_bytes for c in piece.chunks] == [4 << 20, 4 << 20, 20]


def test_chunks_of_one_piece_may_lie_in_several_packs():
    data = noise(20 << 20)

    packs, encoder = encoded([source("U8", data)])

    assert len(packs) == 2
    (piece,) = encoder.pieces.values()
    assert piece.packs == set(packs)
    assert StorageMap.decode(StorageMap(encoder.pack_refs, encoder.pieces).encode()).pieces


def test_an_unknown_profile_is_refused():
    with pytest.raises(InvalidInput, match="no codec profile 'tiny'"):
        PackEncoder([], profile="tiny")


def test_a_file_that_shrank_is_reported():
    data = weights(1000)
    one = PieceSource(piece_of("BF16", data), reader(data[:-2]))

    with pytest.raises(InvalidInput, match="1998 bytes where 2000"):
        encoded([one])


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_reader_comes_out(workers):
    def read(begin, end):
        raise OSError("the disk is gone")

    one = PieceSource(piece_of("BF16", weights(10)), read)

    with pytest.raises(OSError, match="the disk is gone"):
        encoded([one], workers=workers)


def test_packs_come_while_pieces_are_still_to_be_read():
    taken = []

    def sources():
        for number in range(12):
            taken.append(number)
            yield source("U8", noise(8 << 20, number))

    packs = PackEncoder(sources(), workers=2).packs()
    next(packs)
    packs.close()

    assert len(taken) < 8


LARGE_PIECE = """
import resource
import numpy as np
from deltareg.codec import PackEncoder, PieceSource
from deltareg.digest import Digest
from deltareg.identity.manifest import Piece

CHUNK = 8 << 20
SIZE = 30 * CHUNK
noise = memoryview(np.random.default_rng(0).bytes(CHUNK))
read = lambda begin, end: noise[: end - begin]
piece = Piece(Digest("blake3", "0" * 64), "F64", (SIZE // 8,), SIZE)
other = Piece(Digest("blake3", "1" * 64), "F64", (SIZE // 8,), SIZE)
zeros = memoryview(bytes(CHUNK))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
source = PieceSource(piece, read, other, lambda begin, end: zeros[: end - begin])
total = sum(pack.data.nbytes for pack in PackEncoder([source], workers=2).packs())
assert total > SIZE
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def test_memory_does_not_grow_with_a_piece():
    """240 MiB in one piece: two packs and less than 64 MB a worker are held."""
    found = subprocess.run(
        [sys.executable, "-c", LARGE_PIECE], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )

    assert int(found.stdout) < 2 * 61 + 2 * 32


def with_others(data, base, *others):
    """Make a source over F16 words against the base's, with more references to choose from."""
    one = source("BF16", data, base)
    more = tuple(Reference(piece_of("BF16", other), reader(other)) for other in others)
    return replace(one, others=more)


@pytest.mark.parametrize("count", [2000, 400_000])
def test_the_reference_that_stores_smaller_is_taken(count):
    base = weights(count)
    earlier = nudged(base, share=0.9)
    near_earlier, near_base = nudged(earlier, share=0.05, seed=4), nudged(base, share=0.05, seed=5)

    by_step = stored(with_others(near_earlier, base, earlier))
    by_base = stored(with_others(near_base, base, earlier))

    assert by_step.reference == piece_of("BF16", earlier).digest
    assert by_base.reference == piece_of("BF16", base).digest


def test_of_two_references_that_promise_the_same_the_base_is_taken():
    base = weights(3000)
    one = with_others(nudged(base), base, bytes(base))

    assert stored(one).reference == one.reference.digest


def test_a_reference_of_another_dtype_is_no_candidate():
    base = weights(3000)
    other = Reference(piece_of("F16", nudged(base, share=0.9)), reader(nudged(base, share=0.9)))
    one = replace(source("BF16", nudged(base, share=0.9)), others=(other,))

    assert stored(one).reference is None


def test_the_choice_is_the_same_whatever_the_number_of_threads():
    base = weights(2 * CHUNK_ELEMENTS)
    earlier = nudged(base)
    sources = [with_others(nudged(earlier, seed=n), base, earlier) for n in range(3)]

    runs = [encoded(sources, workers=workers)[1] for workers in (1, 3)]

    assert runs[0].pieces == runs[1].pieces
