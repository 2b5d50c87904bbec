"""Tags that hub clients put on versions: a semantic version, or a label without a value on one version of a line."""

from collections.abc import Sequence

import sqlalchemy as sa

from deltareg.db.channels import channels as channel_queries
from deltareg.db.lines import versions as queries
from deltareg.db.lines.deltas import AskedLabel
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.session import read, with_retry
from deltareg.errors import Conflict, InvalidInput, NotFound
from deltareg.refs import LineRef, Ref, parse_semver
from deltareg.service.access.founding import require_push
from deltareg.service.authority.grants import Right
from deltareg.service.describe import ref_of
from deltareg.service.hub.line_revisions import MAIN, is_semver, is_tag, is_version_name, version_meant
from deltareg.service.hub.main_version import HubLine
from deltareg.service.lines.details import change_details, change_version
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_line
from deltareg.wire import VersionChange

_MOST = 1_000


def add_tag(registry: Registry, caller: Caller, line: LineRef, revision: str, tag: str) -> None:
    """Put a tag on the version that a revision means.

    Raises:
        Forbidden: The caller may not push to the line.
        NotFound: The caller sees no such line or version.
        InvalidInput: The tag is the name of something else, or cannot be a label.
        Conflict: The line has the tag already, or the version another semantic version.
    """

    def transaction(conn: sa.Connection) -> None:
        require_push(conn, caller, on=line)  # a line that is still a draft has no version, which is what is said then
        delta = HubLine(line, find_line(conn, caller, line, lock=True).id)  # of two that put it on two, one does
        version = version_meant(conn, caller, delta, revision, main="newest")
        if tag in {f"v{version.number}", version.semver}:
            raise Conflict(f"{ref_of(version)} is called {tag} already")
        if not is_semver(tag):
            _check_tag(conn, delta, tag)
        for other in _versions_with(conn, delta, tag):
            raise Conflict(
                f"{tag[:80]} is on {ref_of(other)} already",
                fix=f"take it from there first: deltareg label rm {ref_of(other)} {tag[:80]}",
            )
        semver, labels = (parse_semver(tag), {}) if is_semver(tag) else (None, {tag: ""})
        change_details(conn, caller, version, semver=semver, message=None, labels=labels)

    with_retry(registry.engine, transaction)


def remove_tag(registry: Registry, caller: Caller, line: LineRef, tag: str) -> None:
    """Take a tag from the versions that have it.

    Raises:
        Forbidden: The caller may not push to the line.
        NotFound: The caller sees no such line, or it has no such tag.
        InvalidInput: The tag is the name of something that stays.
    """
    with read(registry.engine) as conn:
        delta = _find_line(conn, caller, line)
        _check_tag(conn, delta, tag)
        tagged = _versions_with(conn, delta, tag)
    if not tagged:
        raise NotFound(f"{line} has no tag {tag[:80]!r}", fix=f"deltareg ls {line}")
    for version in tagged:
        change_version(registry, caller, Ref(line, version=version.number), VersionChange(labels={tag: None}))


def _find_line(conn: sa.Connection, caller: Caller, line: LineRef) -> HubLine:
    caller.require(Right.PUSH, on=line)
    return HubLine(line, find_line(conn, caller, line).id)


def _check_tag(conn: sa.Connection, delta: HubLine, tag: str) -> None:
    """Refuse a tag that would be, or is, the name of something else.

    Raises:
        InvalidInput: It is such a name, or cannot be a label.
    """
    if is_version_name(tag):
        raise InvalidInput(
            f"{tag[:80]} is the name of a version, and stays with it",
            fix="choose another tag, a word or a semantic version such as 1.4.0",
        )
    channels = {pointer.name for pointer in channel_queries.pointers(conn, [delta.row_id])}
    if tag == MAIN or tag in channels:
        raise InvalidInput(
            f"{tag} is a channel of {delta.line}, which is moved by promoting",
            fix=f"deltareg promote {delta.line}:vN --channel {tag}",
        )
    if not is_tag(tag):
        raise InvalidInput(
            f"{tag[:80]!r} cannot be a tag: it is a label here, a word without space, quote, backslash, comma or =",
            fix="choose a word, such as best",
        )


def _versions_with(conn: sa.Connection, delta: HubLine, tag: str) -> Sequence[VersionRow]:
    return queries.version_rows(conn, delta.row_id, before=None, limit=_MOST, labels=[AskedLabel(tag, "")])
