"""Documents may be compressed, and a closed upload keeps none.

Rows that are there stay as they are: this release reads both forms, and writes the short one.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa
import zstandard
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MAGIC = b"\x28\xb5\x2f\xfd"
BATCH = 20


def upgrade() -> None:
    allow_null(is_allowed=True)


def downgrade() -> None:
    """Write out what is compressed: the release before cannot read it."""
    conn = op.get_bind()
    for table in ("versions", "bases"):
        for row in rows_of(conn, table, "manifest", "storage_map"):
            manifest = decompress(row.manifest)
            storage_map = None if row.storage_map is None else decompress(row.storage_map, manifest)
            rewrite(conn, table, row.id, {"manifest": manifest, "storage_map": storage_map})
    for row in rows_of(conn, "pieces", "entry"):
        rewrite(conn, "pieces", row.id, {"entry": decompress(row.entry)})
    for row in rows_of(conn, "uploads", "manifest"):
        # Nobody reads the manifest of a closed upload; it only has to be there.
        manifest = b"{}" if row.manifest is None else decompress(row.manifest)
        rewrite(conn, "uploads", row.id, {"manifest": manifest})
    allow_null(is_allowed=False)


def allow_null(*, is_allowed: bool) -> None:
    with op.batch_alter_table("uploads") as batch:
        batch.alter_column("manifest", existing_type=sa.LargeBinary(), nullable=is_allowed)


def rows_of(conn: sa.Connection, name: str, *documents: str) -> Iterator[sa.Row[*tuple[Any, ...]]]:
    """Go through a table by its key, few rows at a time: documents are large."""
    table = describe_table(name, documents)
    query = sa.select(table).order_by(table.c.id).limit(BATCH)
    rows = conn.execute(query).all()
    while rows:
        yield from rows
        rows = conn.execute(query.where(table.c.id > rows[-1].id)).all()


def rewrite(conn: sa.Connection, name: str, row_id: object, documents: Mapping[str, bytes | None]) -> None:
    table = describe_table(name, documents)
    conn.execute(sa.update(table).where(table.c.id == row_id).values(**documents))


def describe_table(name: str, documents: Iterable[str]) -> sa.TableClause:
    columns = [sa.column(one, sa.LargeBinary()) for one in documents]
    return sa.table(name, sa.column("id"), *columns)


def decompress(stored: bytes, beside: bytes = b"") -> bytes:
    if not stored.startswith(MAGIC):
        return stored
    known = zstandard.ZstdCompressionDict(beside, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdDecompressor(dict_data=known if beside else None).decompress(stored)
