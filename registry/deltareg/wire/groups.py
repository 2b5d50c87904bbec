"""Groups, and roles of one's own."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.access import MemberInfo, Name
from deltareg.wire.messages import Answer, Request


class GroupSet(Request):
    """A group, and who keeps its members: a sign-in provider, or people where `source` is empty.

    Without `source` that stays as it is, and people keep a group that is made.
    """

    name: Name
    source: Annotated[str, Field(max_length=64)] | None = None


class GroupJoin(Request):
    """Somebody who comes into a group."""

    principal: Name


class GroupInfo(Answer):
    """A group: how many are in it, and who keeps its members."""

    name: str
    source: str
    size: int
    created_at: str
    created_by: str


class GroupMember(Answer):
    """Somebody who is in a group: `user` or `service`, since when, by whom."""

    name: str
    kind: str
    is_disabled: bool
    added_at: str
    added_by: str


class GroupDetail(GroupInfo):
    """A group with its members and with what it holds, as far as the caller sees that."""

    members: list[GroupMember]
    roles: list[MemberInfo]


class RoleSet(Request):
    """A role of one's own: what it gives, for all namespaces or as a role of one."""

    name: Name
    namespace: Name | None = None
    rights: Annotated[list[Name], Field(min_length=1, max_length=16)]


class RoleInfo(Answer):
    """A role: what it gives, and whose it is. A built-in one is nobody's."""

    name: str
    namespace: str | None
    rights: list[str]
    is_built_in: bool
