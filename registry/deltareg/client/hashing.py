"""Digests of local files and tensors, in one pass over mapped bytes, two files at a time."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from deltareg.client.folder import Folder, MappedFile, MappedTensor
from deltareg.digest import Digest, tensor_digest
from deltareg.manifest import ManifestFile, Piece

_STEP = 4 << 20


@dataclass(frozen=True, slots=True)
class Hashed:
    """What a folder is by content.

    Attributes:
        files: Every carried file, sorted by path.
        digests: Tensor digest by (file, tensor name).
    """

    files: tuple[ManifestFile, ...]
    digests: dict[tuple[str, str], Digest]


def hash_folder(
    folder: Folder, *, workers: int = 2, meter: Callable[[int], None] = lambda _: None
) -> Hashed:
    """Hash every file and every tensor of a folder.

    Args:
        folder: An open folder.
        workers: Files hashed at the same time; hashing releases the interpreter lock.
        meter: Is told of bytes that are done.
    """
    files = [folder.contents[path] for path in sorted(folder.contents)]
    with ThreadPoolExecutor(workers) as pool:
        whole = tuple(pool.map(partial(_hash_file, meter=meter), files))
        tensors = [(path, t) for path in folder.contents for t in folder.tensors_of(path).values()]
        found = pool.map(_hash_tensor, (tensor for _, tensor in tensors))
        digests = {(path, t.name): digest for (path, t), digest in zip(tensors, found, strict=True)}
    return Hashed(whole, digests)


def _hash_tensor(tensor: MappedTensor) -> Digest:
    return tensor_digest(tensor.dtype, tensor.shape, [tensor.data])


def _hash_file(file: MappedFile, meter: Callable[[int], None]) -> ManifestFile:
    hasher = hashlib.sha256()
    for step in _steps(file.data):
        hasher.update(step)
        meter(step.nbytes)
    part = file.data if file.header is None else file.data[: file.header.size_bytes]
    piece = Piece(tensor_digest("U8", (part.nbytes,), [part]), "U8", (part.nbytes,), part.nbytes)
    digest = Digest("sha256", hasher.hexdigest())
    return ManifestFile(file.path, file.size_bytes, digest, piece, file.header is not None)


def _steps(data: memoryview) -> Iterator[memoryview]:
    for begin in range(0, data.nbytes, _STEP):
        yield data[begin : begin + _STEP]
