"""Rules of retention as people see and set them: of a namespace, or of a line, which come first."""

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from deltareg.db.access.namespaces import namespace_row
from deltareg.db.session import read, with_retry
from deltareg.db.upkeep import retention as queries
from deltareg.db.upkeep.retention import RetentionRuleRow
from deltareg.errors import Conflict, NotFound
from deltareg.refs import LineRef
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Namespace
from deltareg.service.clock import rfc3339
from deltareg.service.events import Action
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_line
from deltareg.service.retention.planning import SortedLine, bytes_freed, read_rule, rules_by_kind, sort_lines
from deltareg.service.retention.rule import KeepRule
from deltareg.wire import RetentionInfo, RetentionPlan, RetentionRule, RetentionRuleInfo, RetentionSet

_LISTED = 100


def show_retention(registry: Registry, caller: Caller, on: Namespace | LineRef) -> RetentionInfo:
    """Show the rules of a namespace or a line, and what they would let go now.

    Raises:
        Forbidden: The caller may not delete there.
        NotFound: The caller sees nothing of that name.
    """
    caller.require(Right.ADMIN, on=on)
    with read(registry.engine) as conn:
        namespace_id, delta_id = _find(conn, caller, on)
        own = queries.rules_of(conn, **_of(namespace_id, delta_id))
        sorted_lines = _sort(conn, namespace_id, delta_id, own={row.kind: read_rule(row.keep) for row in own})
        return _describe(conn, on, own, sorted_lines)


def set_retention(
    registry: Registry, caller: Caller, on: Namespace | LineRef, request: RetentionSet, *, dry_run: bool
) -> RetentionInfo:
    """Replace the rules of a namespace or a line; with `dry_run` say what would go, and change nothing.

    What the rules let go is deleted by the next round of the operation `retain`, in the name of the
    caller, with the rights that they have then.

    Raises:
        Conflict: A line would lose all of its versions, and the caller did not confirm that.
        Forbidden: The caller may not delete there.
        NotFound: The caller sees nothing of that name.
    """
    caller.require(Right.ADMIN, on=on)
    rules = {rule.kind: rule for rule in request.rules}
    if len(rules) < len(request.rules):
        raise Conflict("two rules are for one kind of delta", fix="write one of them")
    own = {kind: read_rule(_keep_of(rule)) for kind, rule in rules.items()}
    with read(registry.engine) as conn:
        namespace_id, delta_id = _find(conn, caller, on)
        sorted_lines = _sort(conn, namespace_id, delta_id, own=own)
        planned = _plan(conn, sorted_lines)
    if not request.confirm and not dry_run:
        _refuse_unbounded(rules.values())
    emptied = [each for each in sorted_lines if each.versions and len(each.going) == len(each.versions)]
    if emptied and not request.confirm and not dry_run:
        of = f"{emptied[0].namespace}/{emptied[0].line}"
        more = f" and {len(emptied) - 1} other lines" if len(emptied) > 1 else ""
        raise Conflict(
            f"this would delete every version of {of}{more}", fix="keep the last one: --last 1; or insist: --all"
        )
    if dry_run:
        shown = [RetentionRuleInfo.model_validate(rules[kind].model_dump()) for kind in sorted(rules)]
        return RetentionInfo(of=str(on), rules=shown, set_by="", set_at=None, plan=planned)

    def transaction(conn: sa.Connection) -> RetentionInfo:
        namespace_id, delta_id = _find(conn, caller, on, lock=True)
        before = queries.rules_of(conn, **_of(namespace_id, delta_id))
        queries.replace_rules(
            conn,
            namespace_id=namespace_id if delta_id is None else None,
            delta_id=delta_id,
            rules=[(kind, _keep_of(rule)) for kind, rule in rules.items()],
            principal_id=caller.principal_id,
        )
        caller.record(
            conn,
            Action.RETENTION_SET,
            str(on),
            on=on,
            before={"rules": {row.kind: dict(row.keep) for row in before}},
            after={"rules": {kind: _keep_of(rule) for kind, rule in rules.items()}},
        )
        after = queries.rules_of(conn, **_of(namespace_id, delta_id))
        return _info(on, after, planned)

    return with_retry(registry.engine, transaction)


