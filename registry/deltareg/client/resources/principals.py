"""Principals: people, service accounts and machines."""

from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.refs import parse_name
from deltareg.wire import Page, PrincipalEntry, PrincipalGive, PrincipalInfo, request_of
from deltareg.words import PrincipalKind


class Principals(Resource):
    """The people, service accounts and machines of a registry."""

    __slots__ = ()

    def list(
        self, *, kind: PrincipalKind | None = None, cursor: str | None = None, limit: int = 50
    ) -> Listing[PrincipalEntry]:
        """List principals by name."""
        return self._list("/principals", Page[PrincipalEntry], kind=kind, cursor=cursor, limit=limit)

    def show(self, name: str) -> PrincipalInfo:
        """Show what there is of a principal, and what it would leave to others."""
        return self._context.api.get(_path(name), PrincipalInfo)

    def disable(self, name: str) -> PrincipalInfo:
        """Disable a principal at once: its tokens, its sessions, and what is queued for it."""
        return self._context.api.post(f"{_path(name)}:disable", None, PrincipalInfo)

    def enable(self, name: str) -> PrincipalInfo:
        """Enable a principal again; it needs new tokens."""
        return self._context.api.post(f"{_path(name)}:enable", None, PrincipalInfo)

    def give(self, name: str, to: str) -> PrincipalInfo:
        """Give a service account or a machine another owner, and revoke its tokens."""
        body = request_of(PrincipalGive, to=parse_name(to, "principal"))
        return self._context.api.post(f"{_path(name)}:give", body, PrincipalInfo)


def _path(name: str) -> str:
    return f"/principals/{parse_name(name, 'principal')}"
