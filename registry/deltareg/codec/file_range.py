"""Bytes of a file, from anywhere to anywhere, put together from its pieces and checked on the way.

For somebody who checks nothing himself: the last bytes of a piece are held back until its digest is
known, so what does not match never arrives whole.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from deltareg.codec.rebuild import PieceRebuilder
from deltareg.identity.manifest import Manifest, ManifestFile, Piece
from deltareg.tensors.header import parse_header


def read_range(
    manifest: Manifest, file: ManifestFile, rebuild: PieceRebuilder, *, begin: int, end: int, is_proven: bool
) -> Iterator[memoryview]:
    """Give bytes `begin` to `end` (exclusive) of a file of a manifest.

    A piece of which only a part is wanted is decoded there alone if what is stored was proven;
    else all of it is decoded first, to compare its digest.

    Args:
        manifest: What the file is in.
        file: The file.
        rebuild: Gives its pieces.
        begin: The first byte.
        end: The byte after the last; not behind the end of the file.
        is_proven: Whether somebody has decoded all that is stored, and compared every digest.

    Raises:
        IntegrityFailure: A piece is not what was pushed.
        Unavailable: A tensor of the base is needed and not at hand.
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
    """Give the pieces of a file in order, each with the byte that it begins with."""
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
    """Give chunks one late: that the next one comes says that the piece before it was right."""
    pending: memoryview | None = None
    for chunk in chunks:
        if pending is not None:
            yield pending
        pending = chunk
    if pending is not None:
        yield pending
