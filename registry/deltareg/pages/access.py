"""Access: who the caller is and may do what, who holds what, and the trail of all that was done."""

from deltareg.errors import NotFound
from deltareg.pages.asking import Ask
from deltareg.pages.routing import View
from deltareg.service.access.audit import list_audit
from deltareg.service.access.members import list_members
from deltareg.service.access.namespaces import list_namespaces
from deltareg.service.access.tokens import list_tokens, whoami
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
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


class TokensPage(Answer):
    """All tokens, newest first, for admins of everything."""

    tokens: Page[TokenInfo]


class AuditPage(Answer):
    """Who did what, newest first, and the newest checkpoint of the log over it."""

    actor: str
    action: str
    subject: str
    rows: Page[AuditRow]
    checkpoint: CheckpointInfo | None


def _access(ask: Ask) -> AccessPage:
    registry, caller, namespace = ask.registry, ask.caller, ask.text("namespace")
    is_admin = caller.may(Right.ADMIN, on=EVERYTHING)
    known = list_namespaces(registry, caller, cursor=None, limit=_LISTED).items
    members: list[MemberInfo] = []
    if namespace is not None or is_admin:
        members = list_members(registry, caller, namespace, cursor=None, limit=_LISTED).items
    return AccessPage(
        who=whoami(registry, caller), is_admin=is_admin, namespace=namespace or "",
        namespaces=known, members=members,
    )  # fmt: skip


def _tokens(ask: Ask) -> TokensPage:
    found = list_tokens(ask.registry, ask.caller, cursor=ask.text("cursor"), limit=_LISTED)
    return TokensPage(tokens=found)


def _audit(ask: Ask) -> AuditPage:
    actor, action, subject = (ask.text(name) for name in ("actor", "action", "subject"))
    rows = list_audit(
        ask.registry, ask.caller, actor=actor, action=action, subject=subject,
        cursor=ask.text("cursor"), limit=_LISTED,
    )  # fmt: skip
    checkpoint: CheckpointInfo | None
    try:
        checkpoint = show_checkpoint(ask.registry, ask.caller)
    except NotFound:
        checkpoint = None
    return AuditPage(
        actor=actor or "", action=action or "", subject=subject or "", rows=rows,
        checkpoint=checkpoint,
    )  # fmt: skip


PAGES = (
    View("/access", _access, "access.html.jinja"),
    View("/tokens", _tokens, "tokens.html.jinja"),
    View("/audit", _audit, "audit.html.jinja"),
)
