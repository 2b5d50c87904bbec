"""A folder with a delta or a base: its files sorted out, headers checked, tensors mapped.

Nothing is executed and no link is followed. What does not belong to a delta is either refused
(code, pickles, links) or left out and named: a push never carries or drops a file silently.
"""

import mmap
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Never, Protocol, Self, cast

from safetensors import SafetensorError, safe_open

from deltareg.client.disk.kept_files import file_state
from deltareg.client.folders.near_misses import check_exists, check_is_whole, empty, fix_of_two
from deltareg.delta.delta_manifest import is_document
from deltareg.delta.kind import DeltaFiles
from deltareg.delta.maths.formula import Tensor
from deltareg.errors import Conflict, Problem, Refused
from deltareg.identity.carried import ARCHIVES, CODE, PICKLES, is_carried
from deltareg.identity.left_out import LEFT_FOLDERS, is_trainer_state
from deltareg.identity.manifest import check_path, check_paths
from deltareg.tensors.derived import DerivedTensor
from deltareg.tensors.header import (
    CONVERT_FIX,
    FULL_LIMITS,
    LENGTH_BYTES,
    FileLimits,
    SafetensorsHeader,
    TensorInfo,
    check_size,
    header_length,
    limits_for,
    looks_like_pickle,
    parse_header,
    strict_json_object,
)

Purpose = Literal["delta", "base", "conversion"]
_DOCUMENT_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class MappedTensor(DerivedTensor[TensorInfo]):
    """A tensor of a memory-mapped file; reading it costs no memory of our own."""

    data: memoryview

    def read(self, start: int = 0, stop: int | None = None) -> memoryview:
        """Give the bytes of rows `start:stop`."""
        if not self.shape:
            return self.data
        row = self.data.nbytes // self.shape[0]
        return self.data[start * row : None if stop is None else stop * row]


@dataclass(frozen=True, slots=True)
class MappedFile:
    """A file that is carried, mapped for as long as its folder is open."""

    path: str
    data: memoryview
    header: SafetensorsHeader | None = None

    @property
    def size_bytes(self) -> int:
        """Its length."""
        return self.data.nbytes

    def tensor(self, name: str) -> MappedTensor:
        """Return one of its tensors, without a look at the others.

        Raises:
            KeyError: It has none of that name.
        """
        if self.header is None:
            raise KeyError(name)
        info, start = self.header.tensors[name], self.header.size_bytes
        return MappedTensor(info, self.data[start + info.begin : start + info.end])


