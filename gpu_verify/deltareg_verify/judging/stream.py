"""Reading stored tensors in bounded pieces."""

import math
from collections.abc import Iterator
from pathlib import Path

from deltareg.delta.maths.formula import Tensor
from deltareg.tensors.header import ITEM_BYTES

PIECE_BYTES = 8 << 20


def pieces(tensor: Tensor) -> Iterator[tuple[tuple[int, ...], memoryview]]:
    """Yield a tensor's bytes in runs of whole rows, each with its shape; a scalar in one."""
    if not tensor.shape:
        yield (), tensor.read()
        return
    rows, *rest = tensor.shape
    row_bytes = math.prod(rest) * ITEM_BYTES[tensor.dtype]
    step = max(1, PIECE_BYTES // row_bytes)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        yield (stop - start, *rest), tensor.read(start, stop)


def file_chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes in order."""
    with path.open("rb") as file:
        while chunk := file.read(PIECE_BYTES):
            yield chunk
