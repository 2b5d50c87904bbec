"""What the server and its namespaces ask of every channel."""

from collections.abc import Mapping

from deltareg.client.resources.resource import Resource
from deltareg.wire import FloorChange, FloorInfo, FloorSet, request_of


class Floors(Resource):
    """Policies of the server and of namespaces, below which no channel's policy goes."""

    __slots__ = ()

    def show(self, namespace: str | None = None) -> FloorInfo:
        """Show what a namespace asks of its channels, or without one the server of all."""
        return self._context.api.get(_path(namespace), FloorInfo)

    def set(
        self, policy: Mapping[str, object], *, namespace: str | None = None, reason: str, dry_run: bool = False
    ) -> FloorChange:
        """Replace what a namespace, or the server, asks; or say what that would change.

        Args:
            policy: What is asked, whole; an empty one asks nothing.
            namespace: The namespace; None for the server.
            reason: Why.
            dry_run: Whether to say only what would change.

        Raises:
            StaleRevision: Somebody else replaced it meanwhile.
        """
        current = self.show(namespace)
        request = request_of(FloorSet, policy=dict(policy), reason=reason, dry_run=dry_run)
        return self._context.api.request(
            "PUT", _path(namespace), FloorChange, body=request, headers={"If-Match": f'"{current.digest}"'}
        )


def _path(namespace: str | None) -> str:
    return "/policy" if namespace is None else f"/namespaces/{namespace}/policy"
