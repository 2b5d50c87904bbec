"""The proof state of stored bytes: claimed by their sender, proven by somebody else, or corrupt."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.runs.rows import RunRow
from deltareg.db.sql.clock import now_us
from deltareg.db.sql.document import StoredDocuments
from deltareg.db.sql.fetch import fetch_all, fetch_known, fetch_one
from deltareg.db.sql.upsert import batches
from deltareg.db.storage.offers import withdraw_from_packs
from deltareg.db.storage.proof_rows import RelyingRow, StandingProofRow
from deltareg.db.storage.shares import PackHolder
from deltareg.db.tables import (
    base_packs,
    bases,
    deltas,
    namespaces,
    packs,
    piece_packs,
    pieces,
    runs,
    verdict_envelopes,
    verdicts,
    version_bases,
    version_packs,
    versions,
    workers,
)

_MOST = 100


def standing(conn: sa.Connection, held: PackHolder, *, lock: bool = False) -> StandingProofRow:
    """Return the proof state of a version's or base's bytes; with `lock` the row is locked."""
    table = _table(held)
    deleted_at = _select_deleted_at(held)
    query = sa.select(
        table.c.id,
        table.c.storage_revision,
        table.c.proven_revision,
        table.c.corrupt_at,
        _sender(table).label("sender_id"),
        deleted_at.label("deleted_at"),
    ).where(table.c.id == held.row_id)
    return fetch_known(conn, query.with_for_update(of=table) if lock else query, StandingProofRow)


def content(conn: sa.Connection, held: PackHolder) -> StoredDocuments:
    """Return the manifest and the storage map of a version or a base."""
    query = base_queries.base_content if held.is_base else version_queries.content
    return query(conn, held.row_id)


def forget_pieces(conn: sa.Connection, held: PackHolder) -> None:
    """Forget the pieces in the packs of a version or a base, so that pushes send them anew."""
    pack_ids = packs_of(conn, held).values()
    withdraw_from_packs(conn, pack_ids)
    inside = sa.select(piece_packs.c.piece_id).where(piece_packs.c.pack_id.in_(pack_ids))
    conn.execute(sa.delete(pieces).where(pieces.c.id.in_(inside)))


def mark_proven(conn: sa.Connection, held: PackHolder) -> None:
    """Record that the stored bytes were decoded and match the manifest."""
    table = _table(held)
    _update(conn, held, proven_at=now_us(), proven_revision=table.c.storage_revision, corrupt_at=None)


def mark_corrupt(conn: sa.Connection, held: PackHolder) -> None:
    """Record that the stored bytes do not match the manifest."""
    _update(conn, held, corrupt_at=now_us(), proven_at=None, proven_revision=None)


def claim_anew(conn: sa.Connection, held: PackHolder, *, sent_by: int | None) -> None:
    """Record that other bytes are stored now, as a claim of their sender."""
    _update(conn, held, stored_by=sent_by, corrupt_at=None, proven_at=None, proven_revision=None)


def packs_of(conn: sa.Connection, held: PackHolder) -> dict[str, int]:
    """Return the row ids, by digest, of the packs that a version or a base needs."""
    needs, column = needed_packs(held)
    query = (
        sa.select(packs.c.digest, packs.c.id).join(needs, needs.c.pack_id == packs.c.id).where(column == held.row_id)
    )
    return {row.digest: row.id for row in conn.execute(query)}


def relying_on(conn: sa.Connection, held: PackHolder, digests: Iterable[str]) -> Sequence[RelyingRow]:
    """List other versions and bases that need some of a holder's packs.

    There are at most a hundred of each.
    """
    mine = packs_of(conn, held)
    pack_ids = [mine[digest] for digest in set(digests) & mine.keys()]
    of_versions = (
        sa.select(
            versions.c.id.label("version_id"),
            sa.null().label("base_id"),
            namespaces.c.name.label("namespace"),
            deltas.c.name.label("line"),
            versions.c.number,
            sa.null().label("base_name"),
        )
        .join(deltas, deltas.c.id == versions.c.delta_id)
        .join(namespaces, namespaces.c.id == deltas.c.namespace_id)
        .where(
            versions.c.deleted_at.is_(None),
            versions.c.id.in_(_using(version_packs, version_packs.c.version_id, pack_ids)),
        )
        .order_by(versions.c.id)
    )
    of_bases = (
        sa.select(
            sa.null().label("version_id"),
            bases.c.id.label("base_id"),
            sa.null().label("namespace"),
            sa.null().label("line"),
            sa.null().label("number"),
            bases.c.name.label("base_name"),
        )
        .where(bases.c.id.in_(_using(base_packs, base_packs.c.base_id, pack_ids)))
        .order_by(bases.c.id)
    )
    rows = [*fetch_all(conn, of_versions.limit(_MOST), RelyingRow), *fetch_all(conn, of_bases.limit(_MOST), RelyingRow)]
    own = (None, held.row_id) if held.is_base else (held.row_id, None)
    return [row for row in rows if (row.version_id, row.base_id) != own]


def reliable_keys(
    conn: sa.Connection, scope: str, digests: Iterable[str], *, sender_id: int, of_version: int | None = None
) -> dict[str, tuple[str, int]]:
    """Return the key and size of live packs that a sender may rely on without sending them.

    These are packs of proven versions and bases, of what the same principal sent before, and of the
    version itself.
    """
    keys: dict[str, tuple[str, int]] = {}
    for part in batches(sorted(set(digests))):
        query = sa.select(packs.c.digest, packs.c.physical_key, packs.c.size_bytes).where(
            packs.c.scope == scope,
            packs.c.digest.in_(part),
            packs.c.state == "live",
            packs.c.bad_at.is_(None),
            sa.or_(
                _needed_by_reliable(versions, version_packs, "version_id", sender_id, of_version),
                _needed_by_reliable(bases, base_packs, "base_id", sender_id, None),
            ),
        )
        keys |= {row.digest: (row.physical_key, row.size_bytes) for row in conn.execute(query)}
    return keys


def held_proof(conn: sa.Connection, run_id: str, *, principal_id: int) -> RunRow | None:
    """Return a proving run if a worker of the principal holds it; else None."""
    own = sa.select(workers.c.name).where(workers.c.principal_id == principal_id)
    query = sa.select(runs).where(
        runs.c.id == run_id, runs.c.what == "prove", runs.c.state == "running", runs.c.lease_holder.in_(own)
    )
    return fetch_one(conn, query, RunRow)


def newest_proof(conn: sa.Connection, held: PackHolder) -> str | None:
    """Return the id of the newest proving run of a version or a base, whatever its state."""
    column = runs.c.base_id if held.is_base else runs.c.version_id
    query = sa.select(runs.c.id).where(
        column == held.row_id, runs.c.what == "prove", runs.c.request["form"].as_string().is_(None)
    )
    return conn.execute(query.order_by(runs.c.created_at.desc(), runs.c.id.desc())).scalar()


def proven_by_key(conn: sa.Connection, keyid: str) -> list[PackHolder]:
    """List what a key has proven, by a run or a verdict, and nobody else has proven since."""
    by_key, is_proven = runs.c.result["keyid"].as_string(), runs.c.result["proof"].as_string()
    signed = sa.select(runs.c.version_id, runs.c.base_id).where(
        runs.c.what == "prove", runs.c.state == "done", by_key == keyid, is_proven == "proven"
    )
    judged = (
        sa.select(verdicts.c.version_id)
        .join(verdict_envelopes, verdict_envelopes.c.verdict_id == verdicts.c.id)
        .where(verdict_envelopes.c.keyid == keyid)
    )
    holders = {_holder_of(row.version_id, row.base_id): None for row in conn.execute(signed)}
    holders |= {PackHolder(row): None for row in conn.execute(judged).scalars()}
    return [holder for holder in holders if _last_key(conn, holder) in {keyid, None}]


def _last_key(conn: sa.Connection, held: PackHolder) -> str | None:
    """Return the key of the newest run that proved a holder; None if none was signed."""
    column = runs.c.base_id if held.is_base else runs.c.version_id
    query = sa.select(runs.c.result["keyid"].as_string()).where(
        column == held.row_id,
        runs.c.what == "prove",
        runs.c.state == "done",
        runs.c.result["proof"].as_string() == "proven",
    )
    newest = query.order_by(runs.c.finished_at.desc(), runs.c.fence.desc()).limit(1)
    return conn.execute(newest).scalar()


def _holder_of(version_id: int | None, base_id: int | None) -> PackHolder:
    return PackHolder(base_id, is_base=True) if base_id is not None else PackHolder(version_id or 0)


def never_proven(conn: sa.Connection, *, limit: int) -> list[PackHolder]:
    """List claimed holders that never had a proving run, as an earlier release stored them."""
    holders: list[PackHolder] = []
    for table, column, is_stored in (
        (versions, runs.c.version_id, versions.c.deleted_at.is_(None)),
        (bases, runs.c.base_id, bases.c.storage_map.is_not(None)),
    ):
        has_run = sa.exists().where(runs.c.what == "prove", column == table.c.id)
        ids = _claimed_ids(conn, table, sa.and_(is_stored, ~has_run), limit - len(holders))
        holders += [PackHolder(row_id, is_base=table is bases) for row_id in ids]
    return holders


def claimed_of_base(conn: sa.Connection, base_id: int) -> list[int]:
    """List the claimed versions of a base."""
    mine = sa.and_(versions.c.deleted_at.is_(None), versions.c.base_id == base_id)
    return _claimed_ids(conn, versions, mine, None)


def _claimed_ids(conn: sa.Connection, table: sa.Table, where: sa.ColumnElement[bool], limit: int | None) -> list[int]:
    query = (
        sa.select(table.c.id)
        .where(where, table.c.corrupt_at.is_(None), table.c.proven_revision.is_distinct_from(table.c.storage_revision))
        .order_by(table.c.id)
        .limit(limit)
    )
    return list(conn.execute(query).scalars())


def _needed_by_reliable(
    table: sa.Table, needs: sa.Table, column: str, sender_id: int, own: int | None
) -> sa.ColumnElement[bool]:
    reasons = [table.c.proven_revision == table.c.storage_revision, _sender(table) == sender_id]
    if own is not None:
        reasons.append(table.c.id == own)
    return sa.exists().where(
        needs.c.pack_id == packs.c.id, needs.c[column] == table.c.id, table.c.corrupt_at.is_(None), sa.or_(*reasons)
    )


def _using(needs: sa.Table, column: sa.Column[Any], pack_ids: Sequence[int]) -> sa.Select[tuple[Any]]:
    return sa.select(column).where(needs.c.pack_id.in_(pack_ids))


def _update(conn: sa.Connection, held: PackHolder, **values: object) -> None:
    table = _table(held)
    conn.execute(sa.update(table).where(table.c.id == held.row_id).values(**values))


def _sender(table: sa.Table) -> sa.ColumnElement[int | None]:
    return sa.func.coalesce(table.c.stored_by, table.c.created_by)


def _table(held: PackHolder) -> sa.Table:
    return bases if held.is_base else versions


def needed_packs(held: PackHolder) -> tuple[sa.Table, sa.Column[Any]]:
    """Return the table that says who needs which pack, and its column of versions or bases."""
    if held.is_base:
        return base_packs, base_packs.c.base_id
    return version_packs, version_packs.c.version_id


def _select_deleted_at(held: PackHolder) -> sa.ColumnElement[int | None]:
    """Return when a version was deleted, or the version that a base is."""
    if not held.is_base:
        return versions.c.deleted_at
    return (
        sa.select(versions.c.deleted_at)
        .join(version_bases, version_bases.c.version_id == versions.c.id)
        .where(version_bases.c.base_id == bases.c.id)
        .scalar_subquery()
    )
