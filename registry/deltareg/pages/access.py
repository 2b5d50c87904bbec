"""Access: who the caller is and may do what, who holds what, and the trail of all that was done."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deltareg.errors import NotFound
from deltareg.pages.asking import Ask
from deltareg.pages.changes import Change, address_of, changes
from deltareg.pages.routing import View
from deltareg.pages.tables import Cell, Table
from deltareg.service.access.audit import list_audit
from deltareg.service.access.members import list_members
from deltareg.service.access.namespaces import list_namespaces
from deltareg.service.access.tokens import list_tokens, whoami
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.events import Action
from deltareg.service.paging import cursor_at
from deltareg.service.trail.proofs import show_checkpoint
from deltareg.wire import (
    Answer,
    AuditRow,
    CheckpointInfo,
    MemberInfo,
    NamespaceInfo,
    Page,
    TokenInfo,
    WhoAmI,
)

_LISTED = 100


class AccessPage(Answer):
    """Who asks, the namespaces that they see, and who holds what in one of them or everywhere."""

    who: WhoAmI
    is_admin: bool
    namespace: str
    namespaces: list[NamespaceInfo]
    members: list[MemberInfo]
    more: str | None = None


class TokensPage(Answer):
    """All tokens, newest first, for admins of everything."""

    tokens: Page[TokenInfo]


@dataclass(frozen=True, slots=True)
class ToldRow:
    """A row of the trail as it is shown: what it changed, and the page of its subject if any."""

    row: AuditRow
    changes: list[Change]
    to: str


class AuditPage(Answer):
    """Who did what, newest first, and the newest checkpoint of the log over it.

    `row` is the row that the list begins with, where one was asked for; `actions` is what there is
    to search for.
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
        """Whether less than all of the trail is shown."""
        return bool(self.actor or self.action or self.subject or self.row is not None)

    @property
    def told(self) -> list[ToldRow]:
        """The rows with what they changed in words, and where their subjects have a page."""
        return [
            ToldRow(row, changes(row.before, row.after), address_of(row.subject))
            for row in self.rows.items
        ]


def _access(ask: Ask) -> AccessPage:
    registry, caller, namespace = ask.registry, ask.caller, ask.text("namespace")
    is_admin = caller.may(Right.ADMIN, on=EVERYTHING)
    known = list_namespaces(registry, caller, cursor=None, limit=_LISTED).items
    members: list[MemberInfo] = []
    more: str | None = None
    if namespace is not None or is_admin:
        found = list_members(
            registry, caller, namespace, cursor=ask.cursor, limit=ask.most(_LISTED)
        )
        members, more = found.items, found.next_cursor
    return AccessPage(
        who=whoami(registry, caller), is_admin=is_admin, namespace=namespace or "",
        namespaces=known, members=members, more=more,
    )  # fmt: skip


def _tokens(ask: Ask) -> TokensPage:
    found = list_tokens(ask.registry, ask.caller, cursor=ask.cursor, limit=ask.most(_LISTED))
    return TokensPage(tokens=found)


def _audit(ask: Ask) -> AuditPage:
    actor, action, subject = (ask.text(name) for name in ("actor", "action", "subject"))
    row = ask.text_number("row")
    cursor = ask.cursor if row is None or ask.cursor else cursor_at(row + 1)
    rows = list_audit(
        ask.registry, ask.caller, actor=actor, action=action, subject=subject, cursor=cursor,
        limit=ask.most(_LISTED), by_parts=True,
    )  # fmt: skip
    checkpoint: CheckpointInfo | None
    try:
        checkpoint = show_checkpoint(ask.registry, ask.caller)
    except NotFound:
        checkpoint = None
    return AuditPage(
        actor=actor or "", action=action or "", subject=subject or "", rows=rows,
        checkpoint=checkpoint, row=row, actions=[str(each) for each in Action],
    )  # fmt: skip


def _member_cells(page: AccessPage) -> Iterator[Sequence[Cell]]:
    for row in page.members:
        yield (
            row.principal, row.kind, row.namespace, row.role, " ".join(row.rights), row.pattern,
            row.given_by, row.given_at, row.last_used_at,
        )  # fmt: skip


def _token_cells(page: TokensPage) -> Iterator[Sequence[Cell]]:
    for row in page.tokens.items:
        yield (
            row.id, row.display, row.principal, row.kind, " ".join(row.scopes), row.note,
            row.created_at, row.created_by, row.last_used_at, row.expires_at, row.revoked_at,
        )  # fmt: skip


def _audit_cells(page: AuditPage) -> Iterator[Sequence[Cell]]:
    for row in page.rows.items:
        before, after = (
            "" if told is None else json.dumps(told, ensure_ascii=False)
            for told in (row.before, row.after)
        )
        yield (
            row.id, row.at, row.actor, row.token_id, row.action, row.subject, before, after,
            row.request_id,
        )  # fmt: skip


_MEMBERS = Table(
    ("principal", "kind", "namespace", "role", "rights", "only", "given_by", "given_at",
     "last_used_at"),
    _member_cells, lambda page: page.more,
)  # fmt: skip
_TOKENS = Table(
    ("token", "begins", "principal", "kind", "scopes", "note", "created_at", "created_by",
     "last_used_at", "expires_at", "revoked_at"),
    _token_cells, lambda page: page.tokens.next_cursor,
)  # fmt: skip
_AUDIT = Table(
    ("row", "at", "actor", "token", "action", "subject", "before", "after", "request"),
    _audit_cells, lambda page: page.rows.next_cursor,
)  # fmt: skip
PAGES = (
    View("/access", _access, "access.html.jinja", table=_MEMBERS),
    View("/tokens", _tokens, "tokens.html.jinja", table=_TOKENS),
    View("/audit", _audit, "audit.html.jinja", table=_AUDIT),
)
