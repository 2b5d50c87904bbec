"""Rows of groups and of roles of one's own."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group.

    Attributes:
        id: The id of its principal.
        name: Its name, which is no other principal's.
        source: The sign-in provider that keeps its members; empty where people do.
        members: How many are in it.
        created_at: When it was made, in µs.
        created_by: Who made it; None for a provider.
    """

    id: int
    name: str
    source: str
    members: int
    created_at: int
    created_by: str | None


@dataclass(frozen=True, slots=True)
class GroupMemberRow:
    """Somebody who is in a group."""

    group_id: int
    member_id: int
    name: str
    kind: str
    is_disabled: bool
    created_at: int
    created_by: str | None


@dataclass(frozen=True, slots=True)
class OwnRoleRow:
    """A role of one's own.

    Attributes:
        id: The id of its row.
        name: Its name.
        namespace: The namespace whose it is; None where an admin made it for all.
        rights: What it gives, joined by "+".
        created_at: When it was made, in µs.
        created_by: Who made it.
    """

    id: int
    name: str
    namespace: str | None
    rights: str
    created_at: int
    created_by: str | None
