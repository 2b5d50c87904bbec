"""Keys and what they signed: envelopes of verdicts, disputes between them, summaries of moves."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from deltareg.db.sql.clock import US_PER_S, now_us
from deltareg.db.sql.fetch import fetch_all, fetch_one
from deltareg.db.sql.upsert import insert
from deltareg.db.tables import (
    disputes,
    lease_keys,
    principals,
    runs,
    signing_keys,
    summaries,
    verdict_envelopes,
    verdicts,
)
from deltareg.db.verdicts.signing_rows import EnvelopeRow, KeyRow, LeaseKeyRow, ShownKeyRow, SummaryRow

_LIVE = sa.and_(signing_keys.c.retired_at.is_(None), signing_keys.c.revoked_at.is_(None))


def add_key(
    conn: sa.Connection,
    *,
    role: str,
    name: str,
    principal_id: int | None,
    keyid: str,
    public: str,
    host: str,
    created_by: int | None,
) -> bool:
    """Insert a key; return False if it is known already."""
    added = (
        insert(conn, signing_keys)
        .values(
            role=role,
            name=name,
            principal_id=principal_id,
            keyid=keyid,
            public=public,
            host=host,
            created_by=created_by,
            created_at=now_us(),
        )
        .on_conflict_do_nothing(index_elements=["keyid"])
        .returning(signing_keys.c.id)
    )
    return conn.execute(added).scalar() is not None


def find_key(conn: sa.Connection, *, keyid: str | None = None, public: str | None = None) -> KeyRow | None:
    """Find a key by its id or by the public key, live or not."""
    query = sa.select(signing_keys)
    if keyid is not None:
        query = query.where(signing_keys.c.keyid == keyid)
    if public is not None:
        query = query.where(signing_keys.c.public == public)
    return fetch_one(conn, query.limit(1), KeyRow)


def live_worker_key(conn: sa.Connection, principal_id: int) -> KeyRow | None:
    """Find the key that a worker signs with now."""
    of_worker = sa.and_(signing_keys.c.principal_id == principal_id, signing_keys.c.role == "worker", _LIVE)
    return fetch_one(conn, sa.select(signing_keys).where(of_worker), KeyRow)


def key_rows(conn: sa.Connection) -> Sequence[ShownKeyRow]:
    """List all keys, ended ones included: workers first, then by name, newest first."""
    maker, ender = principals.alias("maker"), principals.alias("ender")
    query = (
        sa.select(signing_keys, maker.c.name.label("maker"), ender.c.name.label("ender"))
        .outerjoin(maker, maker.c.id == signing_keys.c.created_by)
        .outerjoin(ender, ender.c.id == signing_keys.c.revoked_by)
        .order_by(signing_keys.c.role.desc(), signing_keys.c.name, signing_keys.c.id.desc())
    )
    return fetch_all(conn, query, ShownKeyRow)


def retire_keys(conn: sa.Connection, principal_id: int) -> None:
    """Retire a worker's live key; what it signed keeps counting."""
    own = sa.and_(signing_keys.c.principal_id == principal_id, _LIVE)
    conn.execute(sa.update(signing_keys).where(own).values(retired_at=now_us()))


def revoke_key(conn: sa.Connection, key_id: int, *, by: int, reason: str) -> bool:
    """Revoke a key with everything that it signed; return False if it was revoked before."""
    update = (
        sa.update(signing_keys)
        .where(signing_keys.c.id == key_id, signing_keys.c.revoked_at.is_(None))
        .values(revoked_at=now_us(), revoked_by=by, reason=reason)
    )
    return conn.execute(update).rowcount == 1


def other_live_workers(conn: sa.Connection, key_id: int) -> int:
    """Count the live keys of other workers on hosts other than that of a key."""
    own = sa.select(signing_keys.c.host).where(signing_keys.c.id == key_id).scalar_subquery()
    is_other = sa.and_(
        signing_keys.c.role == "worker",
        _LIVE,
        signing_keys.c.id != key_id,
        sa.or_(signing_keys.c.host == "", signing_keys.c.host != own),
    )
    return int(conn.execute(sa.select(sa.func.count()).where(is_other)).scalar_one())


