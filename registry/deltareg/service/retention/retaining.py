"""Deleting what rules of retention let go: as a person deletes it, and logged each.

It is done in the name of who set the rule, with the rights that they have now; where they have lost
them, nothing goes. A batch is one transaction: it locks the line, as deletions do, and the versions,
as moves of channels do, and then looks again, so that what was promoted since the plan stays.
"""

import logging
from collections.abc import Sequence
from functools import partial

import sqlalchemy as sa

from deltareg.db.access.grants import holdings_of
from deltareg.db.lines import deltas as delta_queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.session import read, with_retry
from deltareg.db.upkeep import retention as queries
from deltareg.db.upkeep.retention import RetentionRuleRow, RuledLineRow
from deltareg.refs import LineRef
from deltareg.service.authority.caller_grants import grants_within, read_holdings
from deltareg.service.authority.grants import Right
from deltareg.service.events import Action
from deltareg.service.registry import Caller, Registry
from deltareg.service.retention.planning import SortedLine, rules_by_kind, sort_lines

log = logging.getLogger(__name__)
_RIGHTS = frozenset({Right.ADMIN.value})
_MOST = 100


def next_line(registry: Registry, after: int) -> RuledLineRow | None:
    """Return the next line that a rule is for; None after the last."""
    with read(registry.engine) as conn:
        return next(iter(queries.ruled_lines(conn, after=after, limit=1)), None)


def retain_some(registry: Registry, line: RuledLineRow) -> int:
    """Delete a batch of what the rules of a line let go; return how many versions were."""
    with read(registry.engine) as conn:
        planned = _sort(conn, line)
    if planned is None or not planned.going:
        return 0
    ids = [version.id for version in planned.going[:_MOST]]
    return with_retry(registry.engine, partial(_delete_some, line=line, planned=ids))


def _sort(conn: sa.Connection, line: RuledLineRow) -> SortedLine | None:
    """Sort the versions of a line; None where it has none, or nobody answers for the rule any more."""
    shared = queries.rules_of(conn, namespace_id=line.namespace_id)
    own = queries.rules_of(conn, delta_id=line.id)
    ref = LineRef(line.namespace, line.name)
    if not all(_may_delete(conn, rule, ref) for rule in [*shared, *own]):
        return None
    return next(iter(sort_lines(conn, {0: rules_by_kind(shared, own)}, delta_id=line.id)), None)


def _delete_some(conn: sa.Connection, line: RuledLineRow, planned: Sequence[int]) -> int:
    standing = delta_queries.delta_row(conn, line.namespace, line.name, lock=True)
    if standing is None or standing.id != line.id or standing.deleted_at is not None:
        return 0
    queries.lock_versions_in(conn, planned)
    found = _sort(conn, line)  # after the locks: a promotion that came first is seen, a later one waits
    if found is None:
        return 0
    ref, deleted = LineRef(line.namespace, line.name), 0
    caller = _who_answers(conn, _rule_of(conn, line))
    for version in found.going:
        if version.id in planned:
            version_queries.delete_version(conn, version.id)
            subject, after = f"{ref}:v{version.number}", {"deleted": True, "by": "retention"}
            caller.record(conn, Action.VERSION_DELETE, subject, on=ref, before={"deleted": False}, after=after)
            deleted += 1
    return deleted


def _rule_of(conn: sa.Connection, line: RuledLineRow) -> RetentionRuleRow:
    own = queries.rules_of(conn, delta_id=line.id)
    return (own or queries.rules_of(conn, namespace_id=line.namespace_id))[0]


def _may_delete(conn: sa.Connection, rule: RetentionRuleRow, line: LineRef) -> bool:
    if rule.is_live and _who_answers(conn, rule).may(Right.ADMIN, on=line):
        return True
    log.warning(
        "nothing of %s goes by itself: %s, who set the rule, may not delete there any more", line, rule.principal
    )
    return False


def _who_answers(conn: sa.Connection, rule: RetentionRuleRow) -> Caller:
    """Return who set a rule as a caller, with the rights that they have now."""
    grants = grants_within(_RIGHTS, read_holdings(holdings_of(conn, rule.principal_id)), None)
    return Caller(rule.principal, rule.principal_id, None, grants)
