"""What people say of a version beside its bytes: a semver, a message, labels.

None of it is part of what a version is. A label may change at any time, a message too; a semver is
given to one version of a line and stays with it.
"""

from collections.abc import Mapping

import sqlalchemy as sa

from deltareg.db.lines import versions as queries
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import with_retry
from deltareg.errors import Blocked, Conflict, InvalidInput
from deltareg.refs import Ref, parse_semver
from deltareg.service.authority.grants import Right
from deltareg.service.describe import describe_version, line_of, ref_of
from deltareg.service.events import Action
from deltareg.service.lines.cards import relabel
from deltareg.service.lines.labels import check_count, check_labels
from deltareg.service.lines.veil import veil_base
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_line, find_version
from deltareg.wire import VersionChange, VersionInfo


def change_version(registry: Registry, caller: Caller, ref: Ref, request: VersionChange) -> VersionInfo:
    """Change labels, semver and message of a version; a change that changes nothing leaves no trace.

    Raises:
        Forbidden: The caller may not push to the line.
        NotFound: The caller sees no such version.
        InvalidInput: A label or the semver is malformed, or there would be too many labels.
        Conflict: The semver stands elsewhere, or the version has another one.
        Blocked: The version is deleted.
    """
    caller.require(Right.PUSH, on=ref.line)
    if not request.labels and request.semver is None and request.message is None:
        raise InvalidInput("nothing to change is named", fix="name labels, a semver or a message")
    check_labels({key: value for key, value in request.labels.items() if value is not None})
    if request.semver is not None:
        parse_semver(request.semver)

    def transaction(conn: sa.Connection) -> VersionInfo:
        find_line(conn, caller, ref.line, lock=request.semver is not None)  # of two that give one, one does
        row = find_version(conn, caller, ref, bare="newest")
        row = change_details(conn, caller, row, semver=request.semver, message=request.message, labels=request.labels)
        return veil_base(caller, describe_version(conn, row))

    return with_retry(registry.engine, transaction)


def add_details(
    conn: sa.Connection, caller: Caller, row: VersionRow, *, semver: str | None, message: str, labels: Mapping[str, str]
) -> VersionRow:
    """Give a version that is there already what a push of the same bytes says of it.

    A message that it has stays: others have read it.

    Raises:
        Conflict: As in `change_details`.
    """
    return change_details(
        conn, caller, row, semver=semver, message=None if row.message else message or None, labels=labels
    )


def change_details(
    conn: sa.Connection,
    caller: Caller,
    row: VersionRow,
    *,
    semver: str | None,
    message: str | None,
    labels: Mapping[str, str | None],
) -> VersionRow:
    """Change what is said of a version and return it as it is now; None changes nothing.

    Whoever gives a semver holds the lock of the line.

    Raises:
        Conflict: The semver is that of another version of the line, or the version has another one.
        Blocked: The version is deleted.
    """
    if semver is None and message is None and not labels:
        return row
    queries.lock_version(conn, row.id)
    row = queries.version_by_id(conn, row.id)
    if row.deleted_at is not None:
        raise Blocked(f"{ref_of(row)} is deleted", fix=f"deltareg restore {ref_of(row)}")
    row = _relabel(conn, caller, row, labels)
    changed: dict[str, str] = {}
    if semver is not None and semver != row.semver:
        _check_free(conn, row, semver)
        changed["semver"] = semver
    if message is not None and message != row.message:
        changed["message"] = message
    if changed:
        queries.set_details(conn, row.id, **changed)
        relabel(conn, queries.version_by_id(conn, row.id), before=row)
        before = {"semver": row.semver, "message": row.message}
        caller.record(
            conn,
            Action.VERSION_EDIT,
            ref_of(row),
            on=line_of(row),
            before={name: before[name] for name in changed},
            after=changed,
        )
    return queries.version_by_id(conn, row.id)


def _relabel(conn: sa.Connection, caller: Caller, row: VersionRow, wanted: Mapping[str, str | None]) -> VersionRow:
    labels = {key: value for key, value in {**row.labels, **wanted}.items() if value is not None}
    check_count(labels)
    if labels == row.labels:
        return row
    queries.replace_labels(conn, row.id, labels)
    now = queries.version_by_id(conn, row.id)
    relabel(conn, now, before=row)
    before, after = {"labels": row.labels}, {"labels": labels}
    caller.record(conn, Action.VERSION_LABEL, ref_of(row), on=line_of(row), before=before, after=after)
    return now


def _check_free(conn: sa.Connection, row: VersionRow, semver: str) -> None:
    """Refuse a semver that would be moved: from another version, or from this one to another name."""
    ref = ref_of(row)
    if row.semver is not None:
        raise Conflict(
            f"{ref} is {row.semver} already, and keeps it", fix=f"leave --semver out, or push other bytes as {semver}"
        )
    other = queries.find_version(conn, row.delta_id, semver=semver)
    if other is not None:
        deleted = ", which is deleted" if other.deleted_at is not None else ""
        raise Conflict(
            f"{semver} is {ref_of(other)}{deleted}: a semver is never moved to another version",
            fix=f"choose another --semver for {ref}",
        )
