"""Labels of versions: the user's own words, set at the push and changeable at any time.

A label is a key with a value, which may be empty. Labels are no part of what a version is, so
changing them makes no new version.
"""

from collections.abc import Mapping

import sqlalchemy as sa

from deltareg.db.lines import versions as queries
from deltareg.db.session import with_retry
from deltareg.errors import Blocked, InvalidInput
from deltareg.refs import Ref
from deltareg.service.authority.grants import Right
from deltareg.service.describe import describe_version, line_of, ref_of
from deltareg.service.events import Action
from deltareg.service.lines.cards import relabel
from deltareg.service.lines.veil import veil_base
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_version
from deltareg.wire import VersionChange, VersionInfo

_MOST, _MOST_CHARACTERS = 64, 256
_NOT_IN_KEYS = frozenset("\"'\\=,")


def change_labels(registry: Registry, caller: Caller, ref: Ref, request: VersionChange) -> VersionInfo:
    """Set and remove labels of a version; a change that changes nothing leaves no trace.

    Raises:
        Forbidden: The caller may not push to the line.
        NotFound: The caller sees no such version.
        InvalidInput: A label is malformed, or there would be too many.
        Blocked: The version is deleted.
    """
    caller.require(Right.PUSH, on=ref.line)
    check_labels({key: value for key, value in request.labels.items() if value is not None})

    def transaction(conn: sa.Connection) -> VersionInfo:
        version_id = find_version(conn, caller, ref, bare="newest").id
        queries.lock_version(conn, version_id)
        row = queries.version_by_id(conn, version_id)
        if row.deleted_at is not None:
            raise Blocked(f"{ref_of(row)} is deleted", fix=f"deltareg restore {ref_of(row)}")
        merged = row.labels | request.labels
        labels = {key: value for key, value in merged.items() if value is not None}
        check_count(labels)
        if labels != row.labels:
            queries.replace_labels(conn, row.id, labels)
            relabel(conn, row, queries.version_by_id(conn, row.id))
            caller.record(
                conn,
                Action.VERSION_LABEL,
                ref_of(row),
                on=line_of(row),
                before={"labels": row.labels},
                after={"labels": labels},
            )
        return veil_base(caller, describe_version(conn, queries.version_by_id(conn, row.id)))

    return with_retry(registry.engine, transaction)


def check_labels(labels: Mapping[str, str]) -> None:
    """Refuse labels that nobody could search for, or that are notes rather than labels.

    Raises:
        InvalidInput: A label is such; the message names it.
    """
    check_count(labels)
    for key, value in labels.items():
        if max(len(key), len(value)) > _MOST_CHARACTERS:
            raise InvalidInput(
                f"the label {key[:40]!r} has more than {_MOST_CHARACTERS} characters",
                fix="put longer notes into the README.md of the folder",
            )
        is_key = key and key.isprintable() and not set(key) & _NOT_IN_KEYS and " " not in key
        if not is_key:
            raise InvalidInput(
                f"no key of a label: {key[:60]!r}; it holds no space, quote, backslash, comma or =",
                fix="KEY=VALUE, as in team=search, or a word alone",
            )
        if not value.isprintable():
            raise InvalidInput(
                f"the label {key!r} holds a line break or a control character",
                fix="put longer notes into the README.md of the folder",
            )


def check_count(labels: Mapping[str, str]) -> None:
    """Refuse more labels than a version may have.

    Raises:
        InvalidInput: There are more.
    """
    if len(labels) > _MOST:
        raise InvalidInput(
            f"a version may have {_MOST} labels, not {len(labels)}", fix="take some away: deltareg label rm REF KEY"
        )
