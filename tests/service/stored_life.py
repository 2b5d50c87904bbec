"""Packs, and versions and bases that come to need them and cease to; and a model of what they store."""

import itertools
from collections import Counter

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.bases.base_identities import delete_base
from deltareg.db.session import read, write
from deltareg.db.storage import packs
from deltareg.db.storage.shares import PackHolder, Share, keep_shares
from deltareg.digest import sha256_of
from tests.service import rows

SHARE = Share(referenced_bytes=5, referenced_payload=3, alone_bytes=7, alone_payload=2)


class StoredLife:
    """Lines whose versions need packs, and bases beside them; each step is a transaction of its own."""

    def __init__(self, engine, *, lines=2):
        self.engine, self.bases, self.numbers = engine, [], itertools.count()
        maker = rows.caller(engine)
        self.root = rows.base(engine)
        self.lines = [rows.line(engine, f"l{number}", maker=maker) for number in range(lines)]
        self.maker, self.live, self.deleted, self.packs = maker.principal_id, [], [], []
        self.folded = set()

    def pack(self, size=100):
        digest = str(sha256_of(str(len(self.packs)).encode()))
        values = {"scope": rows.SCOPE, "digest": digest, "physical_key": digest, "size_bytes": size, "state": "live"}
        with write(self.engine) as conn:
            made = conn.execute(sa.insert(t.packs).values(values).returning(t.packs.c.id)).scalar_one()
        self.packs.append((made, digest))
        return made, digest

    def push(self, line, needs):
        with write(self.engine) as conn:
            version_id = rows.add_version(conn, line, base_id=self.root, pack_ids=[pack for pack, _ in needs])
            keep_shares(conn, PackHolder(version_id), {digest: SHARE for _, digest in needs})
        self.live.append(version_id)
        return version_id

    def store_base(self, needs):
        base_id = rows.base(self.engine, f"base-{next(self.numbers)}")
        with write(self.engine) as conn:
            conn.execute(sa.update(t.bases).where(t.bases.c.id == base_id).values(storage_map=b"{}"))
            packs.reference_base(conn, base_id, [pack for pack, _ in needs])
            keep_shares(conn, PackHolder(base_id, is_base=True), {digest: SHARE for _, digest in needs})
        self.bases.append(base_id)
        return base_id

    def fold(self, version_id, needs):
        """Make a version a base as well."""
        if version_id in self.folded:
            return
        self.folded.add(version_id)
        base_id = self.store_base(needs)
        self.bases.remove(base_id)  # it goes with the version alone
        with write(self.engine) as conn:
            values = {"base_id": base_id, "version_id": version_id, "bottom_id": self.root, "depth": 1, "recipe": "r"}
            conn.execute(sa.insert(t.version_bases).values(values))

    def delete(self, version_id):
        rows.delete(self.engine, version_id)
        self.live.remove(version_id)
        self.deleted.append(version_id)

    def restore(self, version_id):
        with write(self.engine) as conn:
            conn.execute(sa.update(t.versions).where(t.versions.c.id == version_id).values(deleted_at=None))
        self.deleted.remove(version_id)
        self.live.append(version_id)

    def drop_base(self, base_id):
        with write(self.engine) as conn:
            delete_base(conn, base_id, name=f"gone-{base_id}", created_by=self.maker)
        self.bases.remove(base_id)

    def take_form(self, version_id, needs):
        """Store a version in other packs."""
        with write(self.engine) as conn:
            conn.execute(sa.update(t.versions).where(t.versions.c.id == version_id).values(storage_map=b"{ }"))
            packs.reference_version_anew(conn, version_id, [pack for pack, _ in needs])
            keep_shares(conn, PackHolder(version_id), {digest: SHARE for _, digest in needs})


def owners_of(engine):
    """Return what the database says of shares that are settled: (is base, holder, pack) by whether it is the owner."""
    found = {}
    with read(engine) as conn:
        for table, own, is_base in ((t.version_shares, "version_id", 0), (t.base_shares, "base_id", 1)):
            for row in conn.execute(sa.select(table)).mappings():
                found[is_base, row[own], row["pack_id"]] = row["is_owner"]
    return found


def model_of(engine):
    """Work out, in plain Python, whose each pack is and what each line stores."""
    with read(engine) as conn:
        versions = {row["id"]: row for row in conn.execute(sa.select(t.versions)).mappings()}
        stacked = dict(conn.execute(sa.select(t.version_bases.c.base_id, t.version_bases.c.version_id)).all())
        gone = set(conn.execute(sa.select(t.deleted_bases.c.base_id)).scalars())
        bases = dict(conn.execute(sa.select(t.bases.c.id, t.bases.c.created_at)).all())
        sizes = dict(conn.execute(sa.select(t.packs.c.id, t.packs.c.size_bytes)).all())
        lengths = (sa.func.length(t.versions.c.manifest), sa.func.length(t.versions.c.storage_map))
        documents = {row[0]: row[1:] for row in conn.execute(sa.select(t.versions.c.id, *lengths))}
    shares = owners_of(engine)

    live = {version_id: row for version_id, row in versions.items() if row["deleted_at"] is None}
    fallen = {base_id for base_id, version_id in stacked.items() if version_id not in live}
    standing = bases.keys() - gone - fallen

    def age(share):
        is_base, holder, _ = share
        return (bases[holder] if is_base else versions[holder]["created_at"], is_base, holder)

    first: dict[int, tuple[int, int, int]] = {}
    there = {share for share in shares if share[1] in (standing if share[0] else live)}
    for share in sorted(there, key=age):
        first.setdefault(share[2], share)
    owners = {share: share == first[share[2]] if share in there else None for share in shares}
    lines: dict[tuple[int, str], Counter[str]] = {(row["delta_id"], row["kind"]): Counter() for row in live.values()}
    for version_id, row in live.items():
        manifest, storage_map = documents[version_id]
        figures = {"versions": 1, "logical_bytes": 1, "manifest_bytes": manifest, "map_bytes": storage_map}
        lines[row["delta_id"], row["kind"]].update(figures)
    for (is_base, holder, pack), is_owner in owners.items():
        if not is_base and is_owner is not None:
            line = lines[versions[holder]["delta_id"], versions[holder]["kind"]]
            line.update({"pack_bytes": sizes[pack], **SHARE.columns()} if is_owner else {"shared_bytes": 12})
    return owners, lines