@dataclass(slots=True)
class Folder:
    """An opened folder.

    Attributes:
        path: Where its files are.
        source: What the user named: the folder, or one file in it.
        contents: Every carried file, by relative path.
        documents: JSON files, parsed strictly.
        left_out: Files that are not carried, each with the reason.
        convention: What the user said about BitFit values.
    """

    path: Path
    source: Path
    contents: dict[str, MappedFile] = field(default_factory=dict[str, MappedFile])
    documents: dict[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])
    left_out: list[str] = field(default_factory=list[str])
    convention: str = ""
    _open: list[mmap.mmap] = field(default_factory=list[mmap.mmap])
    _seen: dict[Path, tuple[int, ...]] = field(default_factory=dict[Path, tuple[int, ...]])

    @property
    def files(self) -> DeltaFiles:
        """The folder as a kind sees it."""
        sizes = {path: file.size_bytes for path, file in self.contents.items()}
        headers = {path: f.header for path, f in self.contents.items() if f.header is not None}
        return DeltaFiles(sizes, headers, self.documents, self.convention)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name; a copy in another file is no second tensor.

        Raises:
            Refused: Two files hold different tensors of the same name.
        """
        found: dict[str, Tensor] = {}
        places: dict[str, str] = {}
        for path in self.contents:
            for name, tensor in self.tensors_of(path).items():
                if name in found and not _is_copy(tensor, found[name]):
                    message = f"{places[name]} and {path} both hold it, and they differ"
                    fix = fix_of_two(self.path, places[name], path)
                    raise Refused([Problem("ambiguous", message, tensor=name, fix=fix)])
                found.setdefault(name, tensor)
                places.setdefault(name, path)
        return found

    def tensors_of(self, path: str) -> dict[str, MappedTensor]:
        """The tensors of one file, in the order of their data."""
        file = self.contents[path]
        return {} if file.header is None else {name: file.tensor(name) for name in file.header.tensors}

    def stream(self, names: Iterable[str]) -> Iterator[memoryview]:
        """Give the bytes of tensors, one after another."""
        tensors = self.tensors
        return (tensors[name].read() for name in names)

    def __enter__(self) -> Self:
        """Use it in a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close at the end of the block."""
        self.close()

    def map_file(self, path: Path, size_bytes: int) -> memoryview:
        """Map a file for as long as the folder is open."""
        if size_bytes == 0:
            return memoryview(b"")
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._seen[path] = file_state(os.fstat(file.fileno()))
        self._open.append(mapped)
        return memoryview(mapped)

    def drop(self, name: str) -> bool:
        """Take a file out, whatever becomes of it from now on; False where there is none."""
        self._seen.pop(self.path / name, None)
        return self.contents.pop(name, None) is not None

    def check_unchanged(self) -> None:
        """Make sure that what was read at several times was the same all the time.

        Raises:
            Conflict: A file was written, replaced or removed since the folder was opened.
        """
        for path, seen in self._seen.items():
            if not path.exists() or file_state(path.stat()) != seen:
                raise Conflict(f"{path} changed while it was read", fix="push again when nothing writes to it")

    def states(self) -> dict[str, list[int]]:
        """Give the state that every file of tensors had when it was opened (`file_state`)."""
        files = (path for path, file in self.contents.items() if file.header is not None)
        return {path: list(self._seen[self.path / path]) for path in files}

    def release_pages(self) -> None:
        """Take what was read of the files out of this process's memory; it is read again when it is asked for."""
        if hasattr(mmap, "MADV_DONTNEED"):  # Windows has no such call
            for mapped in self._open:
                mapped.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Unmap everything; arrays that still look at a file keep it mapped until they go."""
        self.contents.clear()
        for mapped in self._open:
            try:
                mapped.close()
            except BufferError:  # a view is alive; the map goes with it
                continue
        self._open.clear()


def open_delta(path: Path, *, convention: str = "") -> Folder:
    """Open the folder or file of one adapter, as a push takes it.

    Raises:
        NotFound: There is nothing at the path.
        Refused: It is part of an adapter, a folder around one, or holds what no delta carries.
    """
    check_is_whole(path)
    return open_folder(path, convention=convention)


def open_folder(path: Path, *, purpose: Purpose = "delta", convention: str = "") -> Folder:
    """Open a folder, or one safetensors file alone.

    Args:
        path: The folder or file.
        purpose: A `base` may be made of links (as in a hub cache) and have more and larger files;
            for a `conversion` pickles are carried, as bytes that nobody reads yet.
        convention: `absolute` or `additive`, when the user says so.

    Raises:
        NotFound: There is nothing at the path.
        Refused: A file that may not be carried, or a header that does not pass.
    """
    check_exists(path)
    root = path if path.is_dir() else path.parent
    chosen = sorted(_walk(path, root) if path.is_dir() else [path])
    folder = Folder(root, path, convention=convention)
    try:
        carried = _choose(chosen, root, purpose, folder.left_out)
        _check_roles(carried, folder.left_out, purpose, root)
        limits = FULL_LIMITS if purpose == "base" else limits_for(carried)
        for name, file in carried.items():
            if is_pickle(name):
                folder.contents[name] = MappedFile(name, folder.map_file(file, file.stat().st_size))
            else:
                _load(folder, name, file, limits)
        _check_whole(folder, limits)
    except BaseException:
        folder.close()
        raise
    return folder


def is_pickle(name: str) -> bool:
    """Whether a file is a pickle, by its name."""
    return name.endswith(PICKLES)


def in_file(error: Refused, name: str) -> Refused:
    """Put the name of the file before every problem of a refusal."""
    return Refused(
        [
            Problem(p.code, f"{name}: {p.message}", severity=p.severity, tensor=p.tensor, fix=p.fix)
            for p in error.problems
        ]
    )


def _walk(path: Path, root: Path) -> Iterator[Path]:
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            if entry.name.startswith((".", *LEFT_FOLDERS)) or entry == root:
                yield entry  # named once as left out, not file by file
            else:
                yield from _walk(entry, root)
        else:
            yield entry


def _choose(found: list[Path], root: Path, purpose: Purpose, left_out: list[str]) -> dict[str, Path]:
    carried: dict[str, Path] = {}
    for path in found:
        name = path.relative_to(root).as_posix()
        reason = _left_out(path)
        if reason:
            left_out.append(f"{name} ({reason})")
            continue
        _check_file(path, name, purpose)
        if path.name.endswith((*CODE, *ARCHIVES)) and purpose == "base":
            left_out.append(f"{name} (not part of a base)")
        elif is_carried(name) or path.name.endswith(PICKLES):
            carried[name] = path
        else:
            left_out.append(f"{name} (not a file that deltas are made of)")
    return carried


def _left_out(path: Path) -> str:
    name = path.name
    if name.startswith("."):
        return "hidden"
    if path.is_dir() and not path.is_symlink():
        return "a folder of the trainer"
    if is_trainer_state(name):
        return "trainer state"
    return ""


def _check_file(path: Path, name: str, purpose: Purpose) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode) and purpose == "base" and path.is_file():
        return
    if not stat.S_ISREG(mode):
        what = "a link" if stat.S_ISLNK(mode) else "not a regular file"
        _refuse("link", f"{name} is {what}", "replace it by the file itself")
    if purpose == "delta" and name.endswith(CODE):
        _refuse("code_file", f"{name} is code; a delta carries none", "take it out of the folder")
    if purpose == "delta" and name.endswith(ARCHIVES):
        _refuse("not_safetensors", f"{name} is an archive", "unpack it and push the folder")


def _check_roles(carried: dict[str, Path], left_out: list[str], purpose: Purpose, root: Path) -> None:
    """Refuse pickles, and two weight files of which nobody could say which one counts."""
    pickles = [name for name in carried if is_pickle(name)]
    stems = {name.removesuffix(".safetensors") for name in carried if name.endswith(".safetensors")}
    has_tensors = bool(stems)
    for name in pickles:
        if purpose == "conversion" and name.rpartition(".")[0] not in stems:
            continue
        if purpose == "base" and has_tensors:
            del carried[name]
            left_out.append(f"{name} (a pickle; the safetensors files are carried)")
        elif name.rpartition(".")[0] in stems or has_tensors:
            _refuse("ambiguous", f"{name} lies beside a safetensors file", "keep one of the two")
        else:
            _refuse("pickle", f"{name} is a pickle, which can run code when it is read", CONVERT_FIX)
    if not has_tensors and not (purpose == "conversion" and pickles):
        raise empty(root)


def _load(folder: Folder, name: str, path: Path, limits: FileLimits) -> None:
    check_path(name)
    size = path.stat().st_size
    data = folder.map_file(path, size)
    if name.endswith(".safetensors"):
        try:
            header = _header(data, limits)
        except Refused as error:
            raise in_file(error, name) from error
        _check_with_library(path, name, header)
        folder.contents[name] = MappedFile(name, data, header)
        return
    if looks_like_pickle(bytes(data[:4])):
        _refuse("pickle", f"{name} is a pickle under another name", CONVERT_FIX)
    folder.contents[name] = MappedFile(name, data)
    if is_document(name):
        if size > _DOCUMENT_BYTES:
            told = f"{name} has {size} bytes, at most {_DOCUMENT_BYTES}"
            _refuse("limits", told, "write what loading it needs, and no more")
        try:
            folder.documents[name] = strict_json_object(bytes(data))
        except Refused as error:
            raise in_file(error, name) from error


def _header(data: memoryview, limits: FileLimits) -> SafetensorsHeader:
    length = header_length(bytes(data[:LENGTH_BYTES]), data.nbytes, limits)
    return parse_header(bytes(data[: LENGTH_BYTES + length]), data.nbytes, limits)


class _Library(Protocol):
    """What we use of the library's reader, which has no types of its own."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def keys(self) -> list[str]: ...


def _check_with_library(path: Path, name: str, header: SafetensorsHeader) -> None:
    """Ask the format's own library as well: what we take must be what every loader takes."""
    try:
        with cast("_Library", safe_open(path, framework="numpy")) as file:
            keys = set(file.keys())
    except SafetensorError as error:
        message = f"{name}: the safetensors library refuses it: {error}"
        raise Refused([Problem("header", message, fix="save it again")]) from error
    if keys != header.tensors.keys():
        _refuse("header", f"{name}: the safetensors library sees other tensors", "save it again")


def _check_whole(folder: Folder, limits: FileLimits) -> None:
    check_paths(folder.contents)
    total = sum(file.size_bytes for file in folder.contents.values())
    check_size(len(folder.contents), total, limits)


def _refuse(code: str, message: str, fix: str) -> Never:
    raise Refused([Problem(code, message, fix=fix)])


def _is_copy(tensor: Tensor, other: Tensor) -> bool:
    is_alike = (tensor.dtype, tensor.shape) == (other.dtype, other.shape)
    return is_alike and tensor.read() == other.read()
