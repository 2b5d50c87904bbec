"""What the server's database says, read beside the server by whoever judges it."""

import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import create_engine, read

BEFORE, AFTER = "before first byte", "after commit"
WRITING, NAMED, RECEIVED = "pack on its way", "object without its row", "pack received"
BETWEEN = (WRITING, NAMED, RECEIVED)  # between first byte and commit
PHASES = (BEFORE, *BETWEEN, AFTER)


class Ledger:
    """Reads a registry's database."""

    def __init__(self, url):
        self._engine = create_engine(url)

    def close(self):
        self._engine.dispose()

    def phase(self, line, message, objects):
        """Say how far the push to a line with this message has come.

        Args:
            line: The line.
            message: What tells the push from others.
            objects: The keys of all objects in the store.
        """
        if self.versions(message=message):
            return AFTER
        uploads = sa.select(t.uploads.c.id, t.uploads.c.request).where(t.uploads.c.target == line)
        opened = [row.id for row in self._rows(uploads) if row.request["message"] == message]
        columns = t.upload_packs.c
        packs = self._rows(sa.select(columns.state, columns.physical_key).where(columns.upload_id.in_(opened)))
        if any(pack.state in {"received", "adopted"} for pack in packs):
            return RECEIVED
        if any(pack.physical_key in objects for pack in packs):
            return NAMED
        return WRITING if packs else BEFORE

    def versions(self, *, message=None, after=0):
        """List the versions that are visible, oldest first."""
        v = t.versions
        query = (
            sa.select(
                v.c.id,
                v.c.number,
                v.c.message,
                v.c.manifest_digest.label("digest"),
                sa.literal("lab/").concat(t.deltas.c.name).label("line"),
            )
            .join(t.deltas, t.deltas.c.id == v.c.delta_id)
            .where(v.c.deleted_at.is_(None), v.c.id > after)
            .order_by(v.c.id)
        )
        return self._rows(query if message is None else query.where(v.c.message == message))

    def runs(self):
        """List all verifications, each with the number of its verdicts."""
        verdicts = sa.func.count(t.verdicts.c.id).label("verdicts")
        query = (
            sa.select(t.runs, verdicts)
            .outerjoin(t.verdicts, t.verdicts.c.run_id == t.runs.c.id)
            .where(t.runs.c.what == "verify")
        )
        return self._rows(query.group_by(t.runs.c.id))

    def verdict_ids(self):
        return {row.id for row in self._rows(sa.select(t.verdicts.c.id))}

    def workers(self):
        """Count the workers that ever asked for work."""
        return len(self._rows(sa.select(t.workers.c.id)))

    def needed_keys(self):
        """Give the physical key of every pack that a version or a base needs."""
        used = sa.union(sa.select(t.version_packs.c.pack_id), sa.select(t.base_packs.c.pack_id))
        query = sa.select(t.packs.c.physical_key).where(t.packs.c.id.in_(used))
        return {row.physical_key for row in self._rows(query)}

    def known_keys(self):
        """Give the physical key of every object that a row knows of."""
        known = sa.union(sa.select(t.packs.c.physical_key), sa.select(t.upload_packs.c.physical_key))
        return {row.physical_key for row in self._rows(known)}

    def received_bytes(self, target):
        """Count the bytes of packs that the uploads for a line or a base have brought."""
        packs = t.upload_packs
        query = (
            sa.select(sa.func.coalesce(sa.func.sum(packs.c.size_bytes), 0).label("size"))
            .join(t.uploads, t.uploads.c.id == packs.c.upload_id)
            .where(t.uploads.c.target == target)
        )
        return int(self._rows(query)[0].size)

    def _rows(self, query):
        with read(self._engine) as conn:
            return conn.execute(query).all()
