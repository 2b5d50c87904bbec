"""Taking the packs of a line to another scope: bytes are shared within a namespace, never beyond."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.sql.among import among, write_ids
from deltareg.db.sql.fetch import fetch_all
from deltareg.db.storage.offers import withdraw_from_packs
from deltareg.db.storage.rows import MovingPackRow
from deltareg.db.tables import (
    base_packs,
    base_shares,
    form_packs,
    forms,
    packs,
    piece_packs,
    pieces,
    version_bases,
    version_packs,
    version_shares,
    versions,
)

_HOLDERS = ((version_packs, "version_id"), (form_packs, "form_id"), (base_packs, "base_id"))


def packs_of_line(conn: sa.Connection, delta_id: int, scope: str) -> Sequence[MovingPackRow]:
    """List the packs of a line that lie in a scope, and whether something else needs them as well."""
    others = [
        sa.exists().where(table.c.pack_id == packs.c.id, table.c[name].not_in(_own(delta_id, name)))
        for table, name in _HOLDERS
    ]
    query = (
        sa.select(
            packs.c.id, packs.c.digest, packs.c.physical_key, packs.c.size_bytes, sa.or_(*others).label("is_shared")
        )
        .where(packs.c.id.in_(_packs_below(delta_id)), packs.c.scope == scope)
        .order_by(packs.c.digest)
    )
    return fetch_all(conn, query, MovingPackRow)


def lock_packs_of_line(conn: sa.Connection, delta_id: int, scope: str) -> None:
    """Lock the packs of a line that lie in a scope until the transaction ends: nothing else begins to need them."""
    own = packs.c.id.in_(_packs_below(delta_id))
    query = sa.select(packs.c.id).where(own, packs.c.scope == scope).order_by(packs.c.digest)
    conn.execute(query.with_for_update(of=packs)).all()


def sound_in(conn: sa.Connection, scope: str, digests: Iterable[str], *, lock: bool) -> dict[str, int]:
    """Return the sound packs of a scope among some, by digest; with `lock`, collection leaves them."""
    query = (
        sa.select(packs.c.digest, packs.c.id)
        .where(
            packs.c.scope == scope,
            packs.c.digest.in_(sorted(digests)),
            packs.c.state == "live",
            packs.c.bad_at.is_(None),
        )
        .order_by(packs.c.digest)
    )
    query = query.with_for_update(read=True) if lock else query
    return {row.digest: row.id for row in conn.execute(query)}


def unsound_in(conn: sa.Connection, scope: str, digests: Iterable[str]) -> set[str]:
    """Return the digests whose pack a scope has, but not as bytes that may be relied on."""
    query = sa.select(packs.c.digest).where(
        packs.c.scope == scope,
        packs.c.digest.in_(sorted(digests)),
        sa.or_(packs.c.state != "live", packs.c.bad_at.is_not(None)),
    )
    return set(conn.execute(query).scalars())


def take_along(conn: sa.Connection, pack_ids: Iterable[int], scope: str) -> None:
    """Give packs that nothing else needs another scope; what was offered of them is offered no more."""
    pack_ids = list(pack_ids)
    ids = write_ids(pack_ids)
    withdraw_from_packs(conn, pack_ids)
    offered = sa.select(piece_packs.c.piece_id).where(among(piece_packs.c.pack_id, sa.literal(ids, sa.Text)))
    conn.execute(sa.delete(pieces).where(pieces.c.id.in_(offered)))
    conn.execute(sa.update(packs).where(among(packs.c.id, sa.literal(ids, sa.Text))).values(scope=scope))


def need_instead(conn: sa.Connection, delta_id: int, *, before: int, after: int) -> None:
    """Let all of a line need another pack of the same bytes, of which they have the same shares."""
    measured: list[tuple[sa.Table, list[dict[Any, Any]]]] = []
    for table, name in ((version_shares, "version_id"), (base_shares, "base_id")):
        own = table.c[name].in_(_own(delta_id, name))
        rows = conn.execute(sa.select(table).where(own, table.c.pack_id == before)).mappings()
        measured.append((table, [dict(row) | {"pack_id": after, "is_owner": None} for row in rows]))
    for table, name in _HOLDERS:
        own = table.c[name].in_(_own(delta_id, name))
        holders = list(conn.execute(sa.select(table.c[name]).where(own, table.c.pack_id == before)).scalars())
        conn.execute(sa.delete(table).where(own, table.c.pack_id == before))
        if holders:
            conn.execute(sa.insert(table), [{name: holder, "pack_id": after} for holder in holders])
    for table, shares in measured:
        if shares:
            conn.execute(sa.insert(table), shares)


def rename_scope(conn: sa.Connection, before: str, after: str) -> None:
    """Give all that lies in a scope the name of another, which has nothing."""
    for table in (packs, pieces):
        conn.execute(sa.update(table).where(table.c.scope == before).values(scope=after))


def _packs_below(delta_id: int) -> sa.CompoundSelect[*tuple[Any, ...]]:
    """Return the packs that the versions of a line need, with their forms and the bases that they are."""
    return sa.union(
        *(sa.select(table.c.pack_id).where(table.c[name].in_(_own(delta_id, name))) for table, name in _HOLDERS)
    )


def _own(delta_id: int, name: str) -> sa.Select[*tuple[Any, ...]]:
    """Return the versions of a line, or the forms of them, or the bases that they are."""
    own = sa.select(versions.c.id).where(versions.c.delta_id == delta_id)
    if name == "version_id":
        return own
    if name == "form_id":
        return sa.select(forms.c.id).where(forms.c.version_id.in_(own))
    return sa.select(version_bases.c.base_id).where(version_bases.c.version_id.in_(own))
