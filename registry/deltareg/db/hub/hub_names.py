"""What clients of the Hugging Face Hub look up: the beginning of a digest, and hub ids."""

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from deltareg.db.bases.rows import HubIdRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.lines.versions import select_versions
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.storage.proofs import needed_packs
from deltareg.db.storage.shares import PackHolder
from deltareg.db.tables import base_hub_ids, packs, versions

_ENOUGH = 8


def versions_beginning(conn: sa.Connection, delta_id: int, hex_digits: str) -> Sequence[VersionRow]:
    """List versions of a line whose digest begins so, newest first, including deleted ones.

    Args:
        conn: A transaction.
        delta_id: The line.
        hex_digits: Only lower-case hexadecimal digits.
    """
    begins = versions.c.manifest_digest.startswith(f"sha256:{hex_digits}", autoescape=True)
    query = select_versions().where(versions.c.delta_id == delta_id, begins)
    return fetch_all(conn, query.order_by(versions.c.number.desc()).limit(_ENOUGH), VersionRow)


def hub_ids_called(conn: sa.Connection, hub_id: str) -> Sequence[HubIdRow]:
    """List the bases that have a hub id, ignoring case."""
    query = (
        sa.select(base_hub_ids.c.base_id, base_hub_ids.c.hub_id, base_hub_ids.c.revision)
        .where(sa.func.lower(base_hub_ids.c.hub_id) == hub_id.lower())
        .order_by(base_hub_ids.c.base_id, base_hub_ids.c.revision)
    )
    return fetch_all(conn, query, HubIdRow)


def hub_ids_of(conn: sa.Connection, base_ids: Collection[int]) -> dict[int, list[str]]:
    """Return the hub ids of bases, without revisions, by base."""
    query = (
        sa.select(base_hub_ids.c.base_id, base_hub_ids.c.hub_id)
        .where(base_hub_ids.c.base_id.in_(base_ids))
        .distinct()
        .order_by(base_hub_ids.c.base_id, base_hub_ids.c.hub_id)
    )
    hub_ids: dict[int, list[str]] = {}
    for row in conn.execute(query):
        hub_ids.setdefault(row.base_id, []).append(row.hub_id)
    return hub_ids


def pack_keys(conn: sa.Connection, held: PackHolder) -> dict[str, tuple[str, int]]:
    """Return key and size, by digest, of all packs that a version or a base needs."""
    needs, column = needed_packs(held)
    query = (
        sa.select(packs.c.digest, packs.c.physical_key, packs.c.size_bytes)
        .join(needs, needs.c.pack_id == packs.c.id)
        .where(column == held.row_id)
    )
    return {row.digest: (row.physical_key, row.size_bytes) for row in conn.execute(query)}
