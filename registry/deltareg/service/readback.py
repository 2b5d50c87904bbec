"""Reading back what a push brought: the headers and documents that rules are applied to.

Only the small parts are read, never tensor data. They must stand alone in the packs, so that the
server needs no base and no earlier version to understand an upload.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.codec import decode_piece
from deltareg.delta.delta_manifest import is_document
from deltareg.delta.kind import DeltaFiles
from deltareg.digest import Digest, sha256_of
from deltareg.errors import IntegrityFailure, Problem, Refused
from deltareg.identity.manifest import BASE_KIND, Manifest, ManifestFile
from deltareg.identity.storage_map import Chunk, StorageMap
from deltareg.store import BlobStore
from deltareg.tensors.header import (
    FULL_LIMITS,
    FileLimits,
    SafetensorsHeader,
    check_size,
    limits_for,
    parse_header,
    strict_json_object,
)

_DOCUMENT_BYTES = 4 << 20
_HEADER_BYTES, _ENTRY_BYTES = 64 << 10, 1 << 10
_PUSH = "push it again with a current client"


@dataclass(frozen=True, slots=True)
class Readback:
    """Reads small parts of an upload or a version from the store.

    Attributes:
        store: The store that holds the packs.
        keys: The physical key of each pack.
        storage: The storage map.
    """

    store: BlobStore
    keys: Mapping[Digest, str]
    storage: StorageMap

    def file_part(self, file: ManifestFile, *, tensors: int = 0) -> bytes:
        """Read the header of a file, or all of a small file.

        Raises:
            IntegrityFailure: The bytes do not have their digest.
            Refused: The part does not stand alone.
        """
        limit = _header_limit(tensors) if file.is_tensors else _DOCUMENT_BYTES
        if file.part.size_bytes > limit:
            raise _refuse("limits", f"{file.path}: {file.part.size_bytes} bytes, at most {limit}")
        piece = self.storage.pieces[file.part.digest]
        if piece.reference is not None:
            raise _refuse("header", f"{file.path} must be stored without a reference")
        return b"".join(decode_piece(piece, file.part, fetch=self._fetch, read_reference=None))

    def delta_files(self, manifest: Manifest) -> DeltaFiles:
        """Read every header and JSON document of an upload and compare them with its manifest.

        Raises:
            Refused: A header does not pass, or the manifest lists other tensors than the headers.
        """
        paths = [file.path for file in manifest.files]
        limits = FULL_LIMITS if manifest.kind == BASE_KIND else limits_for(paths)
        check_size(len(paths), manifest.logical_bytes, limits)
        headers: dict[str, SafetensorsHeader] = {}
        documents: dict[str, Mapping[str, object]] = {}
        for file in manifest.files:
            if file.is_tensors:
                headers[file.path] = self._header(manifest, file, limits)
            elif is_document(file.path) and file.size_bytes <= _DOCUMENT_BYTES:
                raw = self.file_part(file)
                if sha256_of(raw) != file.digest:
                    raise IntegrityFailure(f"{file.path} is not what its sha256 says", fix=_PUSH)
                documents[file.path] = strict_json_object(raw)
        sizes = {file.path: file.size_bytes for file in manifest.files}
        convention = manifest.config.get("convention", "")
        return DeltaFiles(sizes, headers, documents, str(convention))

    def _header(self, manifest: Manifest, file: ManifestFile, limits: FileLimits) -> SafetensorsHeader:
        count = sum(tensor.file == file.path for tensor in manifest.tensors)
        raw = self.file_part(file, tensors=count)
        header = parse_header(raw, file.size_bytes, limits)
        expected = {t.name: (t.dtype, t.shape) for t in manifest.tensors if t.file == file.path}
        actual = {name: (info.dtype, info.shape) for name, info in header.tensors.items()}
        if expected != actual:
            raise _refuse("header", f"the manifest lists other tensors than {file.path} holds")
        return header

    def _fetch(self, chunk: Chunk) -> bytes:
        stop = chunk.offset + chunk.length
        return b"".join(self.store.read(self.keys[chunk.pack], chunk.offset, stop))


def _header_limit(tensors: int) -> int:
    """Return the largest header that a number of tensors may have, so that no claim is huge."""
    return _HEADER_BYTES + tensors * _ENTRY_BYTES


def _refuse(code: str, message: str) -> Refused:
    return Refused([Problem(code, message, fix=_PUSH)])
