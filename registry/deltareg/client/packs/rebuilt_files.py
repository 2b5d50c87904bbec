"""Rebuilds pieces, and files from pieces, with checks on the way."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from deltareg.client.disk.weights_file import write_stream
from deltareg.client.progress import Meter
from deltareg.codec.rebuild import PieceRebuilder
from deltareg.digest import Digest, Hasher
from deltareg.errors import IntegrityFailure
from deltareg.identity.manifest import Manifest, ManifestFile
from deltareg.tensors.header import parse_header


def write_files(folder: Path, manifest: Manifest, rebuild: PieceRebuilder, *, meter: Meter) -> None:
    """Write every file of a manifest into a folder, byte for byte as it was pushed.

    Raises:
        IntegrityFailure: A file is not what its sha256 says.
    """
    for file in manifest.files:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        body = file_bytes(manifest, file, rebuild)
        _write_checked(target, body, expected=file.digest, meter=meter)


def _write_checked(target: Path, body: Iterable[memoryview | bytes], *, expected: Digest, meter: Meter) -> None:
    """Write a file and hash it on the way.

    Raises:
        IntegrityFailure: The file's digest is not `expected`.
        DiskFull: The disk is full.
    """
    hasher = hashlib.sha256()
    write_stream(target, _hash_chunks(body, hasher), meter=meter)
    digest = Digest("sha256", hasher.hexdigest())
    if digest != expected:
        raise IntegrityFailure(
            f"{target.name} was rebuilt as {digest.short}, expected {expected.short}",
            fix="pull again; if it happens again, push the same folder again",
        )


def _hash_chunks(body: Iterable[memoryview | bytes], hasher: Hasher) -> Iterator[memoryview | bytes]:
    for chunk in body:
        hasher.update(chunk)
        yield chunk


def file_bytes(manifest: Manifest, file: ManifestFile, rebuild: PieceRebuilder) -> Iterator[memoryview]:
    """Yield the bytes of a file in order, checking each piece at its end."""
    if not file.is_tensors:
        yield from rebuild([file.part])
        return
    head = b"".join(rebuild([file.part]))
    yield memoryview(head)
    pieces = {t.name: t.piece for t in manifest.tensors if t.file == file.path}
    # In the order of their data, decoded ahead across the borders of tensors.
    yield from rebuild(pieces[name] for name in parse_header(head, file.size_bytes).tensors)
