"""Rows to begin with: principals, a base, lines and versions, packs with their objects.

They are made with the queries that the services use, without a push over HTTP.
"""

import itertools
import uuid
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.access import principals
from deltareg.db.lines import deltas, versions
from deltareg.db.session import read, write
from deltareg.db.sql.document import pack_documents
from deltareg.db.storage import packs, uploads
from deltareg.db.storage.rows import ReceivedPackRow
from deltareg.digest import sha256_of
from deltareg.identity.manifest import BASE_KIND, Manifest
from deltareg.service.authority.grants import grants_of
from deltareg.service.registry import Caller
from deltareg.store import fresh_key

SCOPE = "ns:lab"
BASE = Manifest(BASE_KIND, "", False, None, {}, (), ())
BASE_ROOT = f"blake3:{'0' * 64}"
ALL_SCOPES = frozenset({"read", "push", "promote", "verify", "admin"})
_numbers = itertools.count(1)


def caller(engine, name="ada", *, kind="user", scopes=ALL_SCOPES):
    """Make a principal, or find it, and let it call."""
    with write(engine) as conn:
        found = principals.principal_id(conn, name)
        if found is None:
            found = principals.add_principal(conn, name, kind=kind)
    return Caller(name, found, None, grants_of(scopes), "request-1")


def base(engine, name="tiny"):
    """Insert a registered base and give its id."""
    raw = BASE.encode()
    with write(engine) as conn:
        return conn.execute(
            sa.insert(t.bases)
            .values(
                name=name,
                root=BASE_ROOT,
                config_digest=str(sha256_of(b"")),
                manifest_digest=str(BASE.digest),
                manifest=raw,
                logical_bytes=0,
                stored_bytes=0,
            )
            .returning(t.bases.c.id)
        ).scalar_one()


def measure_base(engine, key):
    """Let whoever has a key have measured the base with the id 1."""
    values = {"base_id": 1, "surroundings": "{}", "keyid": key.public.keyid, "envelope": b"{}"}
    with write(engine) as conn:
        conn.execute(sa.insert(t.base_figures).values(values))


def line(engine, name="x", *, maker):
    """Insert a line in the namespace `lab` and give its id."""
    with write(engine) as conn:
        namespace = deltas.add_namespace(conn, "lab", created_by=maker.principal_id).id
        deltas.add_delta(conn, namespace, name, created_by=maker.principal_id)
        return delta_id(conn, name)


def delta_id(conn, name):
    row = deltas.delta_row(conn, "lab", name)
    assert row is not None
    return row.id


def is_open(conn, upload_id):
    """Whether an upload is open, and stays so until the transaction ends."""
    row = uploads.upload_row(conn, upload_id, lock=True)
    return row is not None and row.state == "open"


def version(engine, delta_id, *, pack_ids=(), parents=()):
    """Insert a version that needs packs and give its row id."""
    with write(engine) as conn:
        return add_version(conn, delta_id, pack_ids=pack_ids, parents=parents)


def add_version(conn, delta_id, *, pack_ids=(), parents=(), base_id=None, created_by=None):
    unique = next(_numbers)
    manifest = f'{{"number":{unique}}}'.encode()
    bound = conn.execute(sa.select(t.bases.c.id).where(t.bases.c.root == BASE_ROOT)).scalars()
    version_id = versions.add_version(
        conn,
        pack_documents(manifest, b"{}"),
        delta_id=delta_id,
        number=deltas.take_number(conn, delta_id),
        manifest_digest=str(sha256_of(manifest)),
        kind="lora",
        variant="",
        foldable=True,
        base_root=BASE_ROOT,
        base_id=base_id or bound.first(),
        created_by=created_by,
        labels={},
        logical_bytes=1,
        stored_bytes=1,
        uploaded_bytes=1,
        proven_at=1,
        proven_revision=1,
    )
    versions.add_parents(conn, version_id, parents)
    packs.reference_version(conn, version_id, pack_ids)
    return version_id


@dataclass
class Sent:
    """A pack that an upload has sent: its bytes, its key, its row."""

    data: bytes
    key: str
    row: int

    @property
    def digest(self):
        return str(sha256_of(self.data))


