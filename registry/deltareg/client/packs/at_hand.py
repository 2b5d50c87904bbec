"""Pieces that are on this machine already: those of a version in a folder.

They are not fetched: a storage map that marks them says what is left to fetch.
"""

from collections.abc import Container, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from deltareg.client.folders.folder import Folder, MappedFile
from deltareg.client.packs.transfer import reader
from deltareg.codec import ReadRange
from deltareg.digest import Digest
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import StorageMap, StoredPiece
from deltareg.tensors.header import parse_header


def open_files(path: Path, manifest: Manifest, *, is_whole: bool = False) -> Folder:
    """Map the files of a version whose bytes are known to match the manifest.

    Args:
        path: The folder with the files.
        manifest: The version's manifest.
        is_whole: Whether to map all files, not only those that hold tensors.
    """
    folder = Folder(path, path)
    try:
        for file in manifest.files:
            if is_whole or file.is_tensors:
                data = folder.map_file(path / file.path, file.size_bytes)
                head = bytes(data[: file.part.size_bytes]) if file.is_tensors else None
                header = None if head is None else parse_header(head, file.size_bytes)
                folder.contents[file.path] = MappedFile(file.path, data, header)
    except BaseException:
        folder.close()
        raise
    return folder


@contextmanager
def pieces_in(folder: Path, manifest: Manifest) -> Generator[dict[Digest, ReadRange], None, None]:
    """Map the pieces of a version whose files are known to lie in a folder.

    Decoding checks every digest, so a file that is written to meanwhile does no harm.
    """
    files = open_files(folder, manifest, is_whole=True)
    try:
        pieces = {
            file.part.digest: reader(files.contents[file.path].data[: file.part.size_bytes]) for file in manifest.files
        }
        tensors = {path: files.tensors_of(path) for path in files.contents}
        for tensor in manifest.tensors:
            pieces[tensor.digest] = reader(tensors[tensor.file][tensor.name].data)
        yield pieces
    finally:
        files.close()


def with_at_hand(storage: StorageMap, held: Container[Digest]) -> StorageMap:
    """Return the map with pieces at hand referring to themselves: nothing is stored for them."""
    pieces = {
        digest: StoredPiece(digest, digest, ()) if digest in held else piece for digest, piece in storage.pieces.items()
    }
    return replace(storage, pieces=pieces)
