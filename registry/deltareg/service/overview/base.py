"""A base, and what stands on it."""

from deltareg.db.session import read
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Base
from deltareg.service.describe import describe_base
from deltareg.service.lines.veil import veiled_base
from deltareg.service.paging import read_number_cursor
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_base
from deltareg.service.verdicts.compat import compat_of
from deltareg.wire import Answer, BaseInfo, CompatRow, Page


class BaseWithVersions(Answer):
    """A base, and the versions on it with what is known of each on each variant."""

    base: BaseInfo
    versions: Page[CompatRow]


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
        shown = veiled_base(caller, describe_base(conn, row))
        versions = compat_of(conn, caller, row, suite=suite, before=before, limit=limit)
    return BaseWithVersions(base=shown, versions=versions)
