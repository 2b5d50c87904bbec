"""Namespaces and their visibility."""

from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.refs import parse_name
from deltareg.wire import (
    NameChange,
    NamespaceChange,
    NamespaceCreate,
    NamespaceDecide,
    NamespaceInfo,
    NamespaceRequestInfo,
    Page,
    Rename,
    Visibility,
    request_of,
)
from deltareg.words import NamespaceRequestState

_REQUESTS = "/namespace-requests"


class Namespaces(Resource):
    """The namespaces of a registry."""

    __slots__ = ()

    def list(self, *, cursor: str | None = None, limit: int = 50) -> Listing[NamespaceInfo]:
        """List namespaces by name."""
        return self._list("/namespaces", Page[NamespaceInfo], cursor=cursor, limit=limit)

    def show(self, name: str) -> NamespaceInfo:
        """Show a namespace."""
        return self._context.api.get(f"/namespaces/{name}", NamespaceInfo)

    def create(self, name: str, *, visibility: Visibility = "internal", reason: str = "") -> NamespaceInfo:
        """Create an empty namespace, which its creator then owns.

        Raises:
            ApprovalDue: Admins alone make namespaces there; a request for it is open, with the reason.
        """
        body = request_of(NamespaceCreate, name=name, visibility=visibility, reason=reason)
        return self._context.api.post("/namespaces", body, NamespaceInfo)

    def requests(
        self, *, state: NamespaceRequestState | None = "open", cursor: str | None = None, limit: int = 50
    ) -> Listing[NamespaceRequestInfo]:
        """List requests for namespaces, newest first: one's own, or all as an admin."""
        return self._list(_REQUESTS, Page[NamespaceRequestInfo], state=state, cursor=cursor, limit=limit)

    def grant(self, request_id: int, *, reason: str = "") -> NamespaceRequestInfo:
        """Make the namespace that somebody asked for, and give it to them."""
        body = request_of(NamespaceDecide, reason=reason)
        return self._context.api.post(f"{_REQUESTS}/{request_id}:grant", body, NamespaceRequestInfo)

    def refuse(self, request_id: int, *, reason: str) -> NamespaceRequestInfo:
        """Refuse a request for a namespace."""
        body = request_of(NamespaceDecide, reason=reason)
        return self._context.api.post(f"{_REQUESTS}/{request_id}:refuse", body, NamespaceRequestInfo)

    def change(self, name: str, *, visibility: Visibility) -> NamespaceInfo:
        """Make a namespace private, internal or public."""
        body = request_of(NamespaceChange, visibility=visibility)
        return self._context.api.request("PATCH", f"/namespaces/{name}", NamespaceInfo, body=body)

    def rename(self, name: str, to: str) -> NameChange:
        """Give a namespace another name; its former name leads on to it.

        Raises:
            Forbidden: The caller does not own it.
            Conflict: The name is taken.
        """
        body = request_of(Rename, to=parse_name(to, "namespace"))
        return self._context.api.post(f"/namespaces/{parse_name(name, 'namespace')}:rename", body, NameChange)
