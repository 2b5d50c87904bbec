"""What the log of a line shows of the audit trail: one word and a few of its fields, never a row as it is."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa

from deltareg.db.access.rows import AuditRecordRow
from deltareg.db.lines.recorded import NameInTrail, names_in_trail, row_by_id, rows_of
from deltareg.db.lines.rows import EventRow, LineRow
from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef, Ref
from deltareg.service.authority.grants import Right
from deltareg.service.events import Action
from deltareg.service.registry import Caller
from deltareg.words import EventKind

_State = Mapping[str, object]
_ELSEWHERE = "from another namespace"


def _nothing(_before: _State, _after: _State) -> str:
    return ""


def _tell_labels(before: _State, after: _State) -> str:
    was, now = before.get("labels"), after.get("labels")
    old, new = was if is_object(was) else {}, now if is_object(now) else {}
    set_ = [f"{key}={new[key]}" if new[key] else key for key in sorted(new) if old.get(key) != new[key]]
    return ", ".join([*set_, *(f"{key} taken away" for key in sorted(old.keys() - new.keys()))])


def _tell_details(_before: _State, after: _State) -> str:
    parts = [f"semver {after['semver']}" if after.get("semver") else "", _field("message")(_before, after)]
    return ", ".join(filter(None, parts))


def _tell_deprecation(_before: _State, after: _State) -> str:
    if not after.get("deprecated"):
        return "no longer"
    successor = after.get("successor")
    return f"{after.get('reason', '')}{f'; use {successor}' if successor else ''}"


def _tell_names(before: _State, after: _State) -> str:
    return f"from {before.get('name', '')} to {after.get('name', '')}"


def _tell_versions(_before: _State, after: _State) -> str:
    numbers = after.get("versions")
    return ", ".join(f"v{number}" for number in numbers) if is_list(numbers) else ""


def _field(name: str) -> Callable[[_State, _State], str]:
    return lambda _before, after: str(after.get(name) or "")


SHOWN: Final[Mapping[str, tuple[EventKind, Callable[[_State, _State], str]]]] = MappingProxyType(
    {
        Action.VERSION_LABEL: ("label", _tell_labels),
        Action.VERSION_EDIT: ("edit", _tell_details),
        Action.VERSION_DEPRECATE: ("deprecate", _tell_deprecation),
        Action.VERSION_DELETE: ("delete", _field("reason")),
        Action.VERSION_RESTORE: ("restore", _nothing),
        Action.VERSION_CORRUPT: ("corrupt", _nothing),
        Action.VERSION_HEAL: ("heal", _nothing),
        Action.SIGNATURE_ADD: ("sign", _field("signed_by")),
        Action.ATTESTATION_ADD: ("attest", _field("signed_by")),
        Action.EVALUATION_ADD: ("evaluate", _field("reported_by")),
        Action.LINE_RENAME: ("rename", _tell_names),
        Action.LINE_DEPRECATE: ("deprecate", _tell_deprecation),
        Action.LINE_DELETE: ("delete", _tell_versions),
        Action.LINE_RESTORE: ("restore", _tell_versions),
        Action.NAMESPACE_RENAME: ("rename", _tell_names),
        Action.CHANNEL_CREATE: ("create", _nothing),
        Action.CHANNEL_DELETE: ("delete", _nothing),
        Action.CHANNEL_RENAME: ("rename", _tell_names),
        Action.CHANNEL_POLICY: ("policy", _field("reason")),
        Action.CHANNEL_CLEAR: ("clear", _field("reason")),
        Action.CHANNEL_REVIEW: ("review", _field("message")),
    }
)
"""What is shown by which word, and what is said of it. Pushes, verdicts, moves, freezes and revocations have tables of
their own; what is done many times a day by the registry itself is in the audit trail alone."""


def recorded_events(
    conn: sa.Connection,
    caller: Caller,
    line: LineRef,
    row: LineRow,
    *,
    channel: str | None,
    until: int | None,
    floor: int | None,
    limit: int,
) -> list[EventRow]:
    """List what the audit trail has of a line, under all the names that it had; in no order.

    Args:
        conn: A transaction.
        caller: Who reads.
        line: The line.
        row: Its row.
        channel: Only what is about this channel.
        until: No events of after this moment.
        floor: None of before this one.
        limit: How many at most of each name, and some more.
    """
    found: list[EventRow] = []
    names = names_in_trail(
        conn, str(line), since=row.created_at, line_action=Action.LINE_RENAME, namespace_action=Action.NAMESPACE_RENAME
    )
    for named in names:
        rows = rows_of(conn, named, SHOWN, until=until, floor=floor, limit=limit)
        found += [_event(caller, each) for each in [*rows, *_renamed_with(conn, named, until)]]
        if floor is not None and named.after and row_by_id(conn, named.after).created_at < floor:
            break
    return [each for each in found if channel is None or each.channel == channel]


def _renamed_with(conn: sa.Connection, named: NameInTrail, until: int | None) -> Iterator[AuditRecordRow]:
    """Yield the row by which the line's namespace got the name, which is not about the line alone."""
    if named.after:
        row = row_by_id(conn, named.after)
        if row.action == Action.NAMESPACE_RENAME and (until is None or row.created_at <= until):
            yield row


def _event(caller: Caller, row: AuditRecordRow) -> EventRow:
    event, say = SHOWN[row.action]
    before = row.before if is_object(row.before) else {}
    after = row.after if is_object(row.after) else {}
    number, channel = _place(row.subject)
    text = say(before, after)
    if row.action == Action.LINE_RENAME and not _may_name(caller, str(before.get("name", ""))):
        text = _ELSEWHERE
    return EventRow(
        at=row.created_at,
        mark=f"audit-{row.id}",
        event=event,
        number=number,
        actor=row.actor,
        channel=channel,
        outcome=None,
        text=text,
    )


def _may_name(caller: Caller, name: str) -> bool:
    """Whether a former name is of a namespace that the caller sees."""
    try:
        return caller.may(Right.READ, on=LineRef.parse(name))
    except InvalidInput:
        return False


def _place(subject: str) -> tuple[int | None, str | None]:
    """Return the version or the channel that a subject is about."""
    try:
        ref = Ref.parse(subject)
    except InvalidInput:
        return None, None
    return ref.version, ref.channel
