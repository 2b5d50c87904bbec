"""The storage map: complete in itself, at most four references deep, nothing that is not needed."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from deltareg.digest import Digest
from deltareg.errors import Refused
from deltareg.identity.manifest import Manifest, ManifestFile, Piece
from deltareg.identity.storage_map import Chain, Chunk, PackRef, StorageMap, StoredPiece

PACK = Digest("sha256", "a" * 64)
SIZE = 64
BASE = Digest("blake3", "b" * 64)


def digest(number):
    return Digest("blake3", f"{number:064x}")


def stored(number, reference=None, size=SIZE):
    """Store piece `number` in one chunk."""
    return StoredPiece(digest(number), reference, (Chunk(PACK, 8 * number, 4, 5, size, number),))


def chain(length, *, end=BASE):
    """Store pieces 0, 1, …: each against the next, the last one against `end`."""
    below = [digest(n) for n in range(1, length)]
    return [stored(n, reference) for n, reference in enumerate([*below, end])]


def map_of(pieces):
    return StorageMap((PackRef(PACK, 4096),), {piece.digest: piece for piece in pieces})


def manifest_of(*numbers):
    """Describe a version whose only parts are some of the pieces."""
    parts = [Piece(digest(n), "U8", (SIZE,), SIZE) for n in numbers]
    files = [
        ManifestFile(f"f{n}", SIZE, Digest("sha256", "c" * 64), part, is_tensors=False) for n, part in enumerate(parts)
    ]
    return Manifest("full", "", True, None, {}, (), tuple(files))


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_a_chain_may_have_four_references(length):
    storage = map_of(chain(length))

    storage.check_covers(manifest_of(0), [BASE])

    assert storage.chain(digest(0)).depth == length
    assert storage.outside == {BASE}


def test_a_chain_that_ends_alone_has_one_reference_less():
    storage = map_of(chain(5, end=None))

    storage.check_covers(manifest_of(0), [])

    assert storage.chain(digest(0)).depth == 4
    assert storage.outside == frozenset()


def test_a_stored_piece_serves_before_the_tensor_of_the_base():
    storage = map_of([stored(0, digest(1)), stored(1)])

    storage.check_covers(manifest_of(0, 1), [digest(1)])

    assert storage.outside == frozenset()


UNSOUND = {
    "five references": (chain(5), "more than 4 references"),
    "a ring": ([stored(0, digest(1)), stored(1, digest(0))], "more than 4 references"),
    "a piece against itself": ([stored(0, digest(0))], "more than 4 references"),
    "a tensor that nobody has": ([stored(0, digest(7))], "not of the base"),
    "a reference of another size": ([stored(0, digest(1)), stored(1, size=SIZE - 2)], "62 bytes"),
    "a piece of another size": ([stored(0, size=SIZE - 2)], "62 bytes"),
    "a piece that nothing needs": ([stored(0), stored(1)], "not of this version"),
    "a reference that nothing needs": ([*chain(2, end=None), stored(2)], "not of this version"),
    "no place": ([stored(1)], "is not stored"),
    "a tensor of the base that is none": ([StoredPiece(digest(0), digest(0), ())], "of the base"),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_what_a_map_must_not_hold(name):
    pieces, why = UNSOUND[name]

    with pytest.raises(Refused, match=why):
        map_of(pieces).check_covers(manifest_of(0), [BASE])


@given(length=st.integers(1, 4), ends_alone=st.booleans())
def test_a_chain_is_written_and_read_alone(length, ends_alone):
    pieces = chain(length, end=None if ends_alone else BASE)
    found = map_of(pieces).chain(digest(0))

    again = Chain.decode(digest(0), found.encode())

    assert again == found == Chain(tuple(pieces))
    assert again.packs == {PACK}


@pytest.mark.parametrize(
    "raw",
    [
        b'{"reference":null,"chunks":[],"below":1}',
        b'{"reference":null,"chunks":[],"below":[1]}',
        b'{"reference":null,"chunks":[],"below":[["blake3:00",{"chunks":[]}]]}',
    ],
)
def test_a_chain_that_does_not_hang_together_is_refused(raw):
    with pytest.raises(Refused, match="odd references"):
        Chain.decode(digest(0), raw)


def test_what_serves_as_a_reference_is_not_counted_as_the_versions_own():
    storage = map_of(chain(3))

    assert storage.stored_bytes(manifest_of(0).pieces()) == 4