def upload(engine, maker):
    """Open an upload and give its id."""
    upload_id = str(uuid.uuid4())
    with write(engine) as conn:
        uploads.add_upload(
            conn,
            upload_id=upload_id,
            principal_id=maker.principal_id,
            scope=SCOPE,
            subject="delta",
            target="lab/x",
            manifest_digest="sha256:m",
            manifest=b"{}",
            request={},
        )
    return upload_id


def send(engine, store, upload_id, data, *, key=None):
    """Register a fresh key, write the object, note that it was received."""
    key = key or fresh_key(sha256_of(data), attempt=uuid.uuid4())
    with write(engine) as conn:
        row = uploads.add_upload_pack(conn, upload_id, number=0, physical_key=key)
    store.write(key, [data])
    sent = Sent(data, key, row)
    with write(engine) as conn:
        uploads.receive_upload_pack(conn, row, digest=sent.digest, size_bytes=len(data))
    return sent


def adopt(conn, sent, *, scope=SCOPE):
    """Adopt what an upload sent, as a push does after it has locked the upload, whatever its state is here."""
    return packs.adopt(conn, opened(scope, (sent.digest, len(sent.data), sent.key)), sent.digest)


def opened(scope, *received):
    """Give an upload as `lock_open` does, that received packs: the digest, size and key of each."""
    return uploads.OpenUpload("", scope, {digest: ReceivedPackRow(digest, size, key) for digest, size, key in received})


def record_piece(conn, digest, base_root, entry, pack_ids):
    """Record where a piece is, as servers of the release before do."""
    values = {"scope": SCOPE, "digest": digest, "base_root": base_root, "entry": entry, "proven_at": 1}
    piece_id = conn.execute(sa.insert(t.pieces).values(values).returning(t.pieces.c.id)).scalar_one()
    conn.execute(sa.insert(t.piece_packs), [{"piece_id": piece_id, "pack_id": pack_id} for pack_id in pack_ids])


def push(engine, store, maker, delta_id, *contents, parents=()):
    """Push a version made of packs and give its row id."""
    upload_id = upload(engine, maker)
    sent = [send(engine, store, upload_id, data) for data in contents]
    with write(engine) as conn:
        uploads.upload_row(conn, upload_id, lock=True)
        pack_ids = [adopt(conn, one) for one in sorted(sent, key=lambda one: one.digest)]
        version_id = add_version(conn, delta_id, pack_ids=pack_ids, parents=parents)
        uploads.close_upload(conn, upload_id, state="complete", version_id=version_id)
    return version_id


def delete(engine, version_id):
    with write(engine) as conn:
        versions.delete_version(conn, version_id)


@contextmanager
def unguarded(conn, table):
    """Take the triggers of a table away for a while: as if its rows had come about otherwise."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(f"ALTER TABLE {table.name} DISABLE TRIGGER USER")
        yield
        conn.exec_driver_sql(f"ALTER TABLE {table.name} ENABLE TRIGGER USER")
        return
    query = sa.text("SELECT name, sql FROM sqlite_master WHERE type='trigger' AND tbl_name=:table")
    triggers = conn.execute(query, {"table": table.name}).all()
    for name, _ in triggers:
        conn.exec_driver_sql(f"DROP TRIGGER {name}")
    yield
    for _, sql in triggers:
        conn.exec_driver_sql(sql)


@contextmanager
def asked(engine):
    """Note the statements that the database is sent meanwhile."""
    statements = []

    def note(_conn, _cursor, statement, *_rest):
        statements.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    yield statements
    sa.event.remove(engine, "before_cursor_execute", note)


def rows(engine, table):
    with read(engine) as conn:
        return conn.execute(sa.select(table).order_by(sa.text("1"))).all()


def missing(engine, store):
    """List versions that hold packs, with the digests whose objects are not there."""
    with read(engine) as conn:
        query = sa.select(t.version_packs.c.version_id, t.packs.c.digest, t.packs.c.physical_key, t.packs.c.state).join(
            t.packs, t.packs.c.id == t.version_packs.c.pack_id
        )
        found = conn.execute(query).all()
    objects = {key: str(sha256_of(b"".join(store.read(key)))) for key, _ in store.keys("blobs/")}
    return [
        (row.version_id, row.digest)
        for row in found
        if objects.get(row.physical_key) != row.digest or row.state != "live"
    ]
