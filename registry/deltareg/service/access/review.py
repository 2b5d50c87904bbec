"""A review of who holds what: roles from the release before, unused roles, the widest roles."""

from deltareg.db.access import grants as queries
from deltareg.db.access.rows import GrantRow
from deltareg.db.session import read
from deltareg.db.sql.clock import US_PER_S, read_clock
from deltareg.service.access.members import check_seen, describe_member
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, Namespace
from deltareg.service.paging import check_limit, page, read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.wire import AccessFinding, Page

_DAY_US = 86_400 * US_PER_S
_WIDE = {"admin", "break-glass"}


def review_access(
    registry: Registry, caller: Caller, namespace: str | None, *, unused_days: int, cursor: str | None, limit: int
) -> Page[AccessFinding]:
    """List roles that look too wide: those that reach one namespace, or all.

    Raises:
        Forbidden: The caller manages no members there.
        NotFound: There is no such namespace.
    """
    on = EVERYTHING if namespace is None else Namespace(namespace)
    caller.require(Right.ADMIN if namespace is None else Right.MAINTAIN, on=on)
    after = read_number_cursor(cursor)
    with read(registry.engine) as conn:
        place = None if namespace is None else check_seen(conn, caller, namespace)
        rows = queries.grant_rows(
            conn, namespace_id=place, everywhere=place is not None, after=after, limit=check_limit(limit) + 1
        )
        since = read_clock(conn) - unused_days * _DAY_US
    return page(
        rows,
        limit,
        key=lambda row: row.id,
        show=lambda row: AccessFinding(
            member=describe_member(row), findings=_findings(row, since, unused_days), fix=_fix(row)
        ),
    )


def count_legacy(registry: Registry) -> tuple[int, int]:
    """Count the roles of the release before that nobody has narrowed yet, and their principals."""
    with read(registry.engine) as conn:
        return queries.count_legacy(conn)


def _findings(row: GrantRow, since: int, days: int) -> list[str]:
    findings: list[str] = []
    if row.is_legacy and row.namespace is None:
        findings.append("legacy: what a token of the release before allowed, everywhere")
    elif row.is_legacy:
        findings.append("legacy: made the namespace before it had owners")
    if row.role in _WIDE and row.namespace is None:
        findings.append(f"wide: {row.role} of everything")
    if row.last_used_at is None:
        findings.append("unused: no token of theirs was ever used")
    elif row.last_used_at < since:
        findings.append(f"unused: no token of theirs was used for {days} days")
    return findings


def _fix(row: GrantRow) -> str:
    pattern = f" --pattern '{row.pattern}'" if row.pattern else ""
    if row.namespace is not None:
        return f"deltareg member rm {row.namespace} {row.principal} --role {row.role}{pattern}"
    end = f"deltareg member rm --everywhere {row.principal} --role {row.role}"
    if row.role in {"admin", "verifier"}:
        return end
    return f"deltareg member add NS {row.principal} --role {row.role}, and then: {end}"
