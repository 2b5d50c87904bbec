"""Shares: what versions and bases have in each of their packs, and which are not measured yet."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.bases.stacks import is_standing
from deltareg.db.tables import base_packs, base_shares, bases, packs, version_packs, version_shares, versions


@dataclass(frozen=True, slots=True)
class PackHolder:
    """A holder of packs: a version, or a base whose bytes are stored here.

    Attributes:
        row_id: Its row id.
        is_base: Whether it is a base.
    """

    row_id: int
    is_base: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """The pieces of one holder in one pack, as byte counts.

    Attributes:
        referenced_bytes: Decoded bytes of the chunks that are encoded against a reference.
        referenced_payload: Stored bytes of those chunks.
        alone_bytes: Decoded bytes of the other chunks.
        alone_payload: Stored bytes of those.
    """

    referenced_bytes: int = 0
    referenced_payload: int = 0
    alone_bytes: int = 0
    alone_payload: int = 0

    def __add__(self, other: "Share") -> "Share":
        """Add up two shares of one pack."""
        return Share(
            self.referenced_bytes + other.referenced_bytes,
            self.referenced_payload + other.referenced_payload,
            self.alone_bytes + other.alone_bytes,
            self.alone_payload + other.alone_payload,
        )

    def columns(self) -> dict[str, int]:
        """Return it as the columns of a row."""
        return {
            "referenced_bytes": self.referenced_bytes,
            "referenced_payload": self.referenced_payload,
            "alone_bytes": self.alone_bytes,
            "alone_payload": self.alone_payload,
        }


_FIRST_REVISION = 1
"""The storage revision that a version begins with."""


def add_shares(conn: sa.Connection, version_id: int, shares: Mapping[str, Share], pack_ids: Mapping[str, int]) -> None:
    """Record the shares of a version that this transaction made.

    Args:
        conn: A transaction.
        version_id: The version, in its first storage revision.
        shares: The shares, by the digest of the pack.
        pack_ids: The row ids of all packs that it needs, by digest.
    """
    rows = [
        {"version_id": version_id, "pack_id": pack_id, "storage_revision": _FIRST_REVISION}
        | shares.get(digest, Share()).columns()
        for digest, pack_id in pack_ids.items()
    ]
    if rows:
        conn.execute(sa.insert(version_shares), rows)


def keep_shares(conn: sa.Connection, held: PackHolder, shares: Mapping[str, Share]) -> None:
    """Replace the shares of a holder: one for each pack that it needs, empty if it has none there.

    Args:
        conn: A transaction that has locked or created the holder's row.
        held: The holder, whose packs are recorded.
        shares: The shares, by the digest of the pack.
    """
    needs, table = (base_packs, base_shares) if held.is_base else (version_packs, version_shares)
    own = "base_id" if held.is_base else "version_id"
    conn.execute(sa.delete(table).where(table.c[own] == held.row_id))
    revision: dict[str, object] = {}
    if not held.is_base:
        query = sa.select(versions.c.storage_revision).where(versions.c.id == held.row_id)
        revision = {"storage_revision": conn.execute(query).scalar_one()}
    needed_packs = sa.select(packs.c.id, packs.c.digest).join(needs, needs.c.pack_id == packs.c.id)
    rows = [
        {own: held.row_id, "pack_id": row.id, **revision} | shares.get(row.digest, Share()).columns()
        for row in conn.execute(needed_packs.where(needs.c[own] == held.row_id))
    ]
    if rows:
        conn.execute(sa.insert(table), rows)


def unmeasured_holders(conn: sa.Connection, *, limit: int) -> list[PackHolder]:
    """List live holders with a pack that was not measured under their current storage map."""
    of_versions = (
        sa.select(version_packs.c.version_id.label("holder"), sa.literal(0).label("is_base"))
        .join(versions, versions.c.id == version_packs.c.version_id)
        .where(versions.c.deleted_at.is_(None), ~sa.exists().where(is_share_of_version()))
        .distinct()
        .limit(limit)
    )
    of_bases = (
        sa.select(base_packs.c.base_id.label("holder"), sa.literal(1).label("is_base"))
        .join(bases, bases.c.id == base_packs.c.base_id)
        .where(is_standing(), ~sa.exists().where(is_share_of_base()))
        .distinct()
        .limit(limit)
    )
    first, then = of_versions.subquery(), of_bases.subquery()
    both = sa.union_all(sa.select(first), sa.select(then))
    return [PackHolder(row.holder, is_base=bool(row.is_base)) for row in conn.execute(both)]


def is_share_of_version() -> sa.ColumnElement[bool]:
    """Whether a share belongs to a version in a pack, under its current storage map."""
    return sa.and_(
        version_shares.c.version_id == version_packs.c.version_id,
        version_shares.c.pack_id == version_packs.c.pack_id,
        version_shares.c.storage_revision == versions.c.storage_revision,
    )


def is_share_of_base() -> sa.ColumnElement[bool]:
    """Whether a share belongs to a base in a pack."""
    return sa.and_(base_shares.c.base_id == base_packs.c.base_id, base_shares.c.pack_id == base_packs.c.pack_id)
