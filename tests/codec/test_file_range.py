"""Any bytes of a file come as they are in it, and a file that is another never comes whole."""

import hashlib
import json
import struct
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from deltareg.codec import CHUNK_ELEMENTS, OrderedPool
from deltareg.codec.file_range import read_range
from deltareg.codec.rebuild import PieceRebuilder
from deltareg.digest import Digest
from deltareg.errors import IntegrityFailure
from deltareg.identity.manifest import Manifest, ManifestFile, ManifestTensor
from deltareg.identity.storage_map import StorageMap
from tests.codec.samples import encoded, fetcher, nudged, piece_of, source, weights

LONG = 2 * CHUNK_ELEMENTS + 5
TENSORS = {
    "b": weights(40),
    "a": nudged(weights(LONG), seed=3),
    "c": weights(7, seed=5),
}  # in the order of their data, which is not that of their names


def safetensors(tensors):
    """Lay tensors of bf16 out as the library does."""
    entries, position = {}, 0
    for name, data in tensors.items():
        shape, end = [len(data) // 2], position + len(data)
        entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [position, end]}
        position = end
    head = json.dumps(entries).encode()
    return struct.pack("<Q", len(head)) + head, b"".join(tensors.values())


HEAD, DATA = safetensors(TENSORS)
WHOLE = HEAD + DATA


def stored(*, told=TENSORS):
    """Store the file; what is told of its tensors may be another thing than what is stored."""
    base = weights(LONG)
    sources = [
        source("U8", HEAD),
        *(source("BF16", data, base if name == "a" else None) for name, data in TENSORS.items()),
    ]
    packs, encoder = encoded(sources)
    tensors = tuple(
        ManifestTensor("f", name, "weight", "", "BF16", (len(data) // 2,), piece.digest)
        for name, data in sorted(told.items())
        for piece in (piece_of("BF16", data),)
    )
    digest = Digest("sha256", hashlib.sha256(WHOLE).hexdigest())
    file = ManifestFile("f", len(WHOLE), digest, piece_of("U8", HEAD), is_tensors=True)
    pieces = dict(encoder.pieces)
    for name, data in told.items():  # the liar's storage map leads to what he stored
        own = piece_of("BF16", TENSORS[name]).digest
        wanted = piece_of("BF16", data).digest
        pieces[wanted] = replace(pieces[own], digest=wanted)
    manifest = Manifest("full", "", True, None, {}, tensors, (file,))
    at_hand = {piece_of("BF16", base).digest: lambda begin, end: memoryview(base)[begin:end]}
    storage = StorageMap(encoder.pack_refs, pieces)
    rebuild = PieceRebuilder(storage, fetcher(packs), at_hand, OrderedPool(1))

    def read(begin, end, *, is_proven):
        return read_range(manifest, file, rebuild, begin=begin, end=end, is_proven=is_proven)

    return read


@pytest.fixture(scope="module")
def read():
    return stored()


@given(st.lists(st.integers(0, len(WHOLE)), min_size=2, max_size=2).map(sorted), st.booleans())
def test_any_range_is_what_the_file_has_there(read, ends, is_proven):
    begin, end = ends

    assert b"".join(read(begin, end, is_proven=is_proven)) == WHOLE[begin:end]


@pytest.mark.parametrize("begin", [0, 1, len(HEAD) - 1, len(HEAD), len(HEAD) + 80, len(WHOLE) - 14])
@pytest.mark.parametrize("is_proven", [False, True])
def test_ranges_that_begin_and_end_at_borders(read, begin, is_proven):
    for end in (len(HEAD), len(HEAD) + 80, len(WHOLE) - 14, len(WHOLE)):
        if begin <= end:
            assert b"".join(read(begin, end, is_proven=is_proven)) == WHOLE[begin:end]


def test_little_is_decoded_at_a_time(read):
    longest = max(len(chunk) for chunk in read(0, len(WHOLE), is_proven=True))

    assert longest == 2 * CHUNK_ELEMENTS


@pytest.mark.parametrize("is_proven", [False, True])
def test_a_file_that_is_another_never_comes_whole(is_proven):
    read = stored(told=TENSORS | {"a": weights(LONG, seed=9)})
    chunks = read(0, len(WHOLE), is_proven=is_proven)
    came = bytearray()

    with pytest.raises(IntegrityFailure):
        came.extend(byte for chunk in chunks for byte in chunk[:1])

    assert len(came) < 4, "head, first tensor, and not all chunks of the second"


@pytest.mark.parametrize("begin", [len(HEAD) + 81, len(WHOLE) - 20])
def test_no_byte_comes_of_a_part_of_a_piece_that_is_another(begin):
    """Who goes on with a download that broke off gets nothing of it either."""
    read = stored(told=TENSORS | {"a": weights(LONG, seed=9)})

    with pytest.raises(IntegrityFailure):
        next(read(begin, len(WHOLE), is_proven=False))
