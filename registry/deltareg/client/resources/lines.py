"""Lines: the named series of versions."""

from collections.abc import Mapping

from deltareg.client.asking.lines import label_query, line_path
from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef, parse_name
from deltareg.wire import LineInfo, LineState, LogEntry, NameChange, Page, Rename, request_of

_FILTERS = ("base", "kind", "verdict", "channel")


class Lines(Resource):
    """The lines of a registry, each a `namespace/name`."""

    __slots__ = ()

    def list(
        self,
        namespace: str | None = None,
        *,
        filters: Mapping[str, str] | None = None,
        labels: Mapping[str, str | None] | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Listing[LineInfo]:
        """List lines by name; only those whose newest version matches the filters and labels.

        A label whose value is None may have any value.

        Raises:
            InvalidInput: A filter is not one of base, kind, verdict, channel, `label.KEY`.
        """
        query = dict(filters or {})
        unknown = {name for name in query if not name.startswith("label.")} - set(_FILTERS)
        if unknown:
            names = ", ".join((*_FILTERS, "label.KEY"))
            raise InvalidInput(f"no filter is called {min(unknown)!r}", fix=f"filters: {names}")
        label_parameters = label_query(labels or {})
        path = "/deltas" if namespace is None else f"/deltas/{parse_name(namespace, 'namespace')}"
        return self._list(path, Page[LineInfo], cursor=cursor, limit=limit, **(query | label_parameters))

    def log(
        self, line: str, *, channel: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Listing[LogEntry]:
        """List what happened to a line, newest first."""
        path = f"{line_path(LineRef.parse(line))}/log"
        return self._list(path, Page[LogEntry], channel=channel, cursor=cursor, limit=limit, every=True)

    def rename(self, line: str, to: str) -> NameChange:
        """Give a line another name, also in another namespace; its former name leads on to it.

        Raises:
            Forbidden: The caller does not own both namespaces.
            Conflict: Another line has that name, or it leads on to one.
        """
        path = f"{line_path(LineRef.parse(line))}:rename"
        return self._context.api.post(path, request_of(Rename, to=str(LineRef.parse(to))), NameChange)

    def free(self, line: str) -> NameChange:
        """Let a former name of a line lead nowhere any more, so that another line may have it.

        Raises:
            NotFound: It is no former name.
        """
        return self._context.api.request("DELETE", f"{line_path(LineRef.parse(line))}/name", NameChange)

    def delete(self, line: str, *, dry_run: bool = False) -> LineState:
        """Delete a line with all its versions, or with `dry_run` only check whether that is allowed.

        Raises:
            Conflict: A channel serves one of them, or something else was made from one or stands on it.
        """
        query = {"dry_run": True} if dry_run else {}
        return self._context.api.request("DELETE", line_path(LineRef.parse(line)), LineState, query=query)

    def restore(self, line: str) -> LineState:
        """Bring a deleted line back, with the versions that were deleted with it.

        Raises:
            Blocked: Collection has freed the bytes of all of them.
        """
        return self._context.api.post(f"{line_path(LineRef.parse(line))}:restore", None, LineState)
