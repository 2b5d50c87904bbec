"""Who may do what: everybody who acts, with each of their roles and their live tokens."""

from collections.abc import Iterator, Sequence

from deltareg.wire.messages import Answer
from deltareg.words import Scope

HOLDER_HEADS = (
    "principal",
    "kind",
    "behind",
    "right",
    "namespace",
    "only",
    "role",
    "group",
    "given_by",
    "given_at",
    "tokens",
)
"""The heads of who may do what as rows."""


class HolderRole(Answer):
    """A role, and how somebody holds it.

    Attributes:
        role: Its name.
        rights: What comes with it.
        namespace: Where; none is everywhere.
        pattern: The lines or channels that it is about; empty for all.
        group: The group that holds it; none for a role of one's own, empty for a group that the caller does not see.
        given_by: Who gave it.
        given_at: When.
        is_legacy: It is from a token of the release before.
    """

    role: str
    rights: list[str]
    namespace: str | None
    pattern: str
    group: str | None
    given_by: str
    given_at: str
    is_legacy: bool


class HolderToken(Answer):
    """A live token; of its namespaces those that the answer is about, none for a token that is for all."""

    id: int
    display: str
    scopes: list[Scope]
    namespaces: list[str] | None
    last_used_at: str | None
    expires_at: str | None


class AccessHolder(Answer):
    """Somebody who may do something.

    Attributes:
        principal: Who.
        kind: `user`, `service` or `worker`.
        people: Who stands behind a service account or a machine.
        roles: All that they hold, by themselves or by a group.
        tokens: Their live tokens, newest first.
    """

    principal: str
    kind: str
    people: list[str]
    roles: list[HolderRole]
    tokens: list[HolderToken]


def holder_rows(holders: Sequence[AccessHolder]) -> Iterator[tuple[str, ...]]:
    """Write who may do what as rows, one for each right of each role, under `HOLDER_HEADS`."""
    for holder in holders:
        tokens = "; ".join(map(_write_token, holder.tokens))
        for role in holder.roles:
            for right in role.rights:
                yield (
                    holder.principal,
                    holder.kind,
                    " ".join(holder.people),
                    right,
                    role.namespace or "everywhere",
                    role.pattern,
                    role.role,
                    "" if role.group is None else role.group or "a group",
                    role.given_by,
                    role.given_at,
                    tokens,
                )


def _write_token(token: HolderToken) -> str:
    where = "" if token.namespaces is None else f" in {' '.join(token.namespaces)}"
    used = f"used {token.last_used_at}" if token.last_used_at else "never used"
    ends = f"ends {token.expires_at}" if token.expires_at else "never ends"
    return f"{token.id}: {' '.join(token.scopes)}{where}, {used}, {ends}"