def has_live_worker_but(conn: sa.Connection, keyids: Iterable[str]) -> bool:
    """Whether there is an enrolled worker, active or not, whose key is none of these."""
    query = sa.select(signing_keys.c.id).where(
        signing_keys.c.role == "worker", _LIVE, signing_keys.c.keyid.not_in(list(keyids))
    )
    return conn.execute(query.limit(1)).first() is not None


def has_other_workers(conn: sa.Connection, principal_ids: Collection[int]) -> bool:
    """Whether a worker of none of these principals is enrolled, active or not."""
    is_other = sa.and_(signing_keys.c.role == "worker", _LIVE, signing_keys.c.principal_id.not_in(principal_ids))
    return conn.execute(sa.select(signing_keys.c.id).where(is_other).limit(1)).first() is not None


def live_workers_of(conn: sa.Connection, principal_ids: Collection[int]) -> list[str]:
    """Return the key ids of the live keys of the workers of some principals."""
    query = sa.select(signing_keys.c.keyid).where(
        signing_keys.c.role == "worker", _LIVE, signing_keys.c.principal_id.in_(principal_ids)
    )
    return list(conn.execute(query.order_by(signing_keys.c.id)).scalars())


def bind_lease(conn: sa.Connection, run_id: str, *, nonce: str, public: str) -> None:
    """Record, at the claim of a run, the nonce of its report and the key that must sign it."""
    added = insert(conn, lease_keys).values(run_id=run_id, nonce=nonce, public=public)
    columns = {"nonce": added.excluded.nonce, "public": added.excluded.public}
    conn.execute(added.on_conflict_do_update(index_elements=["run_id"], set_=columns))


def lease_key(conn: sa.Connection, run_id: str) -> LeaseKeyRow | None:
    """Find the nonce that the report of a run must contain, and the key that must sign it."""
    query = sa.select(lease_keys).where(lease_keys.c.run_id == run_id)
    return fetch_one(conn, query, LeaseKeyRow)


def past_lease_keys(conn: sa.Connection, *, keep_s: float, limit: int) -> Sequence[str]:
    """List the runs that ended longer ago than that and still have the key of their lease."""
    query = (
        sa.select(lease_keys.c.run_id)
        .join(runs, runs.c.id == lease_keys.c.run_id)
        .where(_has_ended(keep_s))
        .limit(limit)
    )
    return conn.execute(query).scalars().all()


def drop_lease_keys(conn: sa.Connection, run_ids: Sequence[str], *, keep_s: float) -> int:
    """Drop the keys of the leases of runs that are ended; return how many."""
    ended = sa.select(runs.c.id).where(runs.c.id.in_(run_ids), _has_ended(keep_s))
    return conn.execute(sa.delete(lease_keys).where(lease_keys.c.run_id.in_(ended))).rowcount


def add_envelope(
    conn: sa.Connection,
    verdict_id: str,
    *,
    key_id: int | None,
    keyid: str,
    host: str,
    labels: Mapping[str, str],
    body: bytes,
) -> None:
    """Store the signed envelope of a verdict."""
    conn.execute(
        sa.insert(verdict_envelopes).values(
            verdict_id=verdict_id, key_id=key_id, keyid=keyid, host=host, labels=dict(labels), body=body
        )
    )


def envelope_row(conn: sa.Connection, verdict_id: str) -> EnvelopeRow | None:
    """Find the signed envelope of a verdict."""
    query = sa.select(verdict_envelopes).where(verdict_envelopes.c.verdict_id == verdict_id)
    return fetch_one(conn, query, EnvelopeRow)


def add_disputes(conn: sa.Connection, one: str, other: str, *, told: str) -> None:
    """Record that two verdicts dispute each other; a verdict that is disputed stays as it is."""
    for verdict_id, other_id in ((one, other), (other, one)):
        conn.execute(
            insert(conn, disputes)
            .values(verdict_id=verdict_id, other_id=other_id, told=told, created_at=now_us())
            .on_conflict_do_nothing(index_elements=["verdict_id"])
        )


