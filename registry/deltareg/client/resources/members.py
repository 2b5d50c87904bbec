"""Members: who has which role, and why somebody may do something."""

from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.wire import AccessAnswer, AccessFinding, AccessHolder, MemberAdd, MemberInfo, Page, request_of


class Members(Resource):
    """The roles in a registry: in its namespaces, and everywhere."""

    __slots__ = ()

    def add(self, principal: str, role: str, *, namespace: str | None = None, pattern: str = "") -> MemberInfo:
        """Grant a role in a namespace; without a namespace, everywhere."""
        body = request_of(MemberAdd, principal=principal, role=role, namespace=namespace, pattern=pattern)
        return self._context.api.post("/members", body, MemberInfo)

    def list(self, namespace: str | None = None, *, cursor: str | None = None, limit: int = 50) -> Listing[MemberInfo]:
        """List the roles in a namespace; without one, those that count everywhere."""
        return self._list("/members", Page[MemberInfo], namespace=namespace, cursor=cursor, limit=limit)

    def end(self, member_id: int) -> MemberInfo:
        """Take a role away, at once."""
        return self._context.api.request("DELETE", f"/members/{member_id}", MemberInfo)

    def explain(self, principal: str, action: str, ref: str) -> AccessAnswer:
        """Explain whether a principal may do something, by what right, or what would grant it."""
        return self._context.api.get("/access/explain", AccessAnswer, principal=principal, action=action, ref=ref)

    def holders(
        self, namespace: str | None = None, *, right: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Listing[AccessHolder]:
        """List who may do what, with their live tokens: in a namespace, or anywhere; with a right, who has that."""
        path = "/access/holders"
        return self._list(path, Page[AccessHolder], namespace=namespace, right=right, cursor=cursor, limit=limit)

    def review(
        self, namespace: str | None = None, *, unused_days: int = 90, cursor: str | None = None, limit: int = 50
    ) -> Listing[AccessFinding]:
        """List who has which role, and which of them look excessive."""
        return self._list(
            "/access/review",
            Page[AccessFinding],
            namespace=namespace,
            unused_days=unused_days,
            cursor=cursor,
            limit=limit,
        )
