"""Which bases the files of a delta mean, by what the registry knows: names, former names, hub ids, places."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.bases.rows import BaseRow
from deltareg.db.hub import hub_names
from deltareg.errors import InvalidInput, Problem, Refused
from deltareg.identity.base_claims import (
    BaseClaim,
    BaseClaims,
    ClaimedBases,
    Contradiction,
    find_contradiction,
    split_revisions,
)
from deltareg.refs import parse_base
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Base
from deltareg.service.registry import Caller


def find_claimed(
    conn: sa.Connection, caller: Caller, claim: BaseClaim, *, knows_places: bool = False
) -> ClaimedBases[BaseRow]:
    """Find the bases that a claim leads to, among those that the caller may read.

    Args:
        conn: A transaction.
        caller: Who pushes; what it may not read does not exist for it.
        claim: What a file says.
        knows_places: Whether a path may mean the base that was registered from there. Who pushes from
            that machine looks at the path itself.
    """
    rows = list(_find_named(conn, claim.name))
    of_hub = _of_hub(conn, claim)
    if not rows:
        rows = list(of_hub.bases)
    if not rows and knows_places:
        rows = list(base_queries.base_rows(conn, location=claim.location))
    if rows:
        return ClaimedBases(_readable(caller, rows))
    return ClaimedBases((), _readable(caller, of_hub.of_other_revisions))


def find_denial(
    conn: sa.Connection, caller: Caller, claims: BaseClaims, base: BaseRow, *, knows_places: bool = False
) -> Contradiction[BaseRow] | None:
    """Return what a delta's files say against the base that it is pushed onto; None where nothing does."""

    def is_same(row: BaseRow) -> bool:
        is_equal = row.identity is not None and row.identity == base.identity
        return base.id in {row.id, row.full_id} or is_equal

    return find_contradiction(
        claims.claims, lambda claim: find_claimed(conn, caller, claim, knows_places=knows_places), is_same=is_same
    )


def refuse_denied(denial: Contradiction[BaseRow], base: BaseRow, *, insist: str) -> Refused:
    """Return the refusal of a base that the delta's files contradict.

    Args:
        denial: What they say.
        base: The base that it is pushed onto.
        insist: How the publisher insists.
    """
    insisting = f"(if {denial.claim.where} is wrong: {insist})"
    fix = f"register that one: {denial.registering} {insisting}"
    if denial.found.bases:
        fix = f"push it with --base {denial.found.bases[0].name} {insisting}"
    return Refused([Problem("base_mismatch", denial.describe(base.name), fix=fix)])


def _find_named(conn: sa.Connection, name: str) -> list[BaseRow]:
    try:
        return list(base_queries.base_rows(conn, name=parse_base(name.lower()), limit=1))
    except InvalidInput:
        return []


def _of_hub(conn: sa.Connection, claim: BaseClaim) -> ClaimedBases[BaseRow]:
    if not claim.hub_id:
        return ClaimedBases()
    entries = [(entry.base_id, entry.revision) for entry in hub_names.hub_ids_called(conn, claim.hub_id)]
    split = split_revisions(claim, entries)

    def rows(ids: list[int]) -> list[BaseRow]:
        return [row for one in dict.fromkeys(ids) for row in base_queries.base_rows(conn, base_id=one, limit=1)]

    return ClaimedBases(rows([*split.bases]), rows([*split.of_other_revisions]))


def _readable(caller: Caller, rows: Sequence[BaseRow]) -> list[BaseRow]:
    unique = {row.id: row for row in rows if caller.may(Right.READ, on=Base(row.name))}
    return list(unique.values())
