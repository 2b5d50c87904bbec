"""Digests of local files and tensors, in one pass over mapped bytes, two files at a time."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self, TypeVar

from deltareg.client.folders.folder import Folder, MappedFile, MappedTensor
from deltareg.client.progress import SILENT, Meter
from deltareg.digest import Digest, tensor_digest
from deltareg.identity.manifest import ManifestFile, Piece

_Given = TypeVar("_Given")
_Hashed = TypeVar("_Hashed")
_STEP = 4 << 20
_TOGETHER_BYTES = 1 << 20  # small tensors are handed to a thread together


@dataclass(frozen=True, slots=True)
class FolderDigests:
    """The digests of a folder's content.

    Attributes:
        files: Every carried file, sorted by path.
        digests: Tensor digest by (file, tensor name).
    """

    files: tuple[ManifestFile, ...]
    digests: dict[tuple[str, str], Digest]


def hash_folder(folder: Folder, *, workers: int = 2, meter: Meter | None = None) -> FolderDigests:
    """Hash every file and every tensor of a folder.

    Args:
        folder: An open folder.
        workers: Files hashed at the same time; hashing releases the interpreter lock.
        meter: Receives the hashed bytes; it is closed at the end.
    """
    with FolderHashing(folder, workers=workers, meter=meter) as hashing:
        return hashing.finish()


class FolderHashing:
    """Hashing of a folder that goes on in threads while the caller does something else.

    Use it as a context manager around `finish`; leaving the block earlier abandons the rest.
    """

    def __init__(self, folder: Folder, *, workers: int = 2, meter: Meter | None = None) -> None:
        """Begin; see `hash_folder`."""
        self._folder = folder
        self._meter = meter or SILENT.task("hashing", None)
        self._is_over = False
        total = sum(file.size_bytes for file in folder.contents.values())
        self._pool = None if total <= _TOGETHER_BYTES else ThreadPoolExecutor(workers, "deltareg-hash")
        self._begun: dict[str, MappedFile] = {}
        self._whole: dict[str, Future[ManifestFile]] = {}
        self._tensors: dict[str, list[Future[dict[str, Digest]]]] = {}
        self._hashed: FolderDigests | None = None
        self._begin()

    def __enter__(self) -> Self:
        """Enter a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; wait only for the steps that threads are in the middle of."""
        self._is_over = True
        self._meter.close()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def finish(self) -> FolderDigests:
        """Wait for the digests of all files that the folder has by now, maybe more or fewer.

        Where these are the same files as before, the very same answer is returned.
        """
        self._begin()
        there = sorted(self._folder.contents)
        whole = tuple(self._whole[path].result() for path in there)
        if self._hashed is None or whole != self._hashed.files:
            digests = {
                (path, name): digest
                for path in there
                for part in self._tensors.get(path, ())
                for name, digest in part.result().items()
            }
            self._hashed = FolderDigests(whole, digests)
        self._meter.close()
        self._meter = SILENT.task("hashing", None)  # what comes later is small, and told elsewhere
        return self._hashed

    def _begin(self) -> None:
        """Hand out whole files first: one large file takes longer than all its tensors."""
        there = self._folder.contents
        new = [path for path in sorted(there) if self._begun.get(path) is not there[path]]
        for path in new:
            self._begun[path] = there[path]
            self._whole[path] = self._submit(self._file, self._folder.contents[path])
        for path in new:
            batches = _batches(self._folder.tensors_of(path).values())
            self._tensors[path] = [self._submit(_hash_tensors, batch) for batch in batches]

    def _submit(self, function: Callable[[_Given], _Hashed], given: _Given) -> Future[_Hashed]:
        """Have a thread call a function; for a small folder there are none, and it is called here."""
        if self._pool is not None:
            return self._pool.submit(function, given)
        future = Future[_Hashed]()
        future.set_result(function(given))
        return future

    def _file(self, file: MappedFile) -> ManifestFile:
        hasher = hashlib.sha256()
        for step in _steps(file.data):
            if self._is_over:
                raise CancelledError
            hasher.update(step)
            self._meter.add(step.nbytes)
        part = file.data if file.header is None else file.data[: file.header.size_bytes]
        digest = tensor_digest("U8", (part.nbytes,), [part])
        piece = Piece(digest, "U8", (part.nbytes,), part.nbytes)
        whole = Digest("sha256", hasher.hexdigest())
        return ManifestFile(file.path, file.size_bytes, whole, piece, file.header is not None)


def _hash_tensors(tensors: Sequence[MappedTensor]) -> dict[str, Digest]:
    return {tensor.name: tensor_digest(tensor.dtype, tensor.shape, [tensor.data]) for tensor in tensors}


def _batches(tensors: Iterable[MappedTensor]) -> Iterator[list[MappedTensor]]:
    batch: list[MappedTensor] = []
    size = 0
    for tensor in tensors:
        if batch and size + tensor.data.nbytes > _TOGETHER_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(tensor)
        size += tensor.data.nbytes
    if batch:
        yield batch


def _steps(data: memoryview) -> Iterator[memoryview]:
    for begin in range(0, data.nbytes, _STEP):
        yield data[begin : begin + _STEP]
