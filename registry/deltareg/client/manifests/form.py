"""The seam to the systems that manifests are written for: one file a system."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from deltareg.client.manifests.served import ServedVersion
from deltareg.errors import InvalidInput

Manifest = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What a cluster knows and a registry does not; each system asks for some of it.

    Attributes:
        base_model: What the base is served as.
        base_uri: Where the cluster gets the base.
        pool: The pool of pods.
        model: What clients ask for.
        weight: How many of a hundred requests go to the version; None for all.
    """

    base_model: str = ""
    base_uri: str = ""
    pool: str = ""
    model: str = ""
    weight: int | None = None


class ManifestFormat(Protocol):
    """How one system is told to serve a version."""

    name: ClassVar[str]
    """What it is called on the command line."""

    takes: ClassVar[frozenset[str]]
    """The options that mean something to it."""

    def write(
        self, served: ServedVersion, options: ExportOptions, *, beside: ServedVersion | None
    ) -> Sequence[Manifest]:
        """Write its manifests; with `beside`, the rest of the requests goes to that version.

        Raises:
            InvalidInput: It needs something that is not said.
        """
        ...


def require_value(value: str, flag: str, what: str) -> str:
    """Give what somebody said.

    Raises:
        InvalidInput: They did not.
    """
    if not value:
        raise InvalidInput(f"{what} is not said", fix=f"name it: {flag}")
    return value


def resource(version: str, kind: str, served: ServedVersion, spec: Mapping[str, object]) -> Manifest:
    """Put a resource of Kubernetes together."""
    metadata = {"name": served.resource, "annotations": dict(served.annotations)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
