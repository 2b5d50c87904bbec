"""Export: writes a version and its signatures as an OCI artifact to a folder or a registry."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from deltareg.client import Client
from deltareg.integrations.oci.layout import write_layout
from deltareg.integrations.oci.packing import Profile, pack_version, with_referrers
from deltareg.integrations.oci.places import OciLayout, parse_place
from deltareg.integrations.oci.referring import referrers_of
from deltareg.integrations.oci.registry import RegistryClient
from deltareg.wire import SCHEMA_VERSION, Revocation
from deltareg.wire.tables import facts_html


@dataclass(frozen=True, slots=True)
class ExportReport:
    """An exported version.

    Attributes:
        ref: The version.
        profile: `modelpack` or `image`.
        place: Where the artifact is, with its tag.
        digest: The artifact's digest, which is that of its manifest.
        size_bytes: Bytes of all its layers.
        referrers: How many of each type refer to it: signatures, attestations, verdicts.
        revocation: The revocation, if the version is revoked.
    """

    ref: str
    profile: Profile
    place: str
    digest: str
    size_bytes: int
    referrers: Mapping[str, int]
    revocation: Revocation | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the object of `deltareg export --json`."""
        fields: dict[str, object] = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        fields["revocation"] = self.revocation and self.revocation.model_dump()
        return fields

    def _repr_html_(self) -> str:
        return facts_html(f"exported {self.ref}", self.to_dict())


def export_version(client: Client, ref: str, target: str, *, profile: Profile = "modelpack") -> ExportReport:
    """Write a version as an OCI artifact; the same version gives the same artifact each time.

    Args:
        client: The registry that has it.
        ref: The version; a bare `ns/name` means what `prod` serves.
        target: A folder, which becomes an OCI layout, or `oci://host/repository[:tag]`.
        profile: `modelpack`, with a layer for each file, or `image`, for container runtimes.

    Raises:
        Conflict: The folder holds something else, or the registry does not accept such an artifact.
    """
    place = parse_place(target)
    report = client.pull(ref)
    version = client.versions.show(report.ref)
    tag = place.tag or f"v{version.version}{'-image' if profile == 'image' else ''}"
    with pack_version(report.path, version, report.manifest, profile) as bare:
        referrers = list(referrers_of(client, version, bare.manifest.descriptor))
        artifact = with_referrers(bare, referrers)
        if isinstance(place, OciLayout):
            write_layout(place.folder, artifact, tag=tag)
            where = str(OciLayout(place.folder, tag))
        else:
            with RegistryClient(place) as registry:
                registry.send(artifact, tag=tag)
            where = f"oci://{place.host}/{place.name}:{tag}"
    counts: dict[str, int] = {}
    for one in referrers:
        kind = one.manifest.descriptor.artifact_type
        counts[kind] = counts.get(kind, 0) + 1
    return ExportReport(
        version.ref,
        profile,
        where,
        bare.manifest.descriptor.digest,
        sum(blob.descriptor.size_bytes for blob in bare.blobs[1:]),
        counts,
        report.revocation,
    )
