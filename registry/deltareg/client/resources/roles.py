"""Roles: the built-in ones, and those of one's own."""

from collections.abc import Iterable, Sequence

from deltareg.client.resources.resource import Resource
from deltareg.refs import parse_name
from deltareg.wire import Page, RoleInfo, RoleSet, request_of


class Roles(Resource):
    """The roles that may be given in a registry."""

    __slots__ = ()

    def list(self, namespace: str | None = None) -> Sequence[RoleInfo]:
        """List the roles that may be given in a namespace; without one, everywhere."""
        return self._context.api.get("/roles", Page[RoleInfo], namespace=namespace).items

    def set(self, name: str, rights: Iterable[str], *, namespace: str | None = None) -> RoleInfo:
        """Define a role for all namespaces, or of one; whoever holds it already has at once what it gives now."""
        body = request_of(RoleSet, name=name, namespace=namespace, rights=[*rights])
        return self._context.api.post("/roles", body, RoleInfo)

    def remove(self, name: str, *, namespace: str | None = None) -> RoleInfo:
        """Remove a role, and take it from all who hold it."""
        path = f"/roles/{parse_name(name, 'role')}"
        return self._context.api.request("DELETE", path, RoleInfo, query={"namespace": namespace})
