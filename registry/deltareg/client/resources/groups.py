"""Groups and who is in them."""

from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.refs import parse_name
from deltareg.wire import GroupDetail, GroupInfo, GroupJoin, GroupSet, Page, request_of


class Groups(Resource):
    """The groups of a registry that the caller sees."""

    __slots__ = ()

    def list(self, *, cursor: str | None = None, limit: int = 50) -> Listing[GroupInfo]:
        """List groups by name."""
        return self._list("/groups", Page[GroupInfo], cursor=cursor, limit=limit)

    def show(self, name: str) -> GroupDetail:
        """Show a group, its members, and what it holds."""
        return self._context.api.get(_path(name), GroupDetail)

    def set(self, name: str, *, source: str | None = None) -> GroupDetail:
        """Make a group, or say who keeps its members: the sign-in provider `source`, or people if that is empty."""
        return self._context.api.post("/groups", request_of(GroupSet, name=name, source=source), GroupDetail)

    def remove(self, name: str) -> GroupDetail:
        """Remove a group, and take away what it holds."""
        return self._context.api.request("DELETE", _path(name), GroupDetail)

    def join(self, name: str, principal: str) -> GroupDetail:
        """Take a person or a service into a group."""
        return self._context.api.post(f"{_path(name)}/members", request_of(GroupJoin, principal=principal), GroupDetail)

    def leave(self, name: str, principal: str) -> GroupDetail:
        """Take somebody out of a group."""
        who = parse_name(principal, "principal")
        return self._context.api.request("DELETE", f"{_path(name)}/members/{who}", GroupDetail)


def _path(name: str) -> str:
    return f"/groups/{parse_name(name, 'group')}"
