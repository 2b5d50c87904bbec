"""The interface to the systems that manifests are written for: one file per system."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from deltareg.client.manifests.served_names import ServedVersion
from deltareg.errors import InvalidInput

Manifest = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What a cluster knows and a registry does not; each system needs some of it.

    Attributes:
        base_model: The name that the base is served under.
        base_uri: Where the cluster fetches the base from.
        pool: The pool of pods.
        model: The model name that clients ask for.
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
        """Write a version's manifests; with `beside`, the other requests go to that version.

        Raises:
            InvalidInput: An option that it needs is missing.
        """
        ...


def require_value(value: str, flag: str, what: str) -> str:
    """Return an option's value.

    Raises:
        InvalidInput: It is empty.
    """
    if not value:
        raise InvalidInput(f"{what} is not said", fix=f"name it: {flag}")
    return value


def resource(version: str, kind: str, served: ServedVersion, spec: Mapping[str, object]) -> Manifest:
    """Build a Kubernetes resource."""
    metadata = {"name": served.resource, "annotations": dict(served.annotations)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
