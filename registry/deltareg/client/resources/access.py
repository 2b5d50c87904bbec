"""Access: roles, and everything about it as one document."""

from collections.abc import Iterable, Sequence

from deltareg.client.resources.resource import Resource
from deltareg.refs import parse_name
from deltareg.wire import AccessApply, AccessDocument, AccessPlan, Page, RoleInfo, RoleSet, request_of


class Access(Resource):
    """The roles that may be given in a registry, and its groups, namespaces and members as one document."""

    __slots__ = ()

    def export(self) -> AccessDocument:
        """Write down all about access that the caller sees."""
        return self._context.api.get("/access", AccessDocument)

    def apply(self, document: AccessDocument, *, prune: bool = False, dry_run: bool = False) -> AccessPlan:
        """Make access what a document says, all of it or nothing; with `dry_run`, say what would change.

        Args:
            document: What it is to be.
            prune: Whether to take away what the document leaves out of what it is about.
            dry_run: Whether to change nothing.
        """
        body = AccessApply(document=document, prune=prune, dry_run=dry_run)
        return self._context.api.post("/access:apply", body, AccessPlan)

    def list_roles(self, namespace: str | None = None) -> Sequence[RoleInfo]:
        """List the roles that may be given in a namespace; without one, everywhere."""
        return self._context.api.get("/roles", Page[RoleInfo], namespace=namespace).items

    def set_role(self, name: str, rights: Iterable[str], *, namespace: str | None = None) -> RoleInfo:
        """Define a role for all namespaces, or of one; whoever holds it already has at once what it gives now."""
        body = request_of(RoleSet, name=name, namespace=namespace, rights=[*rights])
        return self._context.api.post("/roles", body, RoleInfo)

    def remove_role(self, name: str, *, namespace: str | None = None) -> RoleInfo:
        """Remove a role, and take it from all who hold it."""
        path = f"/roles/{parse_name(name, 'role')}"
        return self._context.api.request("DELETE", path, RoleInfo, query={"namespace": namespace})
