"""The audit trail: who did what, searched by parts of words, and whether it was rewritten."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from deltareg.errors import NotFound
from deltareg.pages.asking import ViewRequest
from deltareg.pages.changes import AuditChange, address_of, changes
from deltareg.pages.routing import View
from deltareg.pages.tables import Cell, PageTable
from deltareg.service.access.audit import AuditQuery, list_audit
from deltareg.service.events import Action
from deltareg.service.overview.trail_check import TrailReport, check_trail
from deltareg.service.paging import cursor_at
from deltareg.service.trail.proofs import show_checkpoint
from deltareg.wire import Answer, AuditRow, CheckpointInfo, Page

_LISTED = 100
_FILTERS = ("namespace", "actor", "action", "subject", "since", "until")


@dataclass(frozen=True, slots=True)
class DescribedAuditRow:
    """A row of the trail as shown: what it changed, and the page of its subject, if any."""

    row: AuditRow
    changes: list[AuditChange]
    to: str


class AuditPage(Answer):
    """Who did what, newest first, and the newest checkpoint of its log.

    `row` is the row that the list begins with, if the address names one; `actions` are the actions
    that can be searched for.
    """

    namespace: str
    actor: str
    action: str
    subject: str
    since: str
    until: str
    rows: Page[AuditRow]
    checkpoint: CheckpointInfo | None
    row: int | None
    actions: list[str]

    @property
    def is_narrowed(self) -> bool:
        """Whether the page shows only a part of the trail."""
        words = (self.namespace, self.actor, self.action, self.subject, self.since, self.until)
        return any(words) or self.row is not None

    @property
    def query(self) -> str:
        """The filters as the query of an address."""
        words = {name: getattr(self, name) for name in _FILTERS}
        return urlencode({name: word for name, word in words.items() if word})

    @property
    def described_rows(self) -> list[DescribedAuditRow]:
        """The rows with their changes in words, and the pages of their subjects."""
        return [
            DescribedAuditRow(row, changes(row.before, row.after), address_of(row.subject)) for row in self.rows.items
        ]


class AuditCheckPage(Answer):
    """Whether the log of the trail holds, as the server sees it; None if there is no log."""

    report: TrailReport | None


def _audit(ask: ViewRequest) -> AuditPage:
    asked = {name: ask.text(name) for name in _FILTERS}
    row = ask.text_number("row")
    cursor = ask.cursor if row is None or ask.cursor else cursor_at(row + 1)
    rows = list_audit(
        ask.registry, ask.caller, AuditQuery(**asked), cursor=cursor, limit=ask.most(_LISTED), by_parts=True
    )
    checkpoint: CheckpointInfo | None
    try:
        checkpoint = show_checkpoint(ask.registry, ask.caller)
    except NotFound:
        checkpoint = None
    return AuditPage(
        **{name: word or "" for name, word in asked.items()},
        rows=rows,
        checkpoint=checkpoint,
        row=row,
        actions=[str(each) for each in Action],
    )


def _check(ask: ViewRequest) -> AuditCheckPage:
    try:
        return AuditCheckPage(report=check_trail(ask.registry, ask.caller))
    except NotFound:
        return AuditCheckPage(report=None)


def _audit_cells(page: AuditPage) -> Iterator[Sequence[Cell]]:
    for row in page.rows.items:
        before, after = (
            "" if state is None else json.dumps(state, ensure_ascii=False) for state in (row.before, row.after)
        )
        yield (row.id, row.at, row.actor, row.token_id, row.action, row.subject, before, after, row.request_id)


_AUDIT = PageTable(
    ("row", "at", "actor", "token", "action", "subject", "before", "after", "request"),
    _audit_cells,
    lambda page: page.rows.next_cursor,
)
PAGES = (
    View("/audit", _audit, "audit.html.jinja", "Audit", table=_AUDIT),
    View("/audit/check", _check, "audit_check.html.jinja", "Audit"),
)
