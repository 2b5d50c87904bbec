"""Finding bases by an approximate name; and a base with the versions that stand on it."""

from collections.abc import Sequence
from difflib import get_close_matches

from deltareg.db.bases import base_names
from deltareg.db.bases.bases import bases_named
from deltareg.db.bases.rows import CalledRow
from deltareg.db.session import read
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE, Base
from deltareg.service.describe import describe_base, describe_bases
from deltareg.service.lines.veil import veiled_base
from deltareg.service.paging import read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_base
from deltareg.service.verdicts.compat import compat_of
from deltareg.wire import Answer, BaseInfo, CompatRow, Page

_MOST = 20
_NEAR = 5


class BaseNameMatches(Answer):
    """Bases with a name that contains a text, or if there are none, bases with a similar name."""

    is_near: bool
    bases: list[BaseInfo]


class BaseWithVersions(Answer):
    """A base and its versions, with what is known of each on each variant."""

    base: BaseInfo
    versions: Page[CompatRow]


def bases_called(registry: Registry, caller: Caller, text: str) -> BaseNameMatches:
    """Find bases by any current or former name, leaving out what the caller may not read."""
    caller.require(Right.READ, on=SOMEWHERE)
    query = text.strip().casefold()
    with read(registry.engine) as conn:
        readable = [row for row in base_names.all_names(conn) if _may_read(caller, row.base)]
        having = sorted({row.base for row in readable if query in row.called.casefold()})
        names = having[:_MOST] or _near(readable, query)
        info_of = {info.name: info for info in describe_bases(conn, bases_named(conn, names))}
    infos = [veiled_base(caller, info_of[name]) for name in names if name in info_of]
    return BaseNameMatches(is_near=not having, bases=infos)


def _may_read(caller: Caller, name: str) -> bool:
    return caller.may(Right.READ, on=Base(name))


def _near(known: Sequence[CalledRow], wanted: str) -> list[str]:
    """Return the bases with the most similar names, whole or after the `/`, nearest first."""
    spelled: dict[str, str] = {}
    for row in known:
        whole = row.called.casefold()
        for name in (whole, whole.rpartition("/")[2]):
            spelled.setdefault(name, row.base)
    near = get_close_matches(wanted, spelled, n=_NEAR)
    return list(dict.fromkeys(spelled[name] for name in near))


def show_base_with_versions(
    registry: Registry, caller: Caller, name: str, *, suite: str, cursor: str | None, limit: int
) -> BaseWithVersions:
    """Show a base with a page of the versions on it, newest first.

    Raises:
        NotFound: There is no such base, or no such suite.
    """
    caller.require(Right.READ, on=Base(name))
    before = read_number_cursor(cursor)
    with read(registry.engine) as conn:
        row = find_base(conn, caller, name)
        info = veiled_base(caller, describe_base(conn, row))
        versions = compat_of(conn, caller, row, suite=suite, before=before, limit=limit)
    return BaseWithVersions(base=info, versions=versions)
