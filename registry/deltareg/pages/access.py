"""Access: who the caller is and what they may do, who holds which roles, and the tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from deltareg.pages.asking import ViewRequest
from deltareg.pages.guard import ROOT
from deltareg.pages.routing import FormAction, View
from deltareg.pages.tables import Cell, PageTable
from deltareg.service.access.keeping import list_tokens, revoke_token
from deltareg.service.access.members import list_members
from deltareg.service.access.namespaces import list_namespaces
from deltareg.service.access.tokens import whoami
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, Namespace
from deltareg.service.clock import rfc3339, rfc3339_of
from deltareg.wire import Answer, MemberInfo, NamespaceInfo, Page, TokenInfo, WhoAmI

_LISTED = 100


@dataclass(frozen=True, slots=True)
class RoleHolder:
    """A principal with all roles that they hold in a place."""

    name: str
    kind: str
    last_used_at: str | None
    roles: list[MemberInfo]


class AccessPage(Answer):
    """The caller, the namespaces they see, and who holds which roles in one or everywhere."""

    who: WhoAmI
    is_admin: bool
    manages: bool
    audits: bool
    namespace: str
    namespaces: list[NamespaceInfo]
    members: list[MemberInfo]
    more: str | None = None

    @property
    def holders(self) -> list[RoleHolder]:
        """Everybody who holds a role here, each once."""
        by_principal: dict[str, RoleHolder] = {}
        for each in self.members:
            first = RoleHolder(each.principal, each.kind, each.last_used_at, [])
            by_principal.setdefault(each.principal, first).roles.append(each)
        return list(by_principal.values())


class TokensPage(Answer):
    """All tokens, newest first, for admins of everything, and which one this session stands for."""

    tokens: Page[TokenInfo]
    this: int
    at: str

    def state_of(self, token: TokenInfo) -> tuple[str, str]:
        """Return whether a token is live, as a state of the pages and in words."""
        if token.revoked_at is not None:
            return "revoked", ""
        if token.expires_at is None or token.expires_at > _later(self.at, hours=1):
            return "live", ""
        return ("stale", "ends within the hour") if token.expires_at > self.at else ("gone", "ended")


def _access(ask: ViewRequest) -> AccessPage:
    registry, caller, namespace = ask.registry, ask.caller, ask.text("namespace")
    is_admin = caller.may(Right.ADMIN, on=EVERYTHING)
    namespaces = list_namespaces(registry, caller, cursor=None, limit=_LISTED).items
    members: list[MemberInfo] = []
    more: str | None = None
    place = EVERYTHING if namespace is None else Namespace(namespace)
    if namespace is not None or is_admin:
        page = list_members(registry, caller, namespace, cursor=ask.cursor, limit=ask.most(_LISTED))
        members, more = page.items, page.next_cursor
    return AccessPage(
        who=whoami(registry, caller),
        is_admin=is_admin,
        manages=is_admin if namespace is None else caller.may(Right.MAINTAIN, on=place),
        audits=caller.may(Right.ADMIN, on=place),
        namespace=namespace or "",
        namespaces=namespaces,
        members=members,
        more=more,
    )


def _tokens(ask: ViewRequest) -> TokensPage:
    tokens = list_tokens(ask.registry, ask.caller, cursor=ask.cursor, limit=ask.most(_LISTED))
    now = rfc3339(ask.session.seen_us)
    return TokensPage(tokens=tokens, this=ask.caller.token_id or 0, at=now)


def _revoke(ask: ViewRequest) -> str:
    revoke_token(ask.registry, ask.caller, ask.number("token"))
    return f"{ROOT}/tokens#t{ask.number('token')}"


def _later(at: str, *, hours: int) -> str:
    return rfc3339_of(datetime.fromisoformat(at) + timedelta(hours=hours))


def _member_cells(page: AccessPage) -> Iterator[Sequence[Cell]]:
    for row in page.members:
        yield (
            row.principal,
            row.kind,
            row.namespace,
            row.role,
            " ".join(row.rights),
            row.pattern,
            row.given_by,
            row.given_at,
            row.last_used_at,
        )


def _token_cells(page: TokensPage) -> Iterator[Sequence[Cell]]:
    for row in page.tokens.items:
        yield (
            row.id,
            row.display,
            row.principal,
            row.kind,
            " ".join(row.scopes),
            row.note,
            row.created_at,
            row.created_by,
            row.last_used_at,
            row.expires_at,
            row.revoked_at,
        )


_MEMBERS = PageTable(
    ("principal", "kind", "namespace", "role", "rights", "only", "given_by", "given_at", "last_used_at"),
    _member_cells,
    lambda page: page.more,
)
_TOKENS = PageTable(
    (
        "token",
        "begins",
        "principal",
        "kind",
        "scopes",
        "note",
        "created_at",
        "created_by",
        "last_used_at",
        "expires_at",
        "revoked_at",
    ),
    _token_cells,
    lambda page: page.tokens.next_cursor,
)
_ALL_TOKENS = View("/tokens", _tokens, "tokens.html.jinja", "Access", table=_TOKENS)
PAGES = (
    View("/access", _access, "access.html.jinja", "Access", table=_MEMBERS),
    _ALL_TOKENS,
    FormAction("/tokens/{token}/revoke", _revoke, _ALL_TOKENS),
)
