"""Who holds which role, and why somebody may do something."""

from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.wire import AccessAnswer, AccessFinding, MemberAdd, MemberInfo, Page, request_of


class Members(Resource):
    """The roles of a registry: in its namespaces, and everywhere."""

    __slots__ = ()

    def add(self, principal: str, role: str, *, namespace: str | None = None, pattern: str = "") -> MemberInfo:
        """Give a role: in a namespace, or everywhere without one."""
        body = request_of(MemberAdd, principal=principal, role=role, namespace=namespace, pattern=pattern)
        return self._context.api.post("/members", body, MemberInfo)

    def list(self, namespace: str | None = None, *, cursor: str | None = None, limit: int = 50) -> Listing[MemberInfo]:
        """List the roles in a namespace, or those that reach everything."""
        return self._list("/members", Page[MemberInfo], namespace=namespace, cursor=cursor, limit=limit)

    def end(self, member_id: int) -> MemberInfo:
        """Take a role away, at once."""
        return self._context.api.request("DELETE", f"/members/{member_id}", MemberInfo)

    def explain(self, principal: str, action: str, ref: str) -> AccessAnswer:
        """Say whether a principal may do something now, by what, and what would give it."""
        return self._context.api.get("/access/explain", AccessAnswer, principal=principal, action=action, ref=ref)

    def review(
        self, namespace: str | None = None, *, unused_days: int = 90, cursor: str | None = None, limit: int = 50
    ) -> Listing[AccessFinding]:
        """List who holds what, with what looks like too much."""
        return self._list(
            "/access/review",
            Page[AccessFinding],
            namespace=namespace,
            unused_days=unused_days,
            cursor=cursor,
            limit=limit,
        )
