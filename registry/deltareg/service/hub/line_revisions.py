"""What a revision of a delta's repository means: channels are branches, versions commits and tags.

| revision | means |
|---|---|
| `main` | the newest version for who may push it; for others what `prod` serves (`main_version.py`) |
| `v12`, `1.4.0` | that version |
| `sha256:…`, or 7 and more of its digits | the version with this digest |
| `prod`, `prod~1`, `prod#17` | what the channel serves, or served |
| `best` | the newest version with the label `best`, if there is no such channel |
"""

import re

import sqlalchemy as sa

from deltareg.db.hub import hub_names as queries
from deltareg.db.lines import versions as version_queries
from deltareg.db.lines.deltas import AskedLabel
from deltareg.db.lines.version_rows import VersionRow
from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import LineRef, Ref
from deltareg.service.hub.main_version import HubLine, Main, main_version
from deltareg.service.lines.labels import check_labels
from deltareg.service.registry import Caller
from deltareg.service.resolve import find_version

MAIN = "main"
_DIGITS = re.compile(r"[0-9a-f]{7,64}")
_NUMBER = re.compile(r"v[1-9]\d{0,8}")
_LABEL = re.compile(r"\d+\.\d+\.\d+.*")
_HEADS = ("refs/heads/", "refs/tags/")


def version_meant(conn: sa.Connection, caller: Caller, delta: HubLine, revision: str, *, main: Main) -> VersionRow:
    """Find the version that a revision means; it may be deleted.

    Args:
        conn: A transaction.
        caller: Who asks; it must be allowed to read the line.
        delta: The line.
        revision: The revision as the client names it.
        main: What `main` is for those who only read.

    Raises:
        NotFound: There is no such version or channel, or the channel serves nothing.
        InvalidInput: The text is not a revision of any known form.
    """
    revision = plain_revision(revision)
    if revision == MAIN:
        return main_version(conn, caller, delta, main).row
    digits = revision.removeprefix("sha256:")
    if _DIGITS.fullmatch(digits):
        version = _by_digits(conn, delta.row_id, digits)
        if version is not None:
            return version
    try:
        return find_version(conn, caller, _ref(delta.line, revision), bare="newest")
    except (InvalidInput, NotFound):
        tagged = _by_tag(conn, delta.row_id, revision)
        if tagged is None:
            raise
        return tagged


def plain_revision(revision: str) -> str:
    """Return a revision without git's `refs/heads/` or `refs/tags/` before it."""
    for head in _HEADS:
        revision = revision.removeprefix(head)
    return revision


def is_version_name(text: str) -> bool:
    """Whether a text is a number of a version or a semantic version, if there is one or not."""
    return bool(_NUMBER.fullmatch(text) or _LABEL.fullmatch(text) or text.startswith("sha256:"))


def is_semver(text: str) -> bool:
    """Whether a text is a semantic version."""
    return bool(_LABEL.fullmatch(text))


def is_tag(text: str) -> bool:
    """Whether a text may be a tag: a label without a value."""
    try:
        check_labels({text: ""})
    except InvalidInput:
        return False
    return True


def _by_digits(conn: sa.Connection, delta_id: int, digits: str) -> VersionRow | None:
    """Find the version whose digest begins with some digits; deleted ones only if no other matches."""
    rows = queries.versions_beginning(conn, delta_id, digits)
    standing = [row for row in rows if row.deleted_at is None] or rows[:1]
    if len({row.manifest_digest for row in standing}) > 1:
        raise NotFound(f"several versions have a digest that begins with {digits}", fix="write more of it")
    return standing[0] if standing else None


def _by_tag(conn: sa.Connection, delta_id: int, tag: str) -> VersionRow | None:
    """Find the newest version with a tag."""
    if is_version_name(tag) or not is_tag(tag):
        return None
    rows = version_queries.version_rows(conn, delta_id, before=None, limit=1, labels=[AskedLabel(tag, "")])
    return rows[0] if rows else None


def _ref(line: LineRef, revision: str) -> Ref:
    is_version = _NUMBER.fullmatch(revision) or _LABEL.fullmatch(revision)
    try:
        return Ref.parse(f"{line}:{revision}" if is_version else f"{line}@{revision}")
    except InvalidInput as error:
        raise InvalidInput(
            f"{line} has no revision {revision[:80]!r}",
            fix="name a channel (prod), a version (v3, 1.4.0) or a digest (sha256:…)",
        ) from error
