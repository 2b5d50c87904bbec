"""Lines: the named series of versions."""

from collections.abc import Mapping

from deltareg.client.asking.lines import label_query, line_path
from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef, parse_name
from deltareg.wire import LineInfo, LogEntry, Page

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
        return self._list(path, Page[LogEntry], channel=channel, cursor=cursor, limit=limit)
