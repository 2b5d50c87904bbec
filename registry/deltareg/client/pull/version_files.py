"""Reads the files of one version in parts, without a folder of all of them.

Reading a range fetches the pieces that it touches and no others. After a quarter of a version was
read by ranges, the whole version is fetched into the cache and read from there.
"""

import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock

from deltareg.client.asking.resolving import fetch_manifest
from deltareg.client.context import Context
from deltareg.client.disk.drafts import draft_name
from deltareg.client.progress import SILENT
from deltareg.client.pull.fetching import fetch, read_pieces, trim
from deltareg.client.pull.intact import find_intact
from deltareg.codec.file_range import read_range
from deltareg.codec.rebuild import PieceRebuilder
from deltareg.digest import Digest
from deltareg.errors import NotFound
from deltareg.identity.carried import check_received
from deltareg.identity.manifest import ManifestFile, ManifestTensor
from deltareg.tensors.header import parse_header
from deltareg.wire import VersionDetail

_SHARE = 4


class VersionFiles:
    """The files of a version; several threads may read at once."""

    def __init__(self, context: Context, version: VersionDetail) -> None:
        """Fetch the manifest, and no file yet."""
        self.version = version
        self._context = context
        self._manifest = fetch_manifest(context, version)
        self._by_path = {file.path: file for file in self._manifest.files}
        self._ranged_bytes = 0
        self._heads: dict[str, bytes] = {}
        self._lock = Lock()

    @property
    def files(self) -> Sequence[ManifestFile]:
        """The version's files by path, with their sizes and digests."""
        return self._manifest.files

    def file(self, path: str) -> ManifestFile:
        """Return a file's size and digest.

        Raises:
            NotFound: There is no such file.
        """
        file = self._by_path.get(path)
        if file is None:
            raise NotFound(
                f"{self.version.ref} has no file {path[:120]!r}", fix=f"it has {', '.join(sorted(self._by_path))}"
            )
        return file

    def read(self, path: str, begin: int = 0, end: int | None = None) -> bytes:
        """Return bytes `begin` to `end` (exclusive) of a file, each of its pieces checked.

        A range may reach beyond the end of the file, where it is cut.

        Raises:
            NotFound: There is no such file.
            IntegrityFailure: The stored bytes are damaged.
        """
        file = self.file(path)
        begin = min(max(begin, 0), file.size_bytes)
        end = file.size_bytes if end is None else max(begin, min(end, file.size_bytes))
        here = self._here(end - begin)
        if here is not None:
            with suppress(FileNotFoundError), (here / path).open("rb") as data:
                data.seek(begin)
                return data.read(end - begin)
        return b"" if begin == end else self._stretch(file, begin, end)

    def copy(self, path: str, target: Path) -> None:
        """Write a whole file to a path; an existing file is replaced once the new one is complete.

        Raises:
            NotFound: There is no such file.
            IntegrityFailure: The stored bytes are damaged.
        """
        file = self.file(path)
        check_received([file], of=self.version.ref)
        here = self._here(file.size_bytes)
        with _draft_beside(target) as draft:
            if here is None:
                draft.write_bytes(self._stretch(file, 0, file.size_bytes))
            else:
                shutil.copyfile(here / path, draft)
            draft.replace(target)

    def folder(self) -> Path:
        """Fetch the whole version into the cache and return its folder."""
        path = fetch(self._context, self.version, self._manifest).path
        trim(self._context, keep={path})
        return path

    def _here(self, wanted_bytes: int) -> Path | None:
        """Return the folder that has the version; None if fetching a range is better."""
        digest = Digest.parse(self.version.digest)
        folder = find_intact(self._context.cache, "snapshots", digest, self._manifest)
        if folder is not None:
            return folder
        with self._lock:
            self._ranged_bytes += wanted_bytes
            is_most = self._ranged_bytes * _SHARE > self._manifest.logical_bytes
        return self.folder() if is_most else None

    def _stretch(self, file: ManifestFile, begin: int, end: int) -> bytes:
        """Fetch and decode what a range of a file needs."""
        manifest, is_proven = self._manifest, self.version.proof == "proven"
        partial_manifest = replace(manifest, files=(file,), tensors=self._select_tensors(file, begin, end))

        def use(rebuild: PieceRebuilder) -> bytes:
            data = read_range(manifest, file, rebuild, begin=begin, end=end, is_proven=is_proven)
            return b"".join(data)

        meter = SILENT.task(f"reading {file.path}", end - begin)
        return read_pieces(self._context, self.version, partial_manifest, use, meter=meter)[1]

    def _select_tensors(self, file: ManifestFile, begin: int, end: int) -> tuple[ManifestTensor, ...]:
        """Return the tensors that have bytes in a range; the file's header has their offsets."""
        if not file.is_tensors or end <= file.part.size_bytes:
            return ()
        tensors = [tensor for tensor in self._manifest.tensors if tensor.file == file.path]
        starts = self._starts(file)
        return tuple(
            tensor
            for tensor in tensors
            if starts[tensor.name] < end and starts[tensor.name] + tensor.piece.size_bytes > begin
        )

    def _starts(self, file: ManifestFile) -> dict[str, int]:
        """Return the offset of each of a file's tensors."""
        head = self._heads.get(file.path)
        if head is None:
            head = self._stretch(file, 0, file.part.size_bytes)
            self._heads[file.path] = head
        tensors = parse_header(head, file.size_bytes).tensors
        return {name: len(head) + tensor.begin for name, tensor in tensors.items()}


@contextmanager
def _draft_beside(target: Path) -> Generator[Path, None, None]:
    """Yield a path beside a file to write to; it is removed at the end if it is still there."""
    draft = draft_name(target.parent)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)
