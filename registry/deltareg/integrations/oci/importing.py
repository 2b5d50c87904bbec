"""Import: fetches the files of a model from an OCI artifact, each checked against its digest.

It accepts ModelPack artifacts whose layers are single files or plain archives, and images whose
files lie below `models/`. Nothing is written unless all names are valid in a version.
"""

import hashlib
import tarfile
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Protocol, cast

from deltareg.client import Client
from deltareg.documents.json_values import is_object
from deltareg.errors import IntegrityFailure, InvalidInput, NotFound
from deltareg.identity.manifest import check_path
from deltareg.integrations.imported import ImportedFolder
from deltareg.integrations.oci.content import INDEX, Descriptor, decode, descriptor_in, descriptors_in
from deltareg.integrations.oci.layout import LayoutReader, find_in_layout
from deltareg.integrations.oci.packing import FILE_PATH, FOLDER, IMAGE_CONFIG, MODEL, OURS, TITLE
from deltareg.integrations.oci.places import OciLayout, Repository, parse_place
from deltareg.integrations.oci.registry import RegistryClient

_FIX = "unpack it with the tool that made it, then: deltareg push DIR NS/NAME"


class _Reader(Protocol):
    def blob(self, wanted: Descriptor) -> AbstractContextManager[Iterator[bytes]]: ...


@contextmanager
def oci_artifact(client: Client, text: str) -> Generator[ImportedFolder, None, None]:
    """Yield the files of an artifact until the block ends.

    Args:
        client: The target registry, which may know its base.
        text: `oci://host/repository:tag`, or the folder of an OCI layout, with `:tag` behind it.

    Raises:
        NotFound: There is no such artifact.
        InvalidInput: It holds no model, or one in an unsupported form.
        IntegrityFailure: A blob is not what its digest says.
    """
    place = parse_place(text)
    with TemporaryDirectory(prefix="deltareg-oci-") as room:
        folder = Path(room) / "files"
        folder.mkdir()
        if isinstance(place, OciLayout):
            reader = LayoutReader(place.folder)
            own = find_in_layout(place.folder, place.tag)
            with reader.blob(own) as parts:
                raw = b"".join(_check_parts(parts, own))
            yield _write_layers(client, reader, own, raw, folder, f"oci-layout:{place.folder.name}")
        else:
            with RegistryClient(place) as registry:
                own, raw = _fetch_manifest(registry, place)
                source = f"oci://{place.host}/{place.name}@{own.digest}"
                imported = _write_layers(client, registry, own, raw, folder, source)
            yield imported


def _fetch_manifest(registry: RegistryClient, place: Repository) -> tuple[Descriptor, bytes]:
    """Fetch a manifest; for an index, that of the only model in it."""
    own, raw = registry.manifest(place.reference or "latest")
    if own.media_type != INDEX:
        return own, raw
    inside = descriptors_in(decode(raw, what=str(place)), "manifests", what=str(place))
    models = [one for one in inside if one.artifact_type == MODEL] or inside
    if len(models) != 1:
        digests = ", ".join(one.digest[:19] for one in models)
        raise InvalidInput(f"{place} is an index of {len(models)} artifacts: {digests}", fix="name one: @sha256:…")
    return registry.manifest(models[0].digest)


def _write_layers(
    client: Client, reader: _Reader, own: Descriptor, raw: bytes, folder: Path, source: str
) -> ImportedFolder:
    manifest = decode(raw, what=source)
    layers = descriptors_in(manifest, "layers", what=source)
    config = descriptor_in(manifest.get("config"), what=source)
    is_image = config.media_type == IMAGE_CONFIG
    if not is_image and manifest.get("artifactType") != MODEL:
        kind = str(manifest.get("artifactType") or config.media_type)[:120]
        raise InvalidInput(f"{source} holds no model, but {kind}", fix=_FIX)
    for layer in layers:
        _write(reader, layer, folder, is_image=is_image)
    if not any(folder.iterdir()):
        raise NotFound(f"{source} has no file", fix=f"of an image, those below {FOLDER}/ are taken")
    notes = manifest.get("annotations")
    annotations = {k: str(v) for k, v in notes.items()} if is_object(notes) else {}
    labels = {"imported.ref": annotations[f"{OURS}ref"]} if f"{OURS}ref" in annotations else {}
    return ImportedFolder(folder, source, own.digest, _base(client, annotations), labels)


