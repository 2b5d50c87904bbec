"""Giving events their numbers, and making them due to webhooks, in one transaction.

Numbers are given to rows that are committed, in the order of their rows of the audit trail, by one
transaction at a time; so whoever reads on from a number misses nothing and sees nothing twice. Of
two events of one thing the later was written behind a lock that the earlier held, so it has the
higher number.
"""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from uuid import uuid4

import sqlalchemy as sa

from deltareg.db.events import outbox as queries
from deltareg.db.events import webhooks as webhook_queries
from deltareg.db.events.rows import HeadRow, WaitingEventRow, WebhookRow
from deltareg.db.session import glance, with_retry
from deltareg.db.sql.row_protocols import present
from deltareg.service.registry import Registry
from deltareg.service.telling.types import type_of

ROWS = 500
"""How many events one transaction numbers at most."""


def number_some(registry: Registry, *, limit: int = ROWS) -> int:
    """Number what waits; says how many, 0 where nothing waits. Safe to run in several processes."""
    with glance(registry.engine) as conn:
        if not queries.is_one_waiting(conn):
            return 0
    return with_retry(registry.engine, partial(_number, limit=limit))


def number_all(registry: Registry) -> int:
    """Number all that waits now; says how many events that were."""
    total = 0
    while numbered := number_some(registry):
        total += numbered
    return total


def locked_head(conn: sa.Connection) -> HeadRow:
    """Hold what numbers are counted in until the transaction ends; made where there is none."""
    found = queries.head(conn, lock=True)
    if found is None:
        queries.make_head(conn, f"urn:uuid:{uuid4()}")
        found = queries.head(conn, lock=True)
    return present(found)


def _number(conn: sa.Connection, *, limit: int) -> int:
    head = locked_head(conn)
    waiting = queries.waiting_events(conn, limit=limit)
    if not waiting:
        return 0
    refs = _refs(conn, waiting)
    numbered = [(row.id, number, *_classify_event(row, refs)) for number, row in enumerate(waiting, head.number + 1)]
    queries.number_events(conn, numbered)
    queries.set_head(conn, number=head.number + len(numbered))
    if any(kind for _, _, kind, _ in numbered):
        _make_due(conn, waiting, numbered)
    return len(numbered)


def _classify_event(row: WaitingEventRow, refs: Callable[[str], str | None]) -> tuple[str, str]:
    """Give the type of an event and what it is about; no type where nobody is told."""
    kind, subject = type_of(row.action, row.after), refs(row.subject)
    return ("", row.subject) if kind is None or subject is None else (kind.name, subject)


def _refs(conn: sa.Connection, waiting: Sequence[WaitingEventRow]) -> Callable[[str], str | None]:
    """Give what names the version that a run or a verdict is about; all else is about itself."""
    found: dict[str, str] = {}
    asked = {"run": set[str](), "verdict": set[str]()}
    for row in waiting:
        what, slash, number = row.subject.partition("/")
        if slash and what in asked and type_of(row.action, row.after) is not None:
            asked[what].add(number)
    for what, ids in asked.items():
        if ids:
            refs = queries.refs_of(conn, of=what, ids=ids)
            found |= {f"{what}/{one}": f"{ns}/{name}:v{n}" for one, (ns, name, n) in refs.items()}

    def ref(subject: str) -> str | None:
        return found.get(subject) if subject.partition("/")[0] in asked else subject

    return ref


def _make_due(
    conn: sa.Connection, waiting: Sequence[WaitingEventRow], numbered: Sequence[tuple[int, int, str, str]]
) -> None:
    hooks = webhook_queries.live_webhooks(conn)
    due: list[dict[str, object]] = [
        {"webhook_id": hook.id, "event_id": row.id, "number": number, "subject": subject}
        for row, (_, number, kind, subject) in zip(waiting, numbered, strict=True)
        for hook in hooks
        if kind and is_wanted(hook, row.namespace, row.line, kind)
    ]
    if due:
        webhook_queries.add_deliveries(conn, due)


def is_wanted(hook: WebhookRow, namespace: str | None, line: str | None, kind: str) -> bool:
    """Whether a webhook is to be told of an event."""
    if hook.namespace is not None and hook.namespace != namespace:
        return False
    if hook.lines and (line is None or not fnmatchcase(line, hook.lines)):
        return False
    return any(fnmatchcase(kind, pattern) for pattern in hook.types)