def count_disputes(conn: sa.Connection) -> int:
    """Count the disputes that stand, each pair once: neither of its keys was revoked."""
    ids = (disputes.c.verdict_id, disputes.c.other_id)
    standing = sa.and_(*(~_is_revoked(verdict_id) for verdict_id in ids))
    query = sa.select(sa.func.count()).select_from(disputes).where(standing)
    return int(conn.execute(query).scalar_one()) // 2


def add_summary(conn: sa.Connection, revision_id: int, *, keyid: str, body: bytes) -> None:
    """Store the summary that the server signed about a move."""
    conn.execute(sa.insert(summaries).values(revision_id=revision_id, keyid=keyid, body=body))


def summary_row(conn: sa.Connection, revision_id: int) -> SummaryRow | None:
    """Find the summary that the server signed about a move."""
    query = sa.select(summaries).where(summaries.c.revision_id == revision_id)
    return fetch_one(conn, query, SummaryRow)


def with_signature(query: sa.Select[*tuple[Any, ...]]) -> sa.Select[*tuple[Any, ...]]:
    """Add to a query for verdicts who signed them, and whether another verdict disputes them.

    A verdict whose key was revoked disputes nothing.
    """
    envelopes, keys = verdict_envelopes, signing_keys
    return (
        query.add_columns(
            sa.func.coalesce(envelopes.c.keyid, "").label("keyid"),
            sa.func.coalesce(envelopes.c.host, "").label("host"),
            envelopes.c.labels.label("worker_labels"),
            sa.func.coalesce(keys.c.name, "").label("signer"),
            sa.func.coalesce(keys.c.revoked_at, 0).label("key_revoked_at"),
            sa.func.coalesce(keys.c.reason, "").label("key_reason"),
            sa.case(
                (disputes.c.verdict_id.is_(None) | _is_revoked(disputes.c.other_id), ""), else_=disputes.c.told
            ).label("disputed"),
        )
        .outerjoin(envelopes, envelopes.c.verdict_id == verdicts.c.id)
        .outerjoin(keys, keys.c.id == envelopes.c.key_id)
        .outerjoin(disputes, disputes.c.verdict_id == verdicts.c.id)
    )


@cache
def shown_outcome() -> sa.ColumnElement[str]:
    """The outcome of a verdict: inconclusive if another worker's verdict disputes it."""
    of_it = sa.select(disputes.c.verdict_id).where(
        disputes.c.verdict_id == verdicts.c.id, ~_is_revoked(disputes.c.other_id)
    )
    disputed = of_it.correlate(verdicts).exists()
    return sa.case((disputed, sa.literal_column("'inconclusive'", sa.Text())), else_=verdicts.c.verdict)


@cache
def warns() -> sa.ColumnElement[bool]:
    """Whether a check of a verdict warned; texts never match, as quotes in them are escaped."""
    checks = sa.cast(verdicts.c.checks, sa.Text())
    return checks.like('%"verdict": "warn"%')


@cache
def is_for_all() -> sa.ColumnElement[bool]:
    """Whether a verdict is for everybody, not only for the owner of the worker that made it."""
    of_it = sa.select(verdict_envelopes.c.verdict_id).where(
        verdict_envelopes.c.verdict_id == verdicts.c.id, verdict_envelopes.c.key_id.is_(None)
    )
    return ~of_it.correlate(verdicts).exists()


def _has_ended(keep_s: float) -> sa.ColumnElement[bool]:
    """Whether a run ended longer ago than that; one that waits again has no end."""
    return sa.and_(runs.c.state.not_in(["queued", "running"]), runs.c.finished_at < now_us() - round(keep_s * US_PER_S))


def _is_revoked(verdict_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Whether the key that signed a verdict was revoked."""
    envelopes, keys = verdict_envelopes.alias("other_envelopes"), signing_keys.alias("other_keys")
    signed = sa.select(keys.c.id).join(envelopes, envelopes.c.key_id == keys.c.id)
    return (
        signed.where(envelopes.c.verdict_id == verdict_id, keys.c.revoked_at.is_not(None)).correlate(disputes).exists()
    )
