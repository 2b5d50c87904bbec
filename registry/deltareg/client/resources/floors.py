"""Floors: what the server and its namespaces ask of every channel."""

from collections.abc import Mapping

from deltareg.client.resources.resource import Resource
from deltareg.wire import FloorChange, FloorInfo, FloorSet, request_of


class Floors(Resource):
    """The policies of the server and of namespaces, below which no channel's policy goes."""

    __slots__ = ()

    def show(self, namespace: str | None = None) -> FloorInfo:
        """Show what a namespace asks of its channels; by default what the server asks of all."""
        return self._context.api.get(_path(namespace), FloorInfo)

    def set(
        self, policy: Mapping[str, object], *, namespace: str | None = None, reason: str, dry_run: bool = False
    ) -> FloorChange:
        """Replace the floor of a namespace or the server; with `dry_run` return what would change.

        Args:
            policy: The whole policy; an empty one asks for nothing.
            namespace: The namespace; None for the server.
            reason: The reason, which is kept.
            dry_run: Whether to only return what would change.

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
