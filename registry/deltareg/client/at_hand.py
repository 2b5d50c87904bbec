"""Pieces that are on this machine already: those of a version that lies in a folder.

What is at hand is not fetched; a storage map is told so, and says what is left to fetch.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deltareg.client.folder import Folder, MappedFile
from deltareg.digest import Digest
from deltareg.formula import Tensor
from deltareg.manifest import Manifest, Piece
from deltareg.storage_map import StorageMap, StoredPiece
from deltareg.tensors import parse_header


@dataclass(frozen=True, slots=True)
class HeldPiece:
    """The bytes of a piece, as a tensor."""

    piece: Piece
    data: memoryview
    name: str = ""

    @property
    def dtype(self) -> str:
        """The safetensors dtype."""
        return self.piece.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions."""
        return self.piece.shape

    def read(self, start: int = 0, stop: int | None = None) -> memoryview:
        """Give the bytes of rows `start:stop`."""
        if not self.shape:
            return self.data
        row = self.data.nbytes // self.shape[0]
        return self.data[start * row : None if stop is None else stop * row]


def open_files(path: Path, manifest: Manifest) -> Folder:
    """Map the tensor files of a version, whose bytes are known to be the manifest's."""
    folder = Folder(path)
    try:
        for file in manifest.files:
            if file.is_tensors:
                data = folder.map_file(path / file.path, file.size_bytes)
                header = parse_header(bytes(data[: file.part.size_bytes]), file.size_bytes)
                folder.contents[file.path] = MappedFile(file.path, data, header)
    except BaseException:
        folder.close()
        raise
    return folder


@contextmanager
def pieces_in(folder: Path, manifest: Manifest) -> Generator[dict[Digest, Tensor], None, None]:
    """Map the pieces of a version whose files are known to lie in a folder.

    Whoever decodes with them checks every digest, so a file that is written to does no harm.
    """
    files = open_files(folder, manifest)
    try:
        yield _pieces(files, folder, manifest)
    finally:
        files.close()


def with_at_hand(storage: StorageMap, held: Mapping[Digest, Tensor]) -> StorageMap:
    """Give a map in which pieces at hand refer to themselves: nothing is stored for them."""
    if not held:
        return storage
    pieces = {
        digest: StoredPiece(digest, digest, ()) if digest in held else piece
        for digest, piece in storage.pieces.items()
    }
    return replace(storage, pieces=pieces)


def _pieces(files: Folder, folder: Path, manifest: Manifest) -> dict[Digest, Tensor]:
    found: dict[Digest, Tensor] = {}
    for file in manifest.files:
        if file.is_tensors:
            data = files.contents[file.path].data[: file.part.size_bytes]
        else:
            data = memoryview((folder / file.path).read_bytes())
        found[file.part.digest] = HeldPiece(file.part, data, file.path)
    by_file = {file.path: files.tensors_of(file.path) for file in manifest.files if file.is_tensors}
    for tensor in manifest.tensors:
        own = by_file[tensor.file][tensor.name]
        found[tensor.digest] = HeldPiece(tensor.piece, own.data, tensor.name)
    return found
