"""The audit trail: who did what, searched by parts of words, and whether it was rewritten."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deltareg.errors import NotFound
from deltareg.pages.asking import ViewRequest
from deltareg.pages.changes import AuditChange, address_of, changes
from deltareg.pages.routing import View
from deltareg.pages.tables import Cell, PageTable
from deltareg.service.access.audit import list_audit
from deltareg.service.events import Action
from deltareg.service.overview.trail_check import TrailReport, check_trail
from deltareg.service.paging import cursor_at
from deltareg.service.trail.proofs import show_checkpoint
from deltareg.wire import Answer, AuditRow, CheckpointInfo, Page

_LISTED = 100


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

    actor: str
    action: str
    subject: str
    rows: Page[AuditRow]
    checkpoint: CheckpointInfo | None
    row: int | None
    actions: list[str]

    @property
    def is_narrowed(self) -> bool:
        """Whether the page shows only a part of the trail."""
        return bool(self.actor or self.action or self.subject or self.row is not None)

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
    actor, action, subject = (ask.text(name) for name in ("actor", "action", "subject"))
    row = ask.text_number("row")
    cursor = ask.cursor if row is None or ask.cursor else cursor_at(row + 1)
    rows = list_audit(
        ask.registry,
        ask.caller,
        actor=actor,
        action=action,
        subject=subject,
        cursor=cursor,
        limit=ask.most(_LISTED),
        by_parts=True,
    )
    checkpoint: CheckpointInfo | None
    try:
        checkpoint = show_checkpoint(ask.registry, ask.caller)
    except NotFound:
        checkpoint = None
    return AuditPage(
        actor=actor or "",
        action=action or "",
        subject=subject or "",
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
