"""Quotas: what namespaces and people may have, and what they use."""

from collections.abc import Mapping
from urllib.parse import quote

from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.refs import parse_name
from deltareg.wire import Page, QuotaInfo, QuotaSet, request_of
from deltareg.words import QuotaResource


class Quotas(Resource):
    """The quotas of a registry, by name.

    A name is that of a namespace, or `@` and that of a person or a script. None stands for each
    namespace that has no limits of its own, `@` alone for each such person.
    """

    __slots__ = ()

    def list(self, *, cursor: str | None = None, limit: int = 50) -> Listing[QuotaInfo]:
        """List the quotas that you may see, by name."""
        return self._list("/quotas", Page[QuotaInfo], cursor=cursor, limit=limit)

    def show(self, name: str | None = None) -> QuotaInfo:
        """Show a quota, what is used of it, and what would free room where that is much."""
        return self._context.api.get(_path(name), QuotaInfo)

    def set(self, name: str | None, limits: Mapping[QuotaResource, int | None]) -> QuotaInfo:
        """Replace all limits of a name; only admins may.

        Args:
            name: The name; None for each namespace that has no limits of its own.
            limits: The limits, by resource; None is no limit although there is one for all.

        Raises:
            Forbidden: You are no admin.
        """
        body = request_of(QuotaSet, limits=dict(limits))
        return self._context.api.request("PUT", _path(name), QuotaInfo, body=body)


def _path(name: str | None) -> str:
    if name is None:
        return "/quota"
    if name.startswith("@"):
        return f"/principals/{quote(name[1:] or '*', safe='*')}/quota"
    return f"/namespaces/{parse_name(name, 'namespace')}/quota"
