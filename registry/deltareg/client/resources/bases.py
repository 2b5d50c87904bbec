"""Bases: what deltas are made for."""

from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.client import use_cases
from deltareg.client.asking.resolving import base_path, resolve
from deltareg.client.resources.resource import AnyPath, Resource
from deltareg.client.results.listing import Listing
from deltareg.refs import Ref
from deltareg.wire import BaseInfo, Page

if TYPE_CHECKING:
    from deltareg.client.folders.base_folder import BaseFolder
    from deltareg.client.results import reports


class Bases(Resource):
    """The bases of a registry, and those on this machine."""

    __slots__ = ()

    def push(self, path: AnyPath, name: str) -> BaseInfo:
        """Store a base with its bytes."""
        return use_cases.push_base.push_base(self._context, Path(path), name)

    def register(self, path: AnyPath, name: str) -> BaseInfo:
        """Record a base's fingerprint; its bytes stay where they are."""
        return use_cases.push_base.register_base(self._context, Path(path), name)

    def list(self, *, cursor: str | None = None, limit: int = 50) -> Listing[BaseInfo]:
        """List bases by name."""
        return self._list("/bases", Page[BaseInfo], cursor=cursor, limit=limit)

    def show(self, name: str) -> BaseInfo:
        """Show one base; a version that is one, by its reference.

        Raises:
            NotFound: There is none, or the version was never a base.
        """
        if "/" in name:
            name = resolve(self._context, Ref.parse(name), bare="newest").ref
        return self._context.api.get(base_path(name), BaseInfo)

    def fetch(self, base: BaseInfo | str) -> "BaseFolder":
        """Open a base on this machine, or bring its bytes into the cache; the caller closes it."""
        info = self.show(base) if isinstance(base, str) else base
        return use_cases.fetching.bring_base(self._context, info)

    def fingerprint(self, path: AnyPath) -> "reports.Fingerprint":
        """Fingerprint a local base; no server is asked."""
        return use_cases.push_base.fingerprint(self._context, Path(path))
