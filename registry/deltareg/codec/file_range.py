"""Any range of bytes of a file, assembled from its pieces and checked on the way.

For readers that check nothing themselves: the last bytes of a piece are held back until its digest
is known, so a piece that does not match never arrives complete.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from deltareg.codec.rebuild import PieceRebuilder
from deltareg.identity.manifest import Manifest, ManifestFile, Piece
from deltareg.tensors.header import parse_header


def read_range(
    manifest: Manifest, file: ManifestFile, rebuild: PieceRebuilder, *, begin: int, end: int, is_proven: bool
) -> Iterator[memoryview]:
    """Yield bytes `begin` to `end` (exclusive) of a file of a manifest.

    If only a part of a piece is requested, only that part is decoded if the stored bytes are
    proven; otherwise the whole piece is decoded first, to compare its digest.

    Args:
        manifest: The manifest that lists the file.
        file: The file.
        rebuild: Rebuilds its pieces.
        begin: The first byte.
        end: The byte after the last; at most the size of the file.
        is_proven: Whether all stored bytes were decoded before and every digest compared.

    Raises:
        IntegrityFailure: A piece is not what was pushed.
        Unavailable: A tensor of the base is needed and not available.
    """
    whole: list[Piece] = []
    for piece, start in _laid_out(manifest, file, rebuild):
        first, last = max(begin - start, 0), min(end - start, piece.size_bytes)
        if first >= last:
            continue
        if (first, last) == (0, piece.size_bytes):
            whole.append(piece)
            continue
        yield from _held_back(rebuild(whole))
        whole = []
        if not is_proven:
            deque(rebuild([piece]), maxlen=0)
        yield from rebuild.part(piece, first, last)
    yield from _held_back(rebuild(whole))


def _laid_out(manifest: Manifest, file: ManifestFile, rebuild: PieceRebuilder) -> Iterator[tuple[Piece, int]]:
    """Yield the pieces of a file in order, each with the offset of its first byte."""
    yield file.part, 0
    if not file.is_tensors:
        return
    head = b"".join(rebuild([file.part]))
    pieces = {t.name: t.piece for t in manifest.tensors if t.file == file.path}
    position = len(head)
    for name in parse_header(head, file.size_bytes).tensors:  # in the order of their data
        yield pieces[name], position
        position += pieces[name].size_bytes


def _held_back(chunks: Iterable[memoryview]) -> Iterator[memoryview]:
    """Yield chunks one late: once the next chunk arrives, the piece before it has been checked."""
    pending: memoryview | None = None
    for chunk in chunks:
        if pending is not None:
            yield pending
        pending = chunk
    if pending is not None:
        yield pending
