"""Planning what to fetch: everything that is needed, little that is not, in few requests."""

from hypothesis import given
from hypothesis import strategies as st

from deltareg.digest import Digest
from deltareg.identity.manifest import Manifest, ManifestFile, Piece
from deltareg.identity.needed_chunks import needed_chunks
from deltareg.identity.pack_spans import GAP_BYTES, LIMIT_BYTES, ByteSpan, coalesce, missing
from deltareg.identity.storage_map import Chunk, PackRef, StorageMap, StoredPiece

PACK = Digest("sha256", "aa" * 32)
MI = 1 << 20


def spans(limit=64 * MI):
    def span(begin, size):
        return ByteSpan(begin, begin + size)

    return st.lists(st.builds(span, st.integers(0, limit), st.integers(1, 8 * MI)), max_size=30)


@given(spans())
def test_every_span_is_in_one_stretch(wanted):
    stretches = coalesce(wanted)

    inside = [span for members in stretches.values() for span in members]
    assert sorted(inside) == sorted(wanted)
    assert all(s.holds(span) for s, members in stretches.items() for span in members)
    assert all(s.size_bytes <= LIMIT_BYTES for s in stretches)


@given(spans())
def test_what_is_read_for_nothing_is_less_than_the_gaps(wanted):
    for stretch, members in coalesce(wanted).items():
        covered = 0
        position = stretch.begin
        for span in members:
            covered += max(0, span.end - max(span.begin, position))
            position = max(position, span.end)

        assert stretch.size_bytes - covered <= GAP_BYTES * (len(members) - 1)


def test_neighbours_are_one_request_and_strangers_two():
    near = [ByteSpan(0, 100), ByteSpan(100 + GAP_BYTES, 200 + GAP_BYTES)]
    far = [ByteSpan(0, 100), ByteSpan(101 + GAP_BYTES, 200 + GAP_BYTES)]

    assert list(coalesce(near)) == [ByteSpan(0, 200 + GAP_BYTES)]
    assert len(coalesce(far)) == 2


@given(spans(), st.integers(1, 72 * MI))
def test_what_is_missing_and_what_is_held_are_all(held, size):
    absent = missing(held, size)

    within = [ByteSpan(s.begin, min(s.end, size)) for s in held if s.begin < size]
    position = 0
    for span in sorted((*within, *absent)):
        assert span.begin <= position
        position = max(position, span.end)
    assert position == size
    assert all(0 < span.size_bytes <= LIMIT_BYTES for span in absent)
    assert not [1 for a in absent for h in within if a.begin < h.end and h.begin < a.end]


def test_a_piece_comes_after_those_that_it_stands_on():
    """`t` is encoded against `m`, `m` against `f`, and `f` against one that is not in the map."""
    digests = {name: Digest("blake3", f"{n:02x}" * 32) for n, name in enumerate("tmfbx", 1)}
    base = Digest("blake3", "ff" * 32)
    references = {"t": "m", "m": "f", "f": None, "x": None}
    pieces = {
        digests[name]: StoredPiece(
            digests[name],
            base if name == "f" else digests[reference] if reference else None,
            (Chunk(PACK, 10 * n, 10, 0, 10, 0),),
        )
        for n, (name, reference) in enumerate(references.items())
    }
    storage = StorageMap((PackRef(PACK, 1000),), pieces)
    manifest = manifest_of(digests["t"], digests["m"])

    order = [chunk.offset // 10 for chunk in needed_chunks(manifest, storage)]

    assert order == [2, 1, 0]


def test_a_circle_of_references_ends():
    a, b = Digest("blake3", "01" * 32), Digest("blake3", "02" * 32)
    chunk = Chunk(PACK, 0, 10, 0, 10, 0)
    pieces = {a: StoredPiece(a, b, (chunk,)), b: StoredPiece(b, a, (chunk,))}

    found = list(needed_chunks(manifest_of(a), StorageMap((PackRef(PACK, 99),), pieces)))

    assert len(found) == 2


def manifest_of(*digests):
    sha256 = Digest("sha256", "cc" * 32)
    files = tuple(
        ManifestFile(f"{n}.txt", 10, sha256, Piece(digest, "U8", (10,), 10), is_tensors=False)
        for n, digest in enumerate(digests)
    )
    return Manifest("lora", "", True, None, {}, (), files)
