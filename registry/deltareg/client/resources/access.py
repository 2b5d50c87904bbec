"""Who holds which role, namespaces and how visible they are, and why somebody may do something."""

from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.wire import (
    AccessAnswer,
    AccessFinding,
    MemberAdd,
    MemberInfo,
    NamespaceChange,
    NamespaceCreate,
    NamespaceInfo,
    Page,
    Visibility,
    request_of,
)


class Members(Resource):
    """The roles of a registry: in its namespaces, and everywhere."""

    __slots__ = ()

    def add(
        self, principal: str, role: str, *, namespace: str | None = None, pattern: str = ""
    ) -> MemberInfo:
        """Give a role: in a namespace, or everywhere without one."""
        body = request_of(
            MemberAdd, principal=principal, role=role, namespace=namespace, pattern=pattern
        )
        return self._context.api.post("/members", body, MemberInfo)

    def list(
        self, namespace: str | None = None, *, cursor: str | None = None, limit: int = 50
    ) -> Listing[MemberInfo]:
        """List the roles in a namespace, or those that reach everything."""
        return self._list(
            "/members", Page[MemberInfo], namespace=namespace, cursor=cursor, limit=limit
        )

    def end(self, member_id: int) -> MemberInfo:
        """Take a role away, at once."""
        return self._context.api.request("DELETE", f"/members/{member_id}", MemberInfo)

    def explain(self, principal: str, action: str, ref: str) -> AccessAnswer:
        """Say whether a principal may do something now, by what, and what would give it."""
        return self._context.api.get(
            "/access/explain", AccessAnswer, principal=principal, action=action, ref=ref
        )

    def review(
        self,
        namespace: str | None = None,
        *,
        unused_days: int = 90,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Listing[AccessFinding]:
        """List who holds what, with what looks like too much."""
        return self._list(
            "/access/review", Page[AccessFinding], namespace=namespace, unused_days=unused_days,
            cursor=cursor, limit=limit,
        )  # fmt: skip


class Namespaces(Resource):
    """The namespaces of a registry."""

    __slots__ = ()

    def list(self, *, cursor: str | None = None, limit: int = 50) -> Listing[NamespaceInfo]:
        """List namespaces by name."""
        return self._list("/namespaces", Page[NamespaceInfo], cursor=cursor, limit=limit)

    def show(self, name: str) -> NamespaceInfo:
        """Show a namespace."""
        return self._context.api.get(f"/namespaces/{name}", NamespaceInfo)

    def create(self, name: str, *, visibility: Visibility = "internal") -> NamespaceInfo:
        """Make a namespace with nothing in it, which is then one's own."""
        body = request_of(NamespaceCreate, name=name, visibility=visibility)
        return self._context.api.post("/namespaces", body, NamespaceInfo)

    def change(self, name: str, *, visibility: Visibility) -> NamespaceInfo:
        """Make a namespace private, internal or public."""
        body = request_of(NamespaceChange, visibility=visibility)
        return self._context.api.request("PATCH", f"/namespaces/{name}", NamespaceInfo, body=body)
