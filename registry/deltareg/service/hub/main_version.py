"""Which version `main` is of a line, for whom.

| who asks | `main` is |
|---|---|
| who may push there, or anybody where the server says `newest` | the newest version |
| who only reads | what `prod` serves, once anything was promoted to it |
| | until then: the newest version that passed its checks |
| | if none has: the newest that they pushed themselves and that has not failed |

A version that failed or was revoked is `main` only for who may push, with a warning.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from deltareg.db.channels.channels import begun_channels
from deltareg.db.lines.version_rows import VersionRow
from deltareg.db.lines.versions import version_by_id
from deltareg.db.verdicts.version_outcomes import newest_by_outcome
from deltareg.errors import NotFound
from deltareg.refs import LineRef, Ref
from deltareg.service.authority.grants import Right
from deltareg.service.hub.outcomes import outcomes_of, tell_outcome
from deltareg.service.registry import Caller
from deltareg.service.resolve import find_version
from deltareg.words import BareName

Main = BareName
"""What `main` is for those who only read."""
_PROD = "prod"


@dataclass(frozen=True, slots=True)
class HubLine:
    """A delta that exists.

    Attributes:
        line: Its name.
        row_id: The id of its row.
    """

    line: LineRef
    row_id: int


@dataclass(frozen=True, slots=True)
class MainVersion:
    """The version that `main` is, and why where that is not plain: else empty."""

    row: VersionRow
    reason: str = ""


def pushes_to(caller: Caller, line: LineRef) -> bool:
    """Whether `main` means the newest version for a caller: it may push to the line."""
    return caller.may(Right.PUSH, on=line)


def main_version(conn: sa.Connection, caller: Caller, delta: HubLine, main: Main) -> MainVersion:
    """Find the version that `main` is for a caller, which may be allowed to read the line.

    Raises:
        NotFound: `main` is nothing for it.
    """
    line = delta.line
    if main == "newest" or pushes_to(caller, line):
        return MainVersion(find_version(conn, caller, Ref(line), bare="newest"))
    try:
        return MainVersion(find_version(conn, caller, Ref(line, channel=_PROD), bare="prod"))
    except NotFound as error:
        version_id = unpromoted_mains(conn, caller, [delta]).get(delta.row_id)
        if version_id is None:
            raise _nothing(conn, caller, delta) from error
    row = version_by_id(conn, version_id)
    how = "passed its checks" if outcomes_of(conn, [row.id])[row.id] == "pass" else f"{caller.principal} pushed"
    return MainVersion(
        row, f"main of {line} is v{row.number}, the newest that {how}: nothing was promoted to {line}@prod"
    )


def unpromoted_mains(conn: sa.Connection, caller: Caller, deltas: Collection[HubLine]) -> Mapping[int, int]:
    """Return what `main` is for a caller that only reads, of lines whose `prod` serves nothing.

    Lines on whose `prod` something was promoted before are left out, and those of which `main` is nothing.

    Returns:
        Row ids of versions, by the row id of the line.
    """
    begun = begun_channels(conn, [delta.row_id for delta in deltas])
    fresh = [each.row_id for each in deltas if (each.row_id, caller.current_channel(each.line, _PROD)) not in begun]
    newest = newest_by_outcome(conn, fresh, pushed_by=caller.principal_id)
    chosen = {row.delta_id: row.passed or row.own for row in newest.values()}
    return {delta_id: version_id for delta_id, version_id in chosen.items() if version_id is not None}


def newest_passed(conn: sa.Connection, delta_id: int) -> int | None:
    """Return the number of the newest version of a line that passed its checks; None if there is none."""
    row = newest_by_outcome(conn, [delta_id], pushed_by=0).get(delta_id)
    return None if row is None or row.passed is None else version_by_id(conn, row.passed).number


def _nothing(conn: sa.Connection, caller: Caller, delta: HubLine) -> NotFound:
    line = delta.line
    newest = find_version(conn, caller, Ref(line), bare="newest")
    name = f"{line}:v{newest.number}"
    if (delta.row_id, caller.current_channel(line, _PROD)) in begun_channels(conn, [delta.row_id]):
        return NotFound(
            f"main of {line} is what {line}@prod serves, and it serves nothing",
            fix=f"deltareg promote {name} --channel prod; or name a version: v{newest.number}",
        )
    outcome = outcomes_of(conn, [newest.id])[newest.id]
    verify = f"deltareg verify {name} --wait; or " if outcome == "none" and newest.revoked_at is None else ""
    return NotFound(
        f"main of {line} is what {line}@prod serves, and nothing was promoted to it; no version has passed its checks"
        f" either, and the newest, v{newest.number}, {tell_outcome(outcome)}",
        fix=f"{verify}deltareg promote {name} --channel prod; or name a version: v{newest.number}",
    )
