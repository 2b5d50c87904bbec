"""Weights & Biases artifacts that refer to versions of a registry; nothing is uploaded there.

Each file of a version is a reference to its address, which contains the version's digest; the
artifact's metadata describes the version. The run that logs or uses the artifact then appears in
W&B's lineage, and the bytes come from the registry.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Protocol

from deltareg.client import Client
from deltareg.errors import InvalidInput
from deltareg.host.urls import split_url
from deltareg.integrations.addresses import SCHEME, open_client, parse_address

if TYPE_CHECKING:
    from deltareg.client import PullReport
    from deltareg.client.resources.resource import AnyPath

ADDRESS = "deltareg.address"


class _Artifact(Protocol):
    """A `wandb.Artifact`, as far as it is used."""

    metadata: dict[str, object]

    def add_reference(self, uri: str, name: str, *, checksum: bool) -> object: ...


class _Described(Protocol):
    """A logged artifact with its metadata."""

    @property
    def metadata(self) -> Mapping[str, object]: ...


def add_version(artifact: _Artifact, ref: str, *, client: Client | None = None) -> str:
    """Add references to a version to an unlogged artifact; return the version's address.

    Args:
        artifact: A `wandb.Artifact`.
        ref: The version; a bare `ns/name` means what `prod` serves.
        client: The registry's client; by default for the registry of the settings.
    """
    with open_client() if client is None else nullcontext(client) as registry:
        files = registry.versions.files(ref)
        host = split_url(registry.config.server).netloc
    version = files.version
    address = f"{SCHEME}{host}/{version.namespace}/{version.name}@{version.digest}"
    for file in files.files:
        # W&B would ask the address for a checksum, and there is one already: it is in the address.
        artifact.add_reference(f"{address}/{file.path}", name=file.path, checksum=False)
    artifact.metadata |= {
        ADDRESS: address,
        "deltareg.ref": version.ref,
        "deltareg.kind": version.kind,
        "deltareg.base": version.base.name,
        "deltareg.files": {file.path: str(file.digest) for file in files.files},
    }
    return address


def pull_artifact(artifact: _Described, to: "AnyPath | None" = None, *, client: Client | None = None) -> "PullReport":
    """Pull the version that an artifact refers to, every byte checked.

    Args:
        artifact: A `wandb.Artifact`, as `run.use_artifact` returns it.
        to: The target folder; by default the cache.
        client: The registry's client; by default for the registry in the address.

    Raises:
        InvalidInput: The artifact does not refer to a version.
    """
    text = artifact.metadata.get(ADDRESS)
    address = parse_address(text) if isinstance(text, str) else None
    if address is None or not address.ref:
        raise InvalidInput(
            "the artifact refers to no version of a registry",
            fix="make it with deltareg.integrations.wandb.add_version",
        )
    with open_client(address.server) if client is None else nullcontext(client) as registry:
        return registry.pull(address.ref, to)
