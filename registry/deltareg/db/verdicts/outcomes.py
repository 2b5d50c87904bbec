"""Verdicts as the gate and lists need them: newest first, with what they are bound to."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from deltareg.db.sql.among import among, write_ids
from deltareg.db.sql.fetch import fetch_all, fetch_each
from deltareg.db.sql.prepared import PreparedQuery
from deltareg.db.sql.upsert import batches
from deltareg.db.tables import (
    base_identities,
    comparisons,
    complete_verdicts,
    runs,
    signing_keys,
    verdict_bases,
    verdict_envelopes,
    verdicts,
    versions,
)
from deltareg.db.tables.runs import ACTIVE
from deltareg.db.verdicts.rows import MakingRow, OutcomeRow, VerdictFactRow
from deltareg.db.verdicts.signing import is_for_all, shown_outcome, warns, with_signature

_CONTINUATION = "verify:continue:"


def verdict_facts(conn: sa.Connection, version_id: int) -> Sequence[VerdictFactRow]:
    """List the verdicts of a version, newest first, with their bindings and checks."""
    query = (
        select_facts()
        .where(verdicts.c.version_id == version_id)
        .order_by(verdicts.c.created_at.desc(), verdicts.c.id.desc())
    )
    return fetch_all(conn, query, VerdictFactRow)


@cache
def select_facts() -> sa.Select[*tuple[Any, ...]]:
    """Start a query for verdicts with their bindings and checks."""
    return with_signature(
        sa.select(
            verdicts.c.id,
            verdicts.c.manifest_digest,
            verdicts.c.base_root,
            verdicts.c.suite,
            verdicts.c.suite_digest,
            verdicts.c.verdict,
            verdicts.c.checks,
            verdicts.c.created_at,
            verdicts.c.verifier,
            verdicts.c.policy_digest,
            verdicts.c.dtype,
            verdicts.c.seed,
            verdicts.c.base_evidence,
            verdicts.c.sandbox,
            verdicts.c.environment,
            sa.func.coalesce(comparisons.c.digest, "").label("compared_with"),
            is_complete().label("is_complete"),
            continues().label("continues"),
            continuation().label("continuation"),
            sa.func.coalesce(verdict_bases.c.identity, "").label("base_identity"),
        )
        .select_from(verdicts)
        .outerjoin(comparisons, comparisons.c.verdict_id == verdicts.c.id)
        .outerjoin(verdict_bases, verdict_bases.c.verdict_id == verdicts.c.id)
    )


def newest_makings(conn: sa.Connection, version_ids: Iterable[int]) -> dict[tuple[int, str, str], MakingRow]:
    """Return how the newest verdict was made, by version, suite and suite digest."""
    makings: dict[tuple[int, str, str], MakingRow] = {}
    revoked = sa.and_(signing_keys.c.id == verdict_envelopes.c.key_id, signing_keys.c.revoked_at.is_not(None))
    for part in batches(sorted(set(version_ids))):
        query = (
            sa.select(
                verdicts.c.version_id,
                verdicts.c.suite,
                verdicts.c.suite_digest,
                verdicts.c.verifier,
                verdicts.c.environment,
                verdict_envelopes.c.key_id,
                signing_keys.c.keyid.label("revoked_keyid"),
            )
            .select_from(verdicts)
            .join(versions, of_own_base())
            .outerjoin(verdict_envelopes, verdict_envelopes.c.verdict_id == verdicts.c.id)
            .outerjoin(signing_keys, revoked)
            .where(verdicts.c.version_id.in_(part), is_for_all())
            .order_by(verdicts.c.created_at, verdicts.c.id)
        )
        makings |= {(row.version_id, row.suite, row.suite_digest): row for row in fetch_each(conn, query, MakingRow)}
    return makings


def newest_outcomes(
    conn: sa.Connection, version_ids: Iterable[int], *, suite: str, suite_digest: str
) -> dict[int, OutcomeRow]:
    """Return the newest outcome of a suite, at the given digest, by version."""
    rows = _NEWEST.all(conn, ids=write_ids(version_ids), suite=suite, suite_digest=suite_digest)
    return {row.version_id: row for row in rows}


def is_of_suite(name: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Whether a verdict of some versions belongs to a suite.

    It compares an expression and not the column, so that the database uses no index by suite: a
    version has few verdicts, a suite most of them, and SQLite, which counts neither, would read
    them all.
    """
    return sa.func.coalesce(verdicts.c.suite, "") == name


def is_complete() -> sa.ColumnElement[bool]:
    """Whether every check that the suite requires has a conclusive result, as in every pass."""
    # As a value, found by its key: whether one exists PostgreSQL would ask of a list of all of them.
    recorded = sa.select(complete_verdicts.c.verdict_id).where(complete_verdicts.c.verdict_id == verdicts.c.id)
    return sa.or_(verdicts.c.verdict == "pass", recorded.correlate(verdicts).scalar_subquery().is_not(None))


def key_of_continuation(verdict_id: str) -> str:
    """Return the key of a verdict's continuation run; one is active at a time."""
    return f"{_CONTINUATION}{verdict_id}"


def continues() -> sa.ColumnElement[str]:
    """Select the verdict that a verdict continues, by its run's key; else an empty text."""
    verdict_id = sa.func.substr(runs.c.dedup_key, len(_CONTINUATION) + 1)
    own = sa.select(verdict_id).where(runs.c.id == verdicts.c.run_id, runs.c.dedup_key.like(f"{_CONTINUATION}%"))
    return sa.func.coalesce(own.correlate(verdicts).scalar_subquery(), "")


def continuation() -> sa.ColumnElement[str]:
    """Select the active continuation run of a verdict; else an empty text."""
    prefix: sa.ColumnElement[str] = sa.literal_column(f"'{_CONTINUATION}'", sa.Text)
    key: sa.ColumnElement[str] = prefix + verdicts.c.id
    under_way = sa.select(runs.c.id).where(runs.c.dedup_key == key, ACTIVE)
    return sa.func.coalesce(under_way.correlate(verdicts).scalar_subquery(), "")


def of_own_base() -> sa.ColumnElement[bool]:
    """Whether a verdict is about its version on its own base, and not on a variant of it."""
    return sa.and_(
        versions.c.id == verdicts.c.version_id, versions.c.base_root == verdicts.c.base_root, of_own_identity()
    )


def of_own_identity() -> sa.ColumnElement[bool]:
    """Whether a verdict was made on the version's own base, of all bases with these tensors.

    A base whose identity has not been computed is compared by its tensors.
    """
    # Named, for by itself it is correlated with what is around it at once, and with no more.
    own = (
        sa.select(verdict_bases.c.verdict_id)
        .where(verdict_bases.c.verdict_id == verdicts.c.id, verdict_bases.c.identity == base_identities.c.identity)
        .correlate(verdicts, base_identities)
    )
    other = sa.select(base_identities.c.identity).where(
        base_identities.c.base_id == versions.c.base_id, ~sa.exists(own)
    )
    return ~sa.exists(other.correlate(versions, verdicts))


_NEWEST: Final = PreparedQuery(
    sa.select(verdicts.c.version_id, shown_outcome().label("verdict"), warns().label("warns"))
    .join(versions, of_own_base())
    .where(
        is_for_all(),
        among(verdicts.c.version_id, sa.bindparam("ids", type_=sa.Text)),
        is_of_suite(sa.bindparam("suite", type_=sa.Text)),
        verdicts.c.suite_digest == sa.bindparam("suite_digest", type_=sa.Text),
    )
    .order_by(verdicts.c.created_at, verdicts.c.id),
    OutcomeRow,
)
