"""Packs and pieces: adopted once a digest, locked, shared within a scope and never across."""

import threading
import uuid

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read, with_retry, write
from deltareg.db.storage import packs, uploads
from deltareg.digest import sha256_of
from deltareg.errors import UploadClosed
from deltareg.store import fresh_key
from tests.service import rows

DIGEST = str(sha256_of(b"pack"))


@pytest.fixture
def upload_id(engine):
    return rows.upload(engine, rows.caller(engine))


def test_a_new_digest_takes_the_key_of_its_upload(engine, upload_id):
    key = register(engine, upload_id)

    with write(engine) as conn:
        adopt(conn, key)

    assert found_keys(engine) == {DIGEST: (key, 4)}
    assert states(engine) == {key: "adopted"}


def test_the_second_upload_of_a_digest_is_dropped(engine, upload_id):
    first, second = register(engine, upload_id), register(engine, upload_id)

    with write(engine) as conn:
        ids = {adopt(conn, first), adopt(conn, second)}

    assert len(ids) == 1
    assert found_keys(engine) == {DIGEST: (first, 4)}
    assert states(engine) == {first: "adopted", second: "dropped"}


def test_adopting_the_same_key_again_changes_nothing(engine, upload_id):
    key = register(engine, upload_id)

    with write(engine) as conn:
        assert adopt(conn, key) == adopt(conn, key)

    assert states(engine) == {key: "adopted"}


def test_equal_bytes_of_two_scopes_are_two_packs(engine, upload_id):
    first, second = register(engine, upload_id), register(engine, upload_id)

    with write(engine) as conn:
        adopt(conn, first)
        adopt(conn, second, scope="ns:other")

    with read(engine) as conn:
        other = packs.physical_keys(conn, "ns:other", [DIGEST])
    assert found_keys(engine) == {DIGEST: (first, 4)}
    assert other == {DIGEST: (second, 4)}


def test_many_that_adopt_a_digest_at_once_agree(engine, upload_id):
    keys = [register(engine, upload_id) for _ in range(6)]
    ids = []

    def work(key):
        ids.append(with_retry(engine, lambda conn: adopt(conn, key)))

    threads = [threading.Thread(target=work, args=[key]) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(ids) == 6
    assert len(set(ids)) == 1
    assert sorted(states(engine).values()) == ["adopted", *["dropped"] * 5]


def test_a_pack_that_is_not_there_cannot_be_relied_on(engine, upload_id):
    key = register(engine, upload_id)
    with write(engine) as conn:
        pack_id = adopt(conn, key)

    with write(engine) as conn:
        locked = packs.lock_live(conn, rows.SCOPE, [DIGEST])
    with pytest.raises(UploadClosed), write(engine) as conn:
        packs.lock_live(conn, "ns:other", [DIGEST])

    assert locked == {DIGEST: pack_id}


def test_a_referenced_pack_cannot_be_dropped_by_any_code(engine, upload_id):
    delta = rows.line(engine, maker=rows.caller(engine))
    with write(engine) as conn:
        rows.add_version(conn, delta, pack_ids=[adopt(conn, register_in(conn, upload_id))])

    for table in (t.packs, t.versions):
        with pytest.raises(sa.exc.IntegrityError), write(engine) as conn:
            conn.execute(sa.delete(table))


def test_a_piece_is_known_to_pushes_for_its_base_only(engine, upload_id):
    pack_id = adopted(engine, upload_id)
    with write(engine) as conn:
        rows.record_piece(conn, "blake3:alone", "", b"alone", [pack_id])
        rows.record_piece(conn, "blake3:delta", "base-1", b"delta", [pack_id])

    asked = ["blake3:alone", "blake3:delta", "blake3:none"]
    with read(engine) as conn:
        for_base = packs.known_pieces(conn, rows.SCOPE, asked, "base-1")
        for_other = packs.known_pieces(conn, rows.SCOPE, asked, "base-2")
        elsewhere = packs.known_pieces(conn, "ns:other", asked, "base-1")

    assert for_base == {"blake3:alone": b"alone", "blake3:delta": b"delta"}
    assert for_other == {"blake3:alone": b"alone"}
    assert elsewhere == {}


def test_a_piece_that_stands_alone_is_preferred(engine, upload_id):
    pack_id = adopted(engine, upload_id)
    with write(engine) as conn:
        rows.record_piece(conn, "blake3:p", "base", b"against the base", [pack_id])
        rows.record_piece(conn, "blake3:p", "", b"alone", [pack_id])

    with read(engine) as conn:
        assert packs.known_pieces(conn, rows.SCOPE, ["blake3:p"], "base") == {"blake3:p": b"alone"}


def test_a_piece_in_a_pack_that_goes_is_not_known(engine, upload_id):
    pack_id = adopted(engine, upload_id)
    with write(engine) as conn:
        rows.record_piece(conn, "blake3:p", "", b"e", [pack_id])
        conn.execute(sa.update(t.packs).values(state="deleting"))

    with read(engine) as conn:
        assert packs.known_pieces(conn, rows.SCOPE, ["blake3:p"], "") == {}


def test_versions_that_are_deleted_are_no_parents(engine):
    delta = rows.line(engine, maker=rows.caller(engine))
    kept, gone = rows.version(engine, delta), rows.version(engine, delta)
    rows.delete(engine, gone)

    with write(engine) as conn:
        assert packs.lock_versions(conn, [kept, gone]) == {kept}


def register(engine, upload_id):
    with write(engine) as conn:
        return register_in(conn, upload_id)


def register_in(conn, upload_id):
    key = fresh_key(sha256_of(b"pack"), attempt=uuid.uuid4())
    row = uploads.add_upload_pack(conn, upload_id, number=0, physical_key=key)
    uploads.receive_upload_pack(conn, row, digest=DIGEST, size_bytes=4)
    return key


def adopt(conn, key, *, scope=rows.SCOPE):
    return packs.adopt(conn, rows.opened(scope, (DIGEST, 4, key)), DIGEST)


def adopted(engine, upload_id):
    with write(engine) as conn:
        return adopt(conn, register_in(conn, upload_id))


def found_keys(engine):
    with read(engine) as conn:
        return packs.physical_keys(conn, rows.SCOPE, [DIGEST])


def states(engine):
    return {row.physical_key: row.state for row in rows.rows(engine, t.upload_packs)}
