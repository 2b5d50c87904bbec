"""Registries damaged at random: each repair heals, or names the push that does, and nothing stays.

After it and those pushes every version is what it was, byte for byte, and the line takes more.
"""

import random

import pytest
import sqlalchemy as sa

from deltareg.client.packs.stored_pieces import stored_of
from deltareg.client.packs.transfer import piece_sources, reader
from deltareg.codec import OrderedPool, PackEncoder
from deltareg.codec.rebuild import PieceRebuilder
from deltareg.db import tables as t
from deltareg.db.bases.bases import base_content, base_rows
from deltareg.db.session import read, write
from deltareg.db.storage import packs as pack_queries
from deltareg.errors import UploadClosed
from deltareg.identity.storage_map import StorageMap
from deltareg.service.push.ingest_base import complete_base
from deltareg.service.push.receive import receive_pack
from deltareg.service.push.uploads import open_upload
from deltareg.service.registry import BASES, Registry
from deltareg.service.upkeep import collect, fsck
from deltareg.store.memory import MemoryStore
from deltareg.wire import UploadComplete, UploadOpen
from tests.service import rows
from tests.service import test_reencode_races as races
from tests.service.test_reencode_races import World, cleared

SLICE, SOAKED = 2, 200
HEALS = "deltareg push PATH lab/x --base base"
models = races.models


class Ruin(World):
    """A base and two versions of a line, proven, and then damaged; a third is pushed after it."""

    def __init__(self, engine, models, seed):
        self.random = random.Random(seed)
        second = MemoryStore() if self.random.random() < 0.2 else None
        self.registry = Registry(engine, MemoryStore(), second=second)
        self.models, self.replaced = models, 0
        scopes = {"read", "push", "admin", "verify"}
        self.maker = rows.caller(engine, scopes=scopes)
        self.worker = rows.caller(engine, "w", scopes={"read", "verify"})
        self.other = rows.caller(engine, "p", scopes={"read", "verify"})
        self.push_base()
        for number in range(2):
            self.push(number, at_hand=number == 0 or self.random.random() < 0.5)
            self.prover()
        if self.random.random() < 0.4:
            self.flattener()
            self.reencoder()
            self.prover()
        if second is not None:
            for key, _ in list(self.registry.store.keys("blobs/")):
                second.write(key, self.registry.store.read(key))

    def push_base(self):
        manifest = self.models.base_manifest
        opening = UploadOpen(subject="base", target="base", manifest=manifest.encode().decode())
        for _ in range(3):
            upload = open_upload(self.registry, self.maker, opening)
            if upload.base is not None:
                return
            stored = stored_of(upload)
            sources = piece_sources(self.models.base, manifest, {})
            wanted = [source for source in sources if source.piece.digest not in stored]
            encoder = PackEncoder(wanted, workers=1)
            for pack in encoder.packs():
                receive_pack(
                    self.registry,
                    self.maker,
                    upload.id,
                    number=pack.number,
                    digest=pack.digest,
                    body=[bytes(pack.data)],
                )
            storage = stored.storage_map(manifest, encoder.pieces, encoder.pack_refs)
            report = UploadComplete(storage_map=storage.encode().decode())
            try:
                complete_base(self.registry, self.maker, upload.id, report)
            except UploadClosed:
                continue
            return

    def damage(self):
        """Do one thing to the registry that no part of it does; gives what was done."""
        kinds = [self.change_bytes] * 4 + [self.change_pack, self.change_document, self.cut_row]
        return self.random.choice(kinds)()

    def change_bytes(self):
        """Change, cut, lengthen or lose an object of a pack that is needed."""
        key = self.some(sa.select(t.packs.c.physical_key))
        store, how = self.registry.store, self.random.choice(["flip", "cut", "grow", "lose"])
        if store.size(key) is None:
            return "nothing"
        data = bytearray(b"".join(store.read(key)))
        store.delete(key)
        if how == "flip":
            data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        if how == "cut":
            del data[self.random.randrange(len(data)) :]
        if how == "grow":
            data += b"\0"
        if how != "lose":
            store.write(key, [bytes(data)])
        return f"{how} {key}"

    def change_pack(self):
        """Write something wrong into the row of a pack."""
        pack = self.some(sa.select(t.packs.c.id))
        choices: list[dict[str, object]] = [
            {"size_bytes": 7},
            {"state": "deleting"},
            {"physical_key": f"blobs/{'0' * 64}/00000000-0000-4000-8000-{pack:012}"},
        ]
        values = self.random.choice(choices)
        with write(self.registry.engine) as conn:
            conn.execute(sa.update(t.packs).where(t.packs.c.id == pack).values(**values))
        return f"pack {pack}: {values}"

    def change_document(self):
        """Write something wrong where documents are."""
        table, column = self.random.choice(
            [
                ("versions", "manifest"),
                ("versions", "storage_map"),
                ("bases", "manifest"),
                ("bases", "storage_map"),
                ("pieces", "entry"),
            ]
        )
        one = self.some(sa.text(f"SELECT id FROM {table} ORDER BY id"))
        if one is None:
            return "nothing"
        with write(self.registry.engine) as conn, rows.unguarded(conn, t.metadata.tables[table]):
            found = conn.execute(sa.text(f"SELECT {column} FROM {table} WHERE id = :id"), {"id": one}).scalar_one()
            raw = bytearray(bytes(found))
            raw[self.random.randrange(len(raw))] ^= 1 << self.random.randrange(8)
            conn.execute(sa.text(f"UPDATE {table} SET {column} = :raw WHERE id = :id"), {"raw": bytes(raw), "id": one})
        return f"{table}.{column} {one}"

    def cut_row(self):
        """Take a row away that says that a pack is needed, and sometimes the pack's own."""
        pack = self.some(sa.select(t.packs.c.id))
        takes_all = self.random.random() < 0.5
        with write(self.registry.engine) as conn:
            for table in (t.version_shares, t.base_shares, t.version_packs, t.base_packs):
                conn.execute(sa.delete(table).where(table.c.pack_id == pack))
            if takes_all:
                for table in (t.form_packs, t.piece_packs):
                    conn.execute(sa.delete(table).where(table.c.pack_id == pack))
                conn.execute(sa.delete(t.packs).where(t.packs.c.id == pack))
        return f"rows of pack {pack}, its own: {takes_all}"

    def some(self, query):
        with read(self.registry.engine) as conn:
            found = conn.execute(query).scalars().all()
        return self.random.choice(found) if found else None

    def repair(self):
        return fsck.run_fsck(self.registry, self.maker, read_data=True, repairs=True)

    def push_named(self, report):
        """Carry out the pushes that a report names, and no others."""
        for one in report.to_push:
            assert one.sent_by in {"ada", "w"}
            if one.subject == "base/base":
                assert one.fix == "deltareg base push PATH base"
                self.push_base()
                continue
            assert one.fix.removesuffix(" --convention absolute") == HEALS
            self.push(int(one.subject.rpartition(":v")[2]) - 1)

    def wrong(self):
        """Name what cannot be decoded to what it was, versions and the base."""
        own = self.models
        at_hand = {record.digest: reader(own.base.tensors[name].read()) for name, record in own.view.tensors.items()}
        manifests = [(one.digest, one.manifest) for one in own.checkpoints]
        for digest, manifest in manifests:
            storage = self.storage_of(digest)
            if storage is None:
                yield digest
                continue
            self.scope = rows.SCOPE
            self.decode(storage, manifest, at_hand)
        self.scope = BASES
        with read(self.registry.engine) as conn:
            raw = map_of_base(conn)
        self.decode(StorageMap.decode(raw), own.base_manifest, {})

    def decode(self, storage, manifest, at_hand):
        with OrderedPool(1) as pool:
            for _ in PieceRebuilder(storage, self.fetch, at_hand, pool)(manifest.pieces().values()):
                pass

    def fetch(self, chunk):
        with read(self.registry.engine) as conn:
            keys = pack_queries.physical_keys(conn, self.scope, [str(chunk.pack)])
        key, _ = keys[str(chunk.pack)]
        return b"".join(self.registry.store.read(key, chunk.offset, chunk.offset + chunk.length))


