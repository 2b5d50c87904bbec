"""Reading bases: list, show, manifest, storage."""

from deltareg.db.bases import bases as queries
from deltareg.db.session import read
from deltareg.db.storage.shares import PackHolder
from deltareg.errors import NotFound
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SOMEWHERE, Base
from deltareg.service.corrupt import refuse_corrupt
from deltareg.service.describe import describe_base, describe_bases
from deltareg.service.lines.veil import veiled_base
from deltareg.service.paging import check_limit, page, read_cursor, readable
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_base
from deltareg.wire import BaseInfo, Page


def list_bases(
    registry: Registry,
    caller: Caller,
    *,
    root: str | None,
    hub_id: str | None = None,
    location: str | None = None,
    cursor: str | None,
    limit: int,
) -> Page[BaseInfo]:
    """List bases by name: all, or those with a given root, hub id or location.

    Bases that the caller may not read are left out.
    """
    caller.require(Right.READ, on=SOMEWHERE)
    after = read_cursor(cursor)
    with read(registry.engine) as conn:
        rows = readable(
            lambda place: queries.base_rows(
                conn, root=root, hub_id=hub_id, location=location, after=place, limit=limit + 1
            ),
            start=after,
            limit=check_limit(limit),
            place=lambda row: str(row.name),
            is_seen=lambda row: caller.may(Right.READ, on=Base(row.name)),
        )
        infos = {info.name: info for info in describe_bases(conn, rows)}
    return page(rows, limit, key=lambda row: row.name, show=lambda row: veiled_base(caller, infos[row.name]))


def show_base(registry: Registry, caller: Caller, name: str) -> BaseInfo:
    """Show one base.

    Raises:
        NotFound: There is no base of that name.
    """
    caller.require(Right.READ, on=Base(name))
    with read(registry.engine) as conn:
        return veiled_base(caller, describe_base(conn, find_base(conn, caller, name)))


def base_manifest_bytes(registry: Registry, caller: Caller, name: str) -> bytes:
    """Return the manifest of a base, exactly as it was received."""
    caller.require(Right.READ, on=Base(name))
    with read(registry.engine) as conn:
        return queries.base_content(conn, find_base(conn, caller, name).id).manifest


def base_storage_bytes(registry: Registry, caller: Caller, name: str) -> bytes:
    """Return the storage map of a base.

    Raises:
        NotFound: The base is only registered; its bytes are elsewhere.
        Corrupt: The stored bytes are not those of the base.
    """
    caller.require(Right.READ, on=Base(name))
    with read(registry.engine) as conn:
        base = find_base(conn, caller, name)
        refuse_corrupt(conn, caller, PackHolder(base.id, is_base=True), name)
        raw = queries.base_content(conn, base.id).storage_map
    if not raw:
        raise NotFound(
            f"the base {name} is registered without its bytes",
            fix="say where they lie on this machine: deltareg base register PATH"
            f" {name}; or store them: deltareg base push PATH {name}",
        )
    return raw