def _base(client: Client, told: dict[str, str]) -> str:
    """Return the base named in the export, if the registry knows it under the same identity."""
    name, root = told.get(f"{OURS}base.name", ""), told.get(f"{OURS}base.root", "")
    if not name or not root:
        return ""
    try:
        return name if client.bases.show(name).root == root else ""
    except (NotFound, InvalidInput):
        return ""


def _write(reader: _Reader, layer: Descriptor, folder: Path, *, is_image: bool) -> None:
    kind = layer.media_type
    if kind.endswith((".tar", ".diff.tar")):
        with reader.blob(layer) as parts:
            _unpack(_check_parts(parts, layer), folder, below=f"{FOLDER}/" if is_image else "")
        return
    if not kind.endswith(".raw"):
        raise InvalidInput(f"a layer of type {kind[:120]} is not read", fix=_FIX)
    name = layer.annotations.get(FILE_PATH) or layer.annotations.get(TITLE, "")
    target = _target(folder, name)
    with reader.blob(layer) as parts, target.open("xb") as file:
        for part in _check_parts(parts, layer):
            file.write(part)


def _check_parts(parts: Iterator[bytes], wanted: Descriptor) -> Iterator[bytes]:
    """Yield bytes as they arrive, limit their number, and compare their digest.

    Raises:
        IntegrityFailure: The bytes differ.
    """
    hasher, remaining_bytes = hashlib.sha256(), wanted.size_bytes
    for part in parts:
        remaining_bytes -= len(part)
        if remaining_bytes < 0:
            break
        hasher.update(part)
        yield part
    if remaining_bytes or f"sha256:{hasher.hexdigest()}" != wanted.digest:
        raise IntegrityFailure(
            f"a blob came that is not {wanted.digest[:19]}…", fix="import it again; else ask who runs that registry"
        )


def _unpack(parts: Iterator[bytes], folder: Path, *, below: str) -> None:
    """Write the regular files of an archive; links, devices and the like are refused.

    Raises:
        InvalidInput: It is not an archive, or holds something other than files.
    """
    stream = _Stream(parts)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as tar:
            for entry in tar:
                name = PurePosixPath(entry.name).as_posix().removeprefix("./")
                if entry.isdir() or not name.startswith(below):
                    continue
                data = tar.extractfile(entry) if entry.isreg() else None
                if data is None:
                    raise InvalidInput(f"{name[:120]!r} in a layer is no file", fix=_FIX)
                with data, _target(folder, name.removeprefix(below)).open("xb") as file:
                    while part := data.read(1 << 20):
                        file.write(part)
    except tarfile.TarError as error:
        raise InvalidInput(f"a layer is no archive: {error}", fix=_FIX) from error
    stream.drain()


def _target(folder: Path, name: str) -> Path:
    """Return the path of a file; a name that could lead elsewhere is refused."""
    target = folder / check_path(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise InvalidInput(f"{name[:120]!r} is there twice", fix=_FIX)
    return target


class _Stream:
    """Bytes that arrive in parts, as a file that is read sequentially."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts, self._rest = parts, b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size:
            part = next(self._parts, None)
            if part is None:
                break
            self._rest += part
        block, self._rest = self._rest[:size], self._rest[size:]
        return block

    def drain(self) -> None:
        """Read what follows the end of the archive, so that all of it is checked."""
        for _ in self._parts:
            pass
