"""Mirrors: this registry brought in step with another one, or with a bundle of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.client import use_cases
from deltareg.client.resources.resource import AnyPath, Resource

if TYPE_CHECKING:
    from deltareg.client.mirror.bundle import BundleReport
    from deltareg.client.mirror.mirror import MirrorReport
    from deltareg.client.mirror.source import MirrorSource


class Mirrors(Resource):
    """What a registry gives to others, and takes from them."""

    __slots__ = ()

    def source(self, scope: Sequence[str] = ()) -> "MirrorSource":
        """Return this registry as the source of a mirror.

        Args:
            scope: Namespaces and lines, `ns` or `ns/name`; all that the token may read if empty.
        """
        return use_cases.source.RegistrySource(self._context, scope)

    def bring(self, source: "MirrorSource") -> "MirrorReport":
        """Bring this registry in step with a source: versions, bases and what was signed about them.

        Channels are left alone: this registry's policy judges what came.

        Raises:
            Unavailable: One of the two does not answer; run it again, it goes on.
        """
        return use_cases.mirror.bring(self._context, source)

    def save(self, folder: AnyPath, scope: Sequence[str] = ()) -> "BundleReport":
        """Write what `source` has into a folder that travels, with all that its versions stand on."""
        return use_cases.bundle.write_bundle(self.source(scope), Path(folder))

    def load(self, folder: AnyPath) -> "MirrorReport":
        """Bring this registry in step with what `save` wrote.

        Raises:
            InvalidInput: The folder holds no bundle.
            IntegrityFailure: It is damaged.
        """
        return self.bring(use_cases.bundle.BundleSource(Path(folder)))
