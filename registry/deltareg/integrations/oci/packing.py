"""Packs a version as an OCI artifact, in one of two profiles.

`modelpack` has a layer for each file, under the names that the ModelPack specification gives them.
`image` is for container runtimes: one layer with the files below `models/`, for image volumes of
Kubernetes and for KServe.
"""

import hashlib
import tarfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

from deltareg.identity.manifest import Manifest, ManifestFile
from deltareg.integrations.oci.content import Descriptor, OciBlob, OciBundle, encode, make_manifest
from deltareg.wire import VersionDetail

Profile = Literal["modelpack", "image"]
PROFILES: tuple[Profile, ...] = get_args(Profile)

MODEL = "application/vnd.cncf.model.manifest.v1+json"
MODEL_CONFIG = "application/vnd.cncf.model.config.v1+json"
WEIGHTS = "application/vnd.cncf.model.weight.v1.raw"
WEIGHTS_CONFIG = "application/vnd.cncf.model.weight.config.v1.raw"
DOCUMENT = "application/vnd.cncf.model.doc.v1.raw"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
TAR = "application/vnd.oci.image.layer.v1.tar"

FILE_PATH = "org.cncf.model.filepath"
TITLE = "org.opencontainers.image.title"
OURS = "dev.deltareg."
FOLDER = "models"
_DOCUMENTS = (".md", ".txt")
_DOCUMENT_NAMES = {"LICENSE", "LICENCE", "NOTICE"}


@contextmanager
def pack_version(
    folder: Path, version: VersionDetail, manifest: Manifest, profile: Profile
) -> Generator[OciBundle, None, None]:
    """Yield the artifact of a version whose files lie in a folder."""
    if profile == "modelpack":
        yield _modelpack(folder, version, manifest)
        return
    with TemporaryDirectory(prefix="deltareg-oci-") as room:
        yield _image(folder, version, manifest, Path(room) / "layer.tar")


def annotations_of(version: VersionDetail) -> dict[str, str]:
    """Return annotations for what never changes about a version."""
    return {
        TITLE: f"{version.namespace}/{version.name}",
        "org.opencontainers.image.version": f"v{version.version}",
        "org.opencontainers.image.created": version.created_at,
        f"{OURS}ref": version.ref,
        f"{OURS}digest": version.digest,
        f"{OURS}kind": version.kind,
        f"{OURS}base.name": version.base.name,
        f"{OURS}base.root": version.base.root,
    }


def _modelpack(folder: Path, version: VersionDetail, manifest: Manifest) -> OciBundle:
    layers = [_layer(folder, file) for file in manifest.files]
    descriptor = {
        "name": f"{version.namespace}/{version.name}",
        "version": f"v{version.version}",
        "revision": version.digest,
        "createdAt": version.created_at,
        **({"description": version.message} if version.message else {}),
    }
    dtypes = {tensor.dtype for tensor in manifest.tensors}
    precision = {"precision": min(dtypes).lower()} if len(dtypes) == 1 else {}
    config = {
        "descriptor": descriptor,
        "config": {"format": "safetensors", **precision},
        "modelfs": {"type": "layers", "diffIds": [layer.descriptor.digest for layer in layers]},
    }
    return make_manifest(MODEL, OciBlob.of(encode(config), MODEL_CONFIG), layers, annotations=annotations_of(version))


def _layer(folder: Path, file: ManifestFile) -> OciBlob:
    name = file.path.rpartition("/")[2]
    is_document = name.endswith(_DOCUMENTS) or name in _DOCUMENT_NAMES
    kind = WEIGHTS if file.is_tensors else DOCUMENT if is_document else WEIGHTS_CONFIG
    notes = {FILE_PATH: file.path, TITLE: file.path}
    descriptor = Descriptor(kind, str(file.digest), file.size_bytes, notes)
    return OciBlob(descriptor, folder / file.path)


def _image(folder: Path, version: VersionDetail, manifest: Manifest, target: Path) -> OciBundle:
    digest, size = _write_tar(folder, manifest, target)
    layer = OciBlob(Descriptor(TAR, digest, size), target)
    config: Mapping[str, object] = {
        # Some runtimes want to know; nothing in it runs, so it is the same on every machine.
        "architecture": "amd64",
        "os": "linux",
        "created": version.created_at,
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest]},
        "history": [{"created": version.created_at, "created_by": "deltareg export"}],
    }
    blob = OciBlob.of(encode(config), IMAGE_CONFIG)
    return make_manifest("", blob, [layer], annotations=annotations_of(version))


def _write_tar(folder: Path, manifest: Manifest, target: Path) -> tuple[str, int]:
    """Write the single layer, the same bytes each time; return its digest and size."""
    with target.open("wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
        for name in _folders(manifest):
            tar.addfile(_entry(name, tarfile.DIRTYPE, 0o755))
        for each in manifest.files:
            entry = _entry(f"{FOLDER}/{each.path}", tarfile.REGTYPE, 0o644)
            with (folder / each.path).open("rb") as data:
                tar.addfile(_set_size(entry, each.size_bytes), data)
    with target.open("rb") as archive:
        digest = hashlib.file_digest(archive, "sha256").hexdigest()
    return f"sha256:{digest}", target.stat().st_size


def _folders(manifest: Manifest) -> list[str]:
    folders = {FOLDER}
    for file in manifest.files:
        parts = file.path.split("/")[:-1]
        folders |= {"/".join([FOLDER, *parts[: n + 1]]) for n in range(len(parts))}
    return sorted(folders)


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode  # who, whose and when are all 0
    return entry


def _set_size(entry: tarfile.TarInfo, size_bytes: int) -> tarfile.TarInfo:
    entry.size = size_bytes
    return entry


def with_referrers(artifact: OciBundle, referrers: list[OciBundle]) -> OciBundle:
    """Return an artifact with its referrers added."""
    return replace(artifact, referrers=referrers)
