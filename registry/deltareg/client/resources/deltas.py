"""Reading lines, versions and bases."""

from collections.abc import Mapping
from urllib.parse import quote

from deltareg.client.context import Context
from deltareg.client.resources.resolving import base_path, resolve, version_path
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef, Ref, parse_name
from deltareg.wire import (
    BaseInfo,
    LineageAnswer,
    LineInfo,
    LogEntry,
    Page,
    Revoke,
    Unrevoke,
    VersionInfo,
    request_of,
)

_FILTERS = ("base", "kind", "verdict", "channel")


def show_base(context: Context, name: str) -> BaseInfo:
    """Show one base; a version that is one, by its reference.

    Raises:
        NotFound: There is none, or the version was never a base.
    """
    if "/" in name:
        name = resolve(context, Ref.parse(name), bare="newest").ref
    return context.api.get(base_path(name), BaseInfo)


def lines(
    context: Context,
    namespace: str | None,
    filters: Mapping[str, str],
    *,
    cursor: str | None,
    limit: int,
) -> Page[LineInfo]:
    """List delta lines by name, those whose newest version fits the filters.

    Raises:
        InvalidInput: A filter of another name.
    """
    unknown = {name for name in filters if not name.startswith("label.")} - set(_FILTERS)
    if unknown:
        known = ", ".join((*_FILTERS, "label.KEY"))
        raise InvalidInput(f"no filter is called {min(unknown)!r}", fix=f"filters: {known}")
    path = "/deltas" if namespace is None else f"/deltas/{parse_name(namespace, 'namespace')}"
    return context.api.get(path, Page[LineInfo], cursor=cursor, limit=limit, **filters)


def versions(
    context: Context, line: LineRef, *, cursor: str | None, limit: int
) -> Page[VersionInfo]:
    """List the versions of a line, newest first."""
    path = f"{line_path(line)}/versions"
    return context.api.get(path, Page[VersionInfo], cursor=cursor, limit=limit)


def log(
    context: Context, line: LineRef, *, channel: str | None, cursor: str | None, limit: int
) -> Page[LogEntry]:
    """List what happened to a line, newest first."""
    path = f"{line_path(line)}/log"
    return context.api.get(path, Page[LogEntry], channel=channel, cursor=cursor, limit=limit)


def lineage(context: Context, ref: Ref, *, depth: int) -> LineageAnswer:
    """Walk to a version's parents and base, and to what was made from it."""
    version = resolve(context, ref, bare="newest")
    path = f"{version_path(Ref.parse(version.ref))}/lineage"
    return context.api.get(path, LineageAnswer, depth=depth)


def delete(context: Context, ref: Ref, *, dry_run: bool = False) -> VersionInfo:
    """Delete a version, or with `dry_run` only find out whether it may be.

    Raises:
        InvalidInput: The reference does not name one version.
    """
    query = {"dry_run": True} if dry_run else {}
    return context.api.request("DELETE", _path_of_one(context, ref), VersionInfo, query=query)


def revoke(
    context: Context, ref: Ref, *, reason: str, even_if_served: bool, dry_run: bool = False
) -> VersionInfo:
    """Revoke a version, or with `dry_run` only find out what would come of it.

    Raises:
        InvalidInput: The reference does not name one version.
        Conflict: A channel serves it, and it was not said that it may.
    """
    wanted = request_of(Revoke, reason=reason, even_if_served=even_if_served, dry_run=dry_run)
    return context.api.post(f"{_path_of_one(context, ref)}:revoke", wanted, VersionInfo)


def unrevoke(context: Context, ref: Ref, *, reason: str) -> VersionInfo:
    """End the revocation of a version.

    Raises:
        InvalidInput: The reference does not name one version.
    """
    wanted = request_of(Unrevoke, reason=reason)
    return context.api.post(f"{_path_of_one(context, ref)}:unrevoke", wanted, VersionInfo)


def line_path(line: LineRef) -> str:
    """Give the API path of a line."""
    return f"/deltas/{quote(line.namespace)}/{quote(line.name)}"


def _path_of_one(context: Context, ref: Ref) -> str:
    """Give the API path of the one version that a reference names; a bare line is none."""
    if ref.is_bare:
        raise InvalidInput(f"{ref} names a line, not a version", fix=f"name one: {ref}:v1")
    version = resolve(context, ref, bare="newest")
    return version_path(Ref.parse(version.ref))
