"""The chunks needed to decode a manifest, in one order for client, worker and server."""

from collections.abc import Iterator

from deltareg.digest import Digest
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import Chunk, StorageMap


def needed_chunks(manifest: Manifest, storage: StorageMap) -> Iterator[Chunk]:
    """Yield the chunks that a manifest's files are rebuilt from, in the order of need.

    A piece may be encoded against another one of the map, whose chunks come before its own.
    """
    visited: set[Digest] = set()
    for digest in _in_order(manifest):
        for needed in _with_references(digest, storage):
            if needed not in visited:
                visited.add(needed)
                yield from storage.pieces[needed].chunks


def chunks_in_order(manifest: Manifest, storage: StorageMap) -> list[Chunk]:
    """Return the chunks needed to decode a manifest, each place in a pack once."""
    places = {(c.pack, c.offset, c.length): c for c in needed_chunks(manifest, storage)}
    return list(places.values())


def _in_order(manifest: Manifest) -> Iterator[Digest]:
    """Yield the digests of a manifest's pieces, file by file."""
    tensors: dict[str, list[Digest]] = {}
    for tensor in manifest.tensors:
        tensors.setdefault(tensor.file, []).append(tensor.digest)
    for file in manifest.files:
        yield file.part.digest
        yield from tensors.get(file.path, ())


def _with_references(digest: Digest, storage: StorageMap) -> list[Digest]:
    """Return a piece and its references within the map, the last reference first."""
    chain: list[Digest] = []
    piece = storage.pieces.get(digest)
    while piece is not None and piece.digest not in chain:
        chain.append(piece.digest)
        piece = None if piece.reference is None else storage.pieces.get(piece.reference)
    return chain[::-1]