def map_of_base(conn):
    (base,) = base_rows(conn, name="base", limit=1)
    return base_content(conn, base.id).storage_map


def ruin(url, models, seed):
    world = Ruin(cleared(url), models, seed)
    done = [world.damage() for _ in range(world.random.choice([1, 1, 2, 4]))]

    report = world.repair()
    world.push_named(report)
    again = world.repair()
    world.push(2)
    collect.run(world.registry.engine, world.registry.store, grace_s=0)

    context = f"seed {seed}: {done}"
    assert [one for one in report.findings if not one.outcome and one.kind != "orphan"] == []
    assert again.to_push == [], context
    assert {one.outcome for one in again.findings if one.kind != "orphan"} <= {"healed"}, context
    assert list(world.wrong()) == [], context
    last = fsck.check(world.registry.engine, world.registry.store, read_data=True).findings
    assert [one for one in last if one.kind != "orphan"] == [], context
    world.registry.engine.dispose()
    return len(report.to_push)


def test_each_repair_heals_or_names_the_push_that_does(database_url, models):
    count = SLICE if database_url.startswith("sqlite") else 1
    for seed in range(count):
        ruin(database_url, models, seed)


@pytest.mark.soak
def test_two_hundred_damaged_registries_are_whole_after_it(sqlite_url, models):
    named = [ruin(sqlite_url, models, seed) for seed in range(SOAKED)]

    assert sum(1 for pushes in named if pushes) > SOAKED / 10, "some cannot be healed from within"
    assert sum(1 for pushes in named if not pushes) > SOAKED / 10, "and some can"
