"""Documents in rows: shorter than what was written, read back exactly, refused when damaged."""

import json
from contextlib import suppress

import pytest
import sqlalchemy as sa
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from deltareg.api.settings import ServerSettings
from deltareg.db import tables as t
from deltareg.db.lines import versions
from deltareg.db.session import read, write
from deltareg.db.sql.document import DOCUMENT_BYTES_MAX, pack_document, pack_map, unpack_document, unpack_map
from deltareg.db.storage import packs
from deltareg.digest import sha256_of
from deltareg.errors import IntegrityFailure
from tests.service import rows

MAGIC = b"\x28\xb5\x2f\xfd"
DIGESTS = [str(sha256_of(bytes([number]))) for number in range(100)]
MANIFEST = json.dumps([{"name": f"layer.{d[:9]}", "digest": d} for d in DIGESTS]).encode()
MAP = json.dumps({d: {"reference": d, "chunks": []} for d in sorted(DIGESTS)}).encode()
WRITTEN = st.one_of(st.binary(), st.binary().map(MAGIC.__add__), st.just(MANIFEST), st.just(MAP))


@given(document=WRITTEN, beside=WRITTEN)
def test_what_was_written_is_read(document, beside):
    stored = pack_document(document, beside=beside)

    assert unpack_document(stored, beside=beside) == document
    assert len(stored) <= len(document) + 32 * document.startswith(MAGIC)
    assert pack_document(document, beside=beside) == stored


@pytest.mark.parametrize("size", [3 << 10, 64 << 10, 3 << 20])
def test_any_size_is_read_with_any_manifest(size):
    document = (MAP * (size // len(MAP) + 1))[:size]
    manifest = (MANIFEST * (size // len(MANIFEST) + 1))[:size]

    stored = pack_map(document, manifest)

    assert unpack_map(stored, manifest) == document
    assert len(stored) < size / 2


def test_a_storage_map_does_not_repeat_the_digests_of_its_manifest():
    alone, beside = pack_document(MAP), pack_map(MAP, MANIFEST)

    assert len(MANIFEST) / 3 > len(pack_document(MANIFEST)) > 32 * len(DIGESTS)
    assert len(alone) > 32 * len(DIGESTS) > 5 * len(beside)


@pytest.mark.parametrize("document", [b"", b"{}", b'{"number":1}', b"{}" + bytes(range(256))])
def test_what_no_frame_makes_shorter_is_kept_as_it_is(document):
    assert pack_document(document) == document


@given(at=st.integers(min_value=4), bit=st.integers(0, 7))
def test_a_changed_frame_is_refused_or_holds_the_same(at, bit):
    stored = bytearray(pack_map(MAP, MANIFEST))
    stored[4 + at % (len(stored) - 4)] ^= 1 << bit

    # Some bits of a frame mean nothing, or say the same in another way.
    with suppress(IntegrityFailure):
        assert unpack_map(bytes(stored), MANIFEST) == MAP


@pytest.mark.parametrize("change", [lambda s: s[:-1], lambda s: s[:4], lambda s: s + b"x"])
def test_a_frame_that_is_cut_or_goes_on_is_refused(change):
    with pytest.raises(IntegrityFailure, match="cannot be read"):
        unpack_document(change(pack_document(MANIFEST)))


@pytest.mark.parametrize("manifest", [b"", MANIFEST[:-1], MAP])
def test_a_storage_map_is_not_read_with_another_manifest(manifest):
    with pytest.raises(IntegrityFailure, match="cannot be read"):
        unpack_map(pack_map(MAP, MANIFEST), manifest)


@pytest.mark.parametrize("size", [DOCUMENT_BYTES_MAX + 1, 1 << 50])
def test_a_frame_that_announces_too_much_is_refused_before_room_is_made(size):
    bomb = MAGIC + b"\xe0" + size.to_bytes(8, "little") + b"\x03\x00\x00{"

    with pytest.raises(IntegrityFailure, match="more than 256 MiB"):
        unpack_document(bomb)


def test_a_frame_that_announces_nothing_is_refused():
    writer = zstandard.ZstdCompressor(write_content_size=False)

    with pytest.raises(IntegrityFailure):
        unpack_document(writer.compress(bytes(1 << 20)))


def test_what_a_request_may_bring_can_be_read_again():
    default = ServerSettings.model_fields["document_mib"].default

    assert default << 20 <= DOCUMENT_BYTES_MAX


def stored(conn, column):
    return conn.execute(sa.select(sa.type_coerce(column, sa.LargeBinary))).scalar_one()


@pytest.fixture
def version_id(engine):
    return rows.version(engine, rows.line(engine, maker=rows.caller(engine)))


def test_a_version_has_its_documents_compressed(engine, version_id):
    with write(engine) as conn:
        conn.execute(sa.update(t.versions).values(manifest=MANIFEST))
        versions.replace_storage(conn, version_id, storage_map=MAP, stored_bytes=0)

    with read(engine) as conn:
        found = versions.content(conn, version_id)
        assert (found.manifest, found.storage_map) == (MANIFEST, MAP)
        assert stored(conn, t.versions.c.manifest) == pack_document(MANIFEST)
        assert stored(conn, t.versions.c.storage_map) == pack_map(MAP, MANIFEST)
        size = sa.func.length(t.versions.c.manifest)
        assert conn.execute(sa.select(size)).scalar_one() == len(pack_document(MANIFEST))


def test_rows_from_before_read_on(engine, version_id):
    as_it_is = sa.literal(MANIFEST, sa.LargeBinary)
    with write(engine) as conn:
        conn.execute(sa.update(t.versions).values(manifest=as_it_is, storage_map=MAP))

    with read(engine) as conn:
        found = versions.content(conn, version_id)
        assert (found.manifest, found.storage_map) == (MANIFEST, MAP)
        assert stored(conn, t.versions.c.manifest) == MANIFEST


def test_the_entry_of_a_piece_is_compressed_and_one_from_before_reads_on(engine):
    with write(engine) as conn:
        new = {"scope": rows.SCOPE, "digest": DIGESTS[0], "base_root": "", "proven_at": 1}
        conn.execute(sa.insert(t.pieces).values(**new, entry=MAP))
        assert stored(conn, t.pieces.c.entry) == pack_document(MAP, is_quick=True)
        old = {"scope": rows.SCOPE, "digest": DIGESTS[1], "base_root": "", "proven_at": 1}
        as_it_is = sa.literal(MANIFEST, sa.LargeBinary)
        conn.execute(sa.insert(t.pieces).values(**old, entry=as_it_is))

        found = packs.known_pieces(conn, rows.SCOPE, DIGESTS, "")

    assert found == {DIGESTS[0]: MAP, DIGESTS[1]: MANIFEST}