def _refuse_unbounded(rules: Iterable[RetentionRule]) -> None:
    """Refuse a rule that keeps nothing for being new, as lines would lose all that is pushed.

    Raises:
        Conflict: One of them is such a rule.
    """
    for rule in rules:
        if not rule.last and not rule.days:
            of = f" of kind {rule.kind}" if rule.kind else ""
            raise Conflict(
                f"this would delete each new version{of}, once nothing needs it",
                fix="keep some: --last 10, or --younger 30d; or insist: --all",
            )


def _find(
    conn: sa.Connection, caller: Caller, on: Namespace | LineRef, *, lock: bool = False
) -> tuple[int, int | None]:
    """Return the ids of the namespace and of the line, if it is one."""
    if isinstance(on, LineRef):
        line = find_line(conn, caller, on, lock=lock)
        row = namespace_row(conn, on.namespace)
        return 0 if row is None else row.id, line.id
    row = namespace_row(conn, on.name, lock=lock)
    if row is None or not caller.sees(on):
        raise NotFound(f"there is no namespace {on}", fix="deltareg namespace ls")
    return row.id, None


def _of(namespace_id: int, delta_id: int | None) -> dict[str, int | None]:
    return {"namespace_id": namespace_id} if delta_id is None else {"delta_id": delta_id}


def _sort(
    conn: sa.Connection, namespace_id: int, delta_id: int | None, *, own: Mapping[str, KeepRule]
) -> list[SortedLine]:
    """Sort what the rules are for, as if `own` were those of the namespace or of the line."""
    if delta_id is not None:
        shared = rules_by_kind(queries.rules_of(conn, namespace_id=namespace_id))
        merged = dict(own) if "" in own else shared | dict(own)
        return sort_lines(conn, {0: merged}, delta_id=delta_id)
    rules: dict[int, Mapping[str, KeepRule]] = {0: own}
    by_line: dict[int, list[RetentionRuleRow]] = {}
    for row in queries.rules_of(conn):
        if row.delta_id is not None:
            by_line.setdefault(row.delta_id, []).append(row)
    for line_id, rows in by_line.items():
        theirs = rules_by_kind(rows)
        rules[line_id] = theirs if "" in theirs else {**own, **theirs}
    return sort_lines(conn, rules, namespace_id=namespace_id)


def _keep_of(rule: RetentionRule) -> dict[str, object]:
    keep = rule.model_dump(exclude={"kind"}, exclude_none=True)
    return {name: value for name, value in keep.items() if value != []}


def _plan(conn: sa.Connection, lines: Sequence[SortedLine]) -> RetentionPlan:
    going = [version for each in lines for version in each.going]
    kept: dict[str, int] = {}
    for each in lines:
        for reason in filter(None, each.kept.values()):
            kept[reason] = kept.get(reason, 0) + 1
    return RetentionPlan(
        versions=len(going),
        of=sum(len(each.versions) for each in lines),
        bytes=bytes_freed(conn, [version.id for version in going]) if going else 0,
        refs=[f"{version.namespace}/{version.line}:v{version.number}" for version in going[:_LISTED]],
        kept=kept,
    )


def _describe(
    conn: sa.Connection, on: Namespace | LineRef, own: Sequence[RetentionRuleRow], lines: Sequence[SortedLine]
) -> RetentionInfo:
    return _info(on, own, _plan(conn, lines))


def _info(on: Namespace | LineRef, own: Sequence[RetentionRuleRow], planned: RetentionPlan) -> RetentionInfo:
    rules: list[RetentionRuleInfo] = []
    for row in own:
        keep = read_rule(row.keep)
        rules.append(
            RetentionRuleInfo(
                kind=row.kind,
                last=keep.last,
                days=keep.days,
                promoted=keep.promoted,
                semver=keep.semver,
                labels=list(keep.labels),
            )
        )
    return RetentionInfo(
        of=str(on),
        rules=rules,
        set_by=own[0].principal if own else "",
        set_at=rfc3339(own[0].created_at) if own else None,
        plan=planned,
    )
