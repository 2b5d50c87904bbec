"""Pieces that are on this machine already: those of a version that lies in a folder.

What is at hand is not fetched; a storage map is told so, and says what is left to fetch.
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
    """Map the files of a version, whose bytes are known to be the manifest's.

    Args:
        path: Where they are.
        manifest: What they are.
        is_whole: Whether all of them are wanted, not only those that hold tensors.
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

    Whoever decodes with them checks every digest, so a file that is written to does no harm.
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
    """Give a map in which pieces at hand refer to themselves: nothing is stored for them."""
    pieces = {
        digest: StoredPiece(digest, digest, ()) if digest in held else piece for digest, piece in storage.pieces.items()
    }
    return replace(storage, pieces=pieces)
