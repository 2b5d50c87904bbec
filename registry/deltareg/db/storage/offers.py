"""Offers: whose pieces other pushes can use instead of sending them, and by which marks they are found.

An offer counts as long as the bytes of its version or base are proven. Those who withdraw one lock
the version or base first, or what it needs.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import sqlalchemy as sa

from deltareg.db.sql.fetch import fetch_each
from deltareg.db.sql.upsert import batches, insert
from deltareg.db.storage.shares import PackHolder
from deltareg.db.tables import (
    base_packs,
    bases,
    form_packs,
    forms,
    namespaces,
    offer_marks,
    offers,
    version_packs,
    versions,
)

_SPACE: Final = "ns:"
_EACH: Final = 8
"""How many offers are found by one mark: many versions may have a piece, one is enough."""


@dataclass(frozen=True, slots=True)
class OfferRow:
    """An offer, and a mark by which it was found."""

    id: int
    version_id: int | None
    base_id: int | None
    mark: int

    @property
    def held(self) -> PackHolder:
        """The version or base that has the pieces."""
        if self.base_id is not None:
            return PackHolder(self.base_id, is_base=True)
        return PackHolder(self.version_id or 0)


def space_of(conn: sa.Connection, scope: str) -> int:
    """Return the number of a scope, which outlives its name: a namespace's row id, 0 for bases."""
    if not scope.startswith(_SPACE):
        return 0
    query = sa.select(namespaces.c.id).where(namespaces.c.name == scope.removeprefix(_SPACE))
    return int(conn.execute(query).scalar() or -1)


def put_offer(conn: sa.Connection, held: PackHolder, space: int, digest_marks: Iterable[int]) -> None:
    """Offer the pieces of a version or base, in place of what was offered of it."""
    withdraw(conn, [held])
    column = "base_id" if held.is_base else "version_id"
    added = sa.insert(offers).values({column: held.row_id}).returning(offers.c.id)
    offer_id = conn.execute(added).scalar_one()
    marks = sorted({mark_in(space, mark) for mark in digest_marks})
    for part in batches(marks):
        standing = sa.exists().where(offers.c.id == offer_marks.c.offer_id)
        conn.execute(sa.delete(offer_marks).where(offer_marks.c.mark.in_(part), ~standing))
        taken = (
            sa.select(offer_marks.c.mark)
            .where(offer_marks.c.mark.in_(part))
            .group_by(offer_marks.c.mark)
            .having(sa.func.count() >= _EACH)
        )
        wanted = sorted(set(part) - set(conn.execute(taken).scalars()))
        if wanted:
            rows = [{"mark": mark, "offer_id": offer_id} for mark in wanted]
            conn.execute(insert(conn, offer_marks).on_conflict_do_nothing(), rows)


def find_offers(conn: sa.Connection, space: int, digest_marks: Iterable[int]) -> Sequence[OfferRow]:
    """List the standing offers that have some marks, oldest first, once for each mark."""
    found: list[OfferRow] = []
    for part in batches(sorted({mark_in(space, mark) for mark in digest_marks})):
        query = (
            sa.select(offers.c.id, offers.c.version_id, offers.c.base_id, offer_marks.c.mark)
            .join(offer_marks, offer_marks.c.offer_id == offers.c.id)
            .outerjoin(versions, versions.c.id == offers.c.version_id)
            .outerjoin(bases, bases.c.id == offers.c.base_id)
            .where(
                offer_marks.c.mark.in_(part),
                sa.or_(
                    sa.and_(versions.c.proven_revision == versions.c.storage_revision, versions.c.corrupt_at.is_(None)),
                    sa.and_(
                        bases.c.proven_revision == bases.c.storage_revision,
                        bases.c.corrupt_at.is_(None),
                        bases.c.storage_map.is_not(None),
                    ),
                ),
            )
        )
        found += fetch_each(conn, query, OfferRow)
    return sorted(found, key=lambda row: row.id)


def withdraw(conn: sa.Connection, holders: Iterable[PackHolder]) -> None:
    """Withdraw what versions and bases offer."""
    for held in holders:
        column = offers.c.base_id if held.is_base else offers.c.version_id
        conn.execute(sa.delete(offers).where(column == held.row_id))


def withdraw_from_packs(conn: sa.Connection, pack_ids: Collection[int]) -> None:
    """Withdraw the offers of all that needs some packs."""
    for part in batches(sorted(set(pack_ids))):
        of_versions = sa.union_all(
            sa.select(version_packs.c.version_id).where(version_packs.c.pack_id.in_(part)),
            sa.select(forms.c.version_id)
            .join(form_packs, form_packs.c.form_id == forms.c.id)
            .where(form_packs.c.pack_id.in_(part)),
        )
        of_bases = sa.select(base_packs.c.base_id).where(base_packs.c.pack_id.in_(part))
        conn.execute(
            sa.delete(offers).where(sa.or_(offers.c.version_id.in_(of_versions), offers.c.base_id.in_(of_bases)))
        )


@cache
def _salt(space: int) -> int:
    return int.from_bytes(hashlib.sha256(str(space).encode()).digest()[:8]) >> 1


def mark_in(space: int, digest_mark: int) -> int:
    """Return the mark in a scope of a piece's own, or the other way: equal pieces of two scopes have two."""
    return digest_mark ^ _salt(space)
