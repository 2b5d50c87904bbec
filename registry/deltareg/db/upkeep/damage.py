"""Packs with damaged or missing objects: marked, so that nothing relies on them, and replaced."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from deltareg.db.bases.stacks import is_standing
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.sql.upsert import batches
from deltareg.db.storage.proofs import needed_packs
from deltareg.db.storage.rows import BadPackRow, PackRow
from deltareg.db.storage.shares import PackHolder
from deltareg.db.tables import base_packs, bases, form_packs, packs, version_packs, versions

_SHOWN = (packs.c.id, packs.c.scope, packs.c.digest, packs.c.physical_key, packs.c.size_bytes)


def mark_bad(conn: sa.Connection, pack_id: int, *, physical_key: str, why: str) -> bool:
    """Record that a pack's object is damaged; return False if it has another object by now."""
    update = (
        sa.update(packs)
        .where(packs.c.id == pack_id, packs.c.physical_key == physical_key)
        .values(bad_at=sa.func.coalesce(packs.c.bad_at, now_us()), bad_why=why, state="live")
    )
    return conn.execute(update).rowcount == 1


def mark_whole(conn: sa.Connection, pack_id: int, *, physical_key: str, size_bytes: int) -> bool:
    """Record that the object of a pack is sound; False if its key has changed."""
    update = (
        sa.update(packs)
        .where(packs.c.id == pack_id, packs.c.physical_key == physical_key)
        .values(bad_at=None, bad_why=None, state="live", size_bytes=size_bytes)
    )
    return conn.execute(update).rowcount == 1


def bad_among(conn: sa.Connection, scope: str, digests: Iterable[str]) -> list[int]:
    """Return the row ids of the packs among some digests that are known to be damaged."""
    ids: list[int] = []
    for part in batches(sorted(set(digests))):
        query = sa.select(packs.c.id).where(
            packs.c.scope == scope, packs.c.digest.in_(part), packs.c.bad_at.is_not(None)
        )
        ids += conn.execute(query).scalars()
    return ids


def bad_packs(conn: sa.Connection, held: PackHolder) -> Sequence[BadPackRow]:
    """List the packs of a version or a base that are known to be damaged."""
    needs, column = needed_packs(held)
    query = (
        sa.select(packs.c.digest, packs.c.bad_why)
        .join(needs, needs.c.pack_id == packs.c.id)
        .where(column == held.row_id, packs.c.bad_at.is_not(None))
        .order_by(packs.c.id)
    )
    return fetch_all(conn, query, BadPackRow)


def bad_why(conn: sa.Connection, pack_id: int) -> str | None:
    """Return what is wrong with a pack; None if it is not known to be damaged."""
    query = sa.select(packs.c.bad_why).where(packs.c.id == pack_id, packs.c.bad_at.is_not(None))
    row = conn.execute(query).one_or_none()
    return None if row is None else row.bad_why or "it is damaged"


def keep(conn: sa.Connection, pack_id: int) -> bool:
    """Lock a pack and unmark it, so that it can be referenced; return False if it is gone."""
    update = sa.update(packs).where(packs.c.id == pack_id).values(state="live")
    return conn.execute(update).rowcount == 1


def pack_rows(conn: sa.Connection, held: PackHolder) -> Sequence[PackRow]:
    """List the packs of a version or a base that are not known to be damaged."""
    needs, column = needed_packs(held)
    query = (
        sa.select(*_SHOWN)
        .join(needs, needs.c.pack_id == packs.c.id)
        .where(column == held.row_id, packs.c.bad_at.is_(None))
        .order_by(packs.c.id)
    )
    return fetch_all(conn, query, PackRow)


def pack_rows_of_form(conn: sa.Connection, form_id: int) -> Sequence[PackRow]:
    """List the packs of a form that are not known to be damaged."""
    query = (
        sa.select(*_SHOWN)
        .join(form_packs, form_packs.c.pack_id == packs.c.id)
        .where(form_packs.c.form_id == form_id, packs.c.bad_at.is_(None))
        .order_by(packs.c.id)
    )
    return fetch_all(conn, query, PackRow)


def packs_by_digest(conn: sa.Connection, scope: str, digests: Iterable[str]) -> Sequence[PackRow]:
    """List the packs of some digests, damaged or not."""
    rows: list[PackRow] = []
    for part in batches(sorted(set(digests))):
        query = sa.select(*_SHOWN).where(packs.c.scope == scope, packs.c.digest.in_(part))
        rows += fetch_all(conn, query.order_by(packs.c.id), PackRow)
    return rows


def needing(conn: sa.Connection, pack_id: int) -> list[PackHolder]:
    """List the versions and bases that need a pack."""
    of_versions = sa.select(version_packs.c.version_id).where(version_packs.c.pack_id == pack_id)
    of_bases = sa.select(base_packs.c.base_id).where(base_packs.c.pack_id == pack_id)
    holders = [PackHolder(row) for row in conn.execute(of_versions.order_by(sa.text("1"))).scalars()]
    in_bases = conn.execute(of_bases.order_by(sa.text("1"))).scalars()
    return holders + [PackHolder(row, is_base=True) for row in in_bases]


def corrupt_bases(conn: sa.Connection, base_ids: Iterable[int]) -> set[int]:
    """Return which of some bases are corrupt."""
    query = sa.select(bases.c.id).where(bases.c.id.in_(set(base_ids)), bases.c.corrupt_at.is_not(None))
    return set(conn.execute(query).scalars())


def corrupt_ones(conn: sa.Connection) -> list[PackHolder]:
    """List the corrupt versions and bases; deleted ones are left out."""
    of_versions = sa.select(versions.c.id).where(versions.c.corrupt_at.is_not(None), versions.c.deleted_at.is_(None))
    of_bases = sa.select(bases.c.id).where(bases.c.corrupt_at.is_not(None), is_standing())
    holders = [PackHolder(row) for row in conn.execute(of_versions.order_by(versions.c.id)).scalars()]
    in_bases = conn.execute(of_bases.order_by(bases.c.id)).scalars()
    return holders + [PackHolder(row, is_base=True) for row in in_bases]
