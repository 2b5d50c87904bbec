"""The parts of an OCI artifact: blobs by their sha256, descriptors of them, a manifest.

Everything is written in a canonical form (sorted keys, no spaces, no time but the version's own),
so that a version gives the same artifact whoever exports it, and when.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deltareg.documents.json_values import is_count, is_list, is_object, parse_json
from deltareg.errors import IntegrityFailure, InvalidInput

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
MOST_MANIFEST_BYTES = 4 << 20
_READ_BYTES = 1 << 20

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob, described by its content.

    Attributes:
        media_type: Its media type.
        digest: `sha256:` and 64 hex digits.
        size_bytes: Its length.
        annotations: Its annotations.
        artifact_type: For a manifest, the type of its artifact.
    """

    media_type: str
    digest: str
    size_bytes: int
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    artifact_type: str = ""

    def to_json(self) -> dict[str, object]:
        """Return it as documents have it."""
        fields: dict[str, object] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes}
        if self.artifact_type:
            fields["artifactType"] = self.artifact_type
        if self.annotations:
            fields["annotations"] = dict(self.annotations)
        return fields


@dataclass(frozen=True, slots=True)
class OciBlob:
    """Bytes at hand: in memory, or in a file.

    Attributes:
        descriptor: The descriptor of the bytes.
        body: The bytes, or the file that holds them.
    """

    descriptor: Descriptor
    body: bytes | Path

    @classmethod
    def of(cls, body: bytes, media_type: str, *, artifact_type: str = "") -> "OciBlob":
        """Build a blob of bytes in memory."""
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        descriptor = Descriptor(media_type, digest, len(body), artifact_type=artifact_type)
        return cls(descriptor, body)

    def read(self) -> Iterator[bytes]:
        """Yield the bytes and check their digest on the way.

        Raises:
            IntegrityFailure: At the end, if the digest differs.
        """
        hasher = hashlib.sha256()
        for part in self._parts():
            hasher.update(part)
            yield part
        if f"sha256:{hasher.hexdigest()}" != self.descriptor.digest:
            raise IntegrityFailure(
                f"{self.body if isinstance(self.body, Path) else 'a blob'} is not"
                f" {self.descriptor.digest[:19]}… any more",
                fix="export again",
            )

    def _parts(self) -> Iterator[bytes]:
        if isinstance(self.body, bytes):
            yield self.body
            return
        with self.body.open("rb") as file:
            while part := file.read(_READ_BYTES):
                yield part


@dataclass(frozen=True, slots=True)
class OciBundle:
    """A manifest with everything that it names.

    Attributes:
        manifest: The manifest itself.
        blobs: Config and layers.
        referrers: Artifacts about this one, signatures and verdicts; each names it as its subject.
    """

    manifest: OciBlob
    blobs: Sequence[OciBlob]
    referrers: Sequence["OciBundle"] = ()


def make_manifest(
    artifact_type: str,
    config: OciBlob,
    layers: Sequence[OciBlob],
    *,
    annotations: Mapping[str, str],
    subject: Descriptor | None = None,
) -> OciBundle:
    """Build a manifest for a config and layers; without an artifact type it is an image's."""
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor.to_json(),
        "layers": [layer.descriptor.to_json() for layer in layers],
        "annotations": dict(annotations),
    }
    if artifact_type:
        document["artifactType"] = artifact_type
    if subject is not None:
        document["subject"] = subject.to_json()
    raw = OciBlob.of(encode(document), MANIFEST, artifact_type=artifact_type)
    return OciBundle(raw, [config, *layers])


def encode(document: Json) -> bytes:
    """Format JSON in the canonical form that digests are computed over."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode(raw: bytes, *, what: str) -> Json:
    """Parse a manifest or an index from outside.

    Raises:
        InvalidInput: It is not a JSON object.
    """
    try:
        document: object = parse_json(raw)
    except ValueError as error:
        raise InvalidInput(f"{what} is no JSON document", fix=_WHICH) from error
    if not is_object(document):
        raise InvalidInput(f"{what} is no JSON object", fix=_WHICH)
    return document


def descriptor_in(value: object, *, what: str) -> Descriptor:
    """Read a descriptor.

    Raises:
        InvalidInput: The value is not a descriptor, or its digest is not a sha256.
    """
    fields = value if is_object(value) else {}
    kind, digest, size = (fields.get(key) for key in ("mediaType", "digest", "size"))
    if not isinstance(kind, str) or not isinstance(digest, str) or not is_count(size):
        raise InvalidInput(f"{what} has something that is no descriptor", fix=_WHICH)
    is_digest = digest.startswith("sha256:") and len(digest) == 71
    if not is_digest or set(digest[7:]) - set("0123456789abcdef"):
        raise InvalidInput(f"{what} names {digest[:80]!r}, which is no sha256", fix=_WHICH)
    annotations = fields.get("annotations")
    notes = {k: v for k, v in annotations.items() if isinstance(v, str)} if is_object(annotations) else {}
    return Descriptor(kind, digest, size, notes, str(fields.get("artifactType") or ""))


def descriptors_in(document: Json, key: str, *, what: str) -> list[Descriptor]:
    """Read a list of descriptors; a missing list is empty.

    Raises:
        InvalidInput: The value is not a list of descriptors.
    """
    items = document.get(key, [])
    if not is_list(items):
        raise InvalidInput(f"{key} of {what} is no list", fix=_WHICH)
    return [descriptor_in(one, what=what) for one in items]


_WHICH = "name an OCI artifact that holds a model: oci://HOST/REPOSITORY:TAG, or the folder of one"
