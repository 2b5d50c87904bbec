"""An OCI layout: a folder with blobs by digest, and an index of its artifacts."""

import hashlib
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from deltareg.documents.json_values import is_object
from deltareg.errors import Conflict, IntegrityFailure, InvalidInput, NotFound
from deltareg.integrations.oci.content import (
    INDEX,
    MOST_MANIFEST_BYTES,
    Descriptor,
    OciBlob,
    OciBundle,
    decode,
    descriptors_in,
    encode,
)
from deltareg.integrations.oci.packing import TITLE

_MARK = b'{"imageLayoutVersion":"1.0.0"}'
_NAME = "org.opencontainers.image.ref.name"


def write_layout(folder: Path, artifact: OciBundle, *, tag: str) -> None:
    """Add an artifact to a layout, which is created if it does not exist.

    The tag's former artifact and its referrers are removed from the index; blobs stay.

    Raises:
        Conflict: The folder holds something else, or the tag is another delta's.
    """
    if folder.exists() and not (folder / "oci-layout").exists() and any(folder.iterdir()):
        raise Conflict(f"{folder} is no OCI layout and not empty", fix="name another folder")
    _check_tag(folder, artifact, tag)
    (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    for blob in _all(artifact):
        _keep(folder, blob)
    own = artifact.manifest.descriptor
    descriptor = Descriptor(own.media_type, own.digest, own.size_bytes, {_NAME: tag}, own.artifact_type)
    referrers = [one.manifest.descriptor for one in artifact.referrers]
    outdated = {tag, *(_of_subject(folder, tag) if (folder / "index.json").exists() else ())}
    entries = [
        one
        for one in (read_index(folder) if (folder / "index.json").exists() else ())
        if not {one.annotations.get(_NAME), one.digest} & (outdated | {each.digest for each in referrers})
    ]
    manifests = [one.to_json() for one in (*entries, descriptor, *referrers)]
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
    _write(folder / "oci-layout", [_MARK])
    _write(folder / "index.json", [encode(index)])


def read_index(folder: Path) -> list[Descriptor]:
    """List the manifests in a layout's index.

    Raises:
        NotFound: The folder is not a layout.
    """
    path = folder / "index.json"
    if not path.is_file():
        raise NotFound(f"{folder} is no OCI layout", fix="it has to hold oci-layout and index.json")
    if path.stat().st_size > MOST_MANIFEST_BYTES:
        raise InvalidInput(f"{path} is too long for an index", fix="export it again")
    return descriptors_in(decode(path.read_bytes(), what=str(path)), "manifests", what=str(path))


def find_in_layout(folder: Path, tag: str) -> Descriptor:
    """Return the artifact of a tag, or the only artifact.

    Raises:
        NotFound: There is none, or more than one.
    """
    tagged = [one for one in read_index(folder) if one.annotations.get(_NAME)]
    tags = sorted(one.annotations[_NAME] for one in tagged)
    matches = [one for one in tagged if tag in {"", one.annotations[_NAME]}]
    if len(matches) == 1:
        return matches[0]
    description = f"the tag {tag!r}" if tag else "one artifact, and no other"
    raise NotFound(f"{folder} has not {description}", fix=f"it has {', '.join(tags) or 'none'}")


class LayoutReader:
    """Reads the blobs of a layout, each checked against its digest."""

    def __init__(self, folder: Path) -> None:
        """Read from a folder."""
        self._folder = folder

    @contextmanager
    def blob(self, wanted: Descriptor) -> Generator[Iterator[bytes], None, None]:
        """Open a blob; the caller checks its digest."""
        path = _path(self._folder, wanted.digest)
        try:
            file: IO[bytes] = path.open("rb")
        except OSError as error:
            raise NotFound(f"{self._folder} has not the blob {wanted.digest[:19]}…", fix="export it again") from error
        with file:
            yield iter(lambda: file.read(1 << 20), b"")


def _check_tag(folder: Path, artifact: OciBundle, tag: str) -> None:
    """Refuse to take a tag from another delta.

    Raises:
        Conflict: The tag belongs to another delta.
    """
    title = _title(artifact.manifest)
    with suppress(NotFound, OSError):
        there = find_in_layout(folder, tag)
        body = _path(folder, there.digest).read_bytes()
        if _title(OciBlob(there, body)) != title:
            raise Conflict(
                f"{tag} of {folder} is {_title(OciBlob(there, body)) or 'something else'}",
                fix=f"name another folder or tag: {folder}:TAG",
            )


def _title(manifest: OciBlob) -> str:
    raw = manifest.body if isinstance(manifest.body, bytes) else manifest.body.read_bytes()
    notes = decode(raw, what="a manifest").get("annotations")
    return str(notes.get(TITLE, "")) if is_object(notes) else ""


def _of_subject(folder: Path, tag: str) -> set[str]:
    """Return the digests of what refers to a tag's artifact."""
    index = read_index(folder)
    subjects = {one.digest for one in index if one.annotations.get(_NAME) == tag}
    digests: set[str] = set()
    for one in index:
        with suppress(OSError):
            subject = decode(_path(folder, one.digest).read_bytes(), what=one.digest).get("subject")
            if is_object(subject) and subject.get("digest") in subjects:
                digests.add(one.digest)
    return digests


def _all(artifact: OciBundle) -> Iterator[OciBlob]:
    yield from artifact.blobs
    yield artifact.manifest
    for one in artifact.referrers:
        yield from _all(one)


def _keep(folder: Path, blob: OciBlob) -> None:
    """Write a blob, unless an intact one is there.

    Raises:
        IntegrityFailure: The file changed while it was written.
    """
    path = _path(folder, blob.descriptor.digest)
    if path.is_file() and path.stat().st_size == blob.descriptor.size_bytes:
        with path.open("rb") as file:
            if f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == blob.descriptor.digest:
                return
    _write(path, blob.read())


def _write(path: Path, parts: Iterable[bytes]) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except IntegrityFailure:
        draft.unlink(missing_ok=True)
        raise


def _path(folder: Path, digest: str) -> Path:
    return folder / "blobs" / "sha256" / digest.removeprefix("sha256:")
