"""The forms of a base that its versions are verified on: the base itself, and each variant."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.bases import variants as queries
from deltareg.db.bases.rows import BaseRow
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read
from deltareg.db.verdicts.rows import VerdictRow
from deltareg.digest import Digest
from deltareg.gate.verdict_facts import SuiteFact, VerdictConditions, VerdictFact, VerdictSubject
from deltareg.gate.verdict_rules import why_not
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Base
from deltareg.service.clock import rfc3339
from deltareg.service.describe import ref_of
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_base
from deltareg.service.verdicts.facts import fact_of, fact_of_suite
from deltareg.service.verdicts.suites import find_suite
from deltareg.service.verdicts.waivers import standing_on
from deltareg.wire import CompatRow, Page, Proof

_BY_OUTCOME: Mapping[str, Proof] = {"fail": "failed", "inconclusive": "inconclusive"}


def list_compat(
    registry: Registry, caller: Caller, name: str, *, suite: str, cursor: str | None, limit: int
) -> Page[CompatRow]:
    """List the versions of a base, newest first, with what is known of each on each variant.

    The name of a variant means its root. Versions that the caller may not read are left out.

    Raises:
        NotFound: There is no such base, or no such suite.
    """
    caller.require(Right.READ, on=Base(name))
    before = read_number_cursor(cursor)
    with read(registry.engine) as conn:
        base = find_base(conn, caller, name)
        return compat_of(conn, caller, base, suite=suite, before=before, limit=limit)


def compat_of(
    conn: sa.Connection, caller: Caller, base: BaseRow, *, suite: str, before: int | None, limit: int
) -> Page[CompatRow]:
    """Do what `list_compat` does for a base that the caller may read, inside a transaction."""
    if base.full_name is not None:
        base = find_base(conn, caller, base.full_name)
    current_suite = find_suite(conn, suite)
    rows = queries.versions_on(conn, base.id, sight=caller.sight, before=before, limit=check_limit(limit) + 1)
    table = _Table(conn, base, suite)
    table.read(conn, rows, fact_of_suite(current_suite), str(current_suite.digest))
    return page(rows, limit, show=table.row, key=lambda row: row.id)


class _Table:
    """Verdicts by version and by the identity of the base that they were made on."""

    def __init__(self, conn: sa.Connection, base: BaseRow, suite: str) -> None:
        variants = queries.variants_of(conn, base.id)
        self._bases = {base.name: (base.root, base.identity or "")}
        self._bases |= {one.name: (one.root, one.identity or "") for one in variants}
        self._suite = suite
        self._proofs: dict[tuple[int, tuple[str, str]], Proof] = {}

    def read(self, conn: sa.Connection, rows: Sequence[VersionRow], suite: SuiteFact, digest: str) -> None:
        """Look up the verdicts of some versions, all at once."""
        ids = [row.id for row in rows]
        verdicts, waivers = queries.verdicts_on(conn, ids, suite=self._suite, suite_digest=digest)
        for verdict in verdicts:  # newest first
            place = verdict.version_id, (verdict.base_root, verdict.base_identity)
            fact = fact_of(verdict, standing_on(waivers.get(verdict.id, ())))
            if place not in self._proofs and _counts(fact, verdict, suite):
                outcome = _BY_OUTCOME.get(fact.outcome, "proven")
                self._proofs[place] = "proven" if fact.is_pass else outcome

    def row(self, row: VersionRow) -> CompatRow:
        """Describe one version."""
        on: dict[str, Proof] = {name: self._proofs.get((row.id, base), "not run") for name, base in self._bases.items()}
        return CompatRow(ref=ref_of(row), trained_on=row.trained_on or "", created_at=rfc3339(row.created_at), on=on)


def _counts(fact: VerdictFact, verdict: VerdictRow, suite: SuiteFact) -> bool:
    subject = VerdictSubject("", Digest.parse(verdict.version_digest), Digest.parse(verdict.base_root))
    return why_not(fact, subject, suite, bound=VerdictConditions()) is None
