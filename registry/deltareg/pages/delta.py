"""The page of a delta line: the strip of its channels, and its versions."""

from collections.abc import Iterator, Sequence

from deltareg.pages.asking import ViewRequest
from deltareg.pages.routing import View
from deltareg.pages.tables import Cell, PageTable, pairs
from deltareg.service.overview.line import LineOverview, show_line

_LISTED = 50


def _delta(ask: ViewRequest) -> LineOverview:
    return show_line(ask.registry, ask.caller, ask.line, cursor=ask.cursor, limit=ask.most(_LISTED))


def _cells(page: LineOverview) -> Iterator[Sequence[Cell]]:
    for row in page.versions.items:
        yield (
            row.ref,
            row.version,
            row.digest,
            row.verdict or "none",
            " ".join(row.channels),
            row.kind,
            row.variant,
            row.base.name or "",
            row.logical_bytes,
            row.stored_bytes,
            row.created_at,
            row.created_by,
            row.message,
            pairs(row.labels),
            row.is_revoked,
        )


_TABLE = PageTable(
    (
        "ref",
        "version",
        "digest",
        "verdict",
        "channels",
        "kind",
        "variant",
        "base",
        "file_bytes",
        "stored_bytes",
        "pushed_at",
        "pushed_by",
        "message",
        "labels",
        "is_revoked",
    ),
    _cells,
    lambda page: page.versions.next_cursor,
)


PAGES = (View("/deltas/{ns}/{name}", _delta, "delta.html.jinja", "Deltas", table=_TABLE),)
