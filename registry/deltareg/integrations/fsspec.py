"""A file system of fsspec over a registry, to read: `fsspec.open("deltareg://ns/name@prod/x.json")`.

Namespaces, lines and versions by number (`ns/name:v3`) are folders. Other references (`@prod`,
`@prod#17`, `@sha256:…`) are folders too, but are not listed. A reference that moves is resolved at
every call; an open file stays that of its version.
"""

# fsspec has no types, and guesses at them are wrong for what it hands through.
# pyright: basic, reportArgumentType=false, reportAssignmentType=false

import errno
import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NoReturn
from weakref import finalize

from deltareg.errors import Blocked, Forbidden, NotFound, Unauthenticated
from deltareg.integrations.addresses import SCHEME, Address, open_client, parse_address

try:
    from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
    from fsspec.utils import stringify_path
except ImportError as missing:  # pragma: no cover  # whoever loads this has it
    raise ImportError("deltareg:// needs fsspec: pip install 'deltareg[fsspec]'") from missing

if TYPE_CHECKING:
    from deltareg.client.pull.version_files import VersionFiles
    from deltareg.wire import VersionInfo

Entry = dict[str, object]
"""What fsspec knows of a file or folder: `name`, `size`, `type`, and what else is told."""

_log = logging.getLogger(__name__)


class DeltaregFileSystem(AbstractFileSystem):
    """The files of a registry; read-only.

    Args of `fsspec.filesystem("deltareg", …)`: `server`, the address or `host[:port]`; `token`;
    `profile`; `cache_dir`. Anything left out comes from the settings and the environment, as for
    the command line.
    """

    protocol = "deltareg"
    root_marker = ""
    blocksize: ClassVar[int] = 1 << 20

    def __init__(
        self,
        server: str | None = None,
        token: str | None = None,
        profile: str | None = None,
        cache_dir: str | None = None,
        **options: object,
    ) -> None:
        """Open a client; no request is sent yet."""
        super().__init__(server=server, token=token, profile=profile, cache_dir=cache_dir, **options)
        self.client = open_client(server or "", token=token, profile=profile, cache_dir=cache_dir)
        finalize(self, self.client.close)

    @classmethod
    def _strip_protocol(cls, path: str | list[str]) -> str | list[str]:
        """Return an address without scheme and server."""
        if isinstance(path, list):
            return [str(cls._strip_protocol(each)) for each in path]
        text = str(stringify_path(path))
        return parse_address(text).local if text.startswith(SCHEME) else text.strip("/")

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, str]:
        server = parse_address(path).server if path.startswith(SCHEME) else ""
        return {"server": server} if server else {}

    @property
    def fsid(self) -> str:
        """An identifier of the registry."""
        return f"{SCHEME}{self.client.config.server}"

    def ls(self, path: str, detail: bool = True, **_: object) -> list[Entry] | list[str]:  # noqa: FBT001, FBT002  # fsspec's
        """List the content of a folder; a file lists itself."""
        address = self._address(path)
        with _translate_errors(path):
            if address.ref:
                entries = _list_entries(self._files(address), address)
            else:
                entries = self._places(address.place)
        return entries if detail else [str(entry["name"]) for entry in entries]

    def info(self, path: str, **_: object) -> Entry:
        """Return a file's size and sha256, or that it is a folder."""
        address = self._address(path)
        with _translate_errors(path):
            if address.ref:
                return _entry(self._files(address), address)
            if len(address.place) == 2:
                self.client.lines.log("/".join(address.place), limit=1)
            elif address.place:
                self._places(address.place)
        return {"name": address.local, "size": 0, "type": "directory"}

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,  # noqa: FBT001, FBT002  # fsspec's
        detail: bool = False,  # noqa: FBT001, FBT002  # fsspec's
        **options: object,
    ) -> dict[str, Entry] | list[str]:
        """List all files below a folder; those of one version are consistent."""
        address = self._address(path)
        if not address.ref:
            entries: dict[str, Entry] | list[str] = super().find(
                path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **options
            )
            return entries
        try:
            with _translate_errors(path):
                files = self._files(address)
        except FileNotFoundError:
            return {} if detail else []
        below = _below(files, address, maxdepth=maxdepth, with_folders=withdirs)
        return dict(sorted(below.items())) if detail else sorted(below)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: object) -> bytes:
        """Read a file, or a range of it; negative offsets count from its end."""
        files, name = self._file(path)
        size = files.file(name).size_bytes
        begin, stop = (_place(at, size) for at in (start, end))
        with _translate_errors(path):
            return files.read(name, begin or 0, stop)

    def get_file(self, rpath: str, lpath: object, **options: object) -> None:
        """Copy a file of the registry to a local file, whole or not at all."""
        if not isinstance(lpath, (str, Path)):
            super().get_file(rpath, lpath, **options)
            return
        target, address = Path(lpath), self._address(rpath)
        with _translate_errors(rpath):
            files = self._files(address) if address.ref else None
            if files is None or _entry(files, address)["type"] == "directory":
                target.mkdir(parents=True, exist_ok=True)
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            files.copy(address.path, target)

    def checksum(self, path: str) -> int:
        """Return a number that changes with the bytes of a file."""
        return int(str(self.ukey(path)), 16)

    def ukey(self, path: str) -> str:
        """Return the sha256 of a file, which identifies its content."""
        files, name = self._file(path)
        return files.file(name).digest.hex

    def modified(self, path: str) -> datetime:
        """Return when the version was pushed."""
        return self.created(path)

    def created(self, path: str) -> datetime:
        """Return when the version was pushed."""
        return datetime.fromisoformat(self._file(path)[0].version.created_at)

    def unstrip_protocol(self, name: str) -> str:
        """Return the full address, with this registry's server."""
        host = self.client.config.server.partition("://")[2]
        return name if name.startswith(SCHEME) else f"{SCHEME}{host}/{name}"

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: object) -> "DeltaregFile":
        if mode != "rb":
            self._refuse(path)
        files, name = self._file(path)
        size = block_size or self.blocksize
        return DeltaregFile(self, path, files, name, block_size=size, **options)

    def _files(self, address: Address) -> "VersionFiles":
        version_files = self.client.versions.files(address.ref)
        if version_files.version.revocation is not None:
            _log.warning("%s is revoked: %s", version_files.version.ref, version_files.version.revocation.reason)
        return version_files

    def _file(self, path: str) -> "tuple[VersionFiles, str]":
        """Find a file.

        Raises:
            IsADirectoryError: The path is a folder.
            FileNotFoundError: There is no such file.
        """
        address = self._address(path)
        with _translate_errors(path):
            if address.ref:
                files = self._files(address)
                entry = _entry(files, address)
                if entry["type"] == "file":
                    return files, address.path
        raise IsADirectoryError(errno.EISDIR, "a folder of the registry", path)

    def _places(self, place: tuple[str, ...]) -> list[Entry]:
        """List the namespaces, the lines of a namespace, or the versions of a line."""
        if len(place) == 2:
            line = "/".join(place)
            return [_version_entry(one) for one in self.client.versions.list(line)]
        lines = [one.ref for one in self.client.lines.list(*place)]
        if place and not lines:
            raise NotFound(f"there is no delta in {place[0]}", fix="deltareg ls")
        names = lines if place else dict.fromkeys(line.partition("/")[0] for line in lines)
        return [{"name": name, "size": 0, "type": "directory"} for name in names]

    def _address(self, path: str) -> Address:
        return parse_address(str(self._strip_protocol(path)))

    def _refuse(self, path: str = "", *_: object, **__: object) -> NoReturn:
        """Refuse to write: versions are made by pushing a whole folder.

        Raises:
            OSError: Always.
        """
        message = "a registry is read by this and not written; push a folder: deltareg push DIR NS/NAME"
        raise OSError(errno.EROFS, message, str(path))

    mkdir = makedirs = rmdir = rm = _rm = rm_file = touch = _refuse
    cp_file = mv = mv_file = pipe_file = put_file = _refuse


class DeltaregFile(AbstractBufferedFile):
    """A file of a version, open for reading; its bytes are fetched on demand."""

    def __init__(self, fs: DeltaregFileSystem, path: str, files: "VersionFiles", name: str, **options: object) -> None:
        """Open the version that the name means now."""
        self._files, self._name = files, name
        super().__init__(fs, path, mode="rb", size=files.file(name).size_bytes, **options)

    def _fetch_range(self, start: int, end: int) -> bytes:
        with _translate_errors(self.path):
            return self._files.read(self._name, start, end)


@contextmanager
def _translate_errors(path: str) -> Generator[None, None, None]:
    """Translate our errors into those that callers of a file system expect, with the fix."""
    try:
        yield
    except (NotFound, Blocked) as error:
        raise FileNotFoundError(errno.ENOENT, f"{error.message}; {error.fix}", path) from error
    except (Unauthenticated, Forbidden) as error:
        raise PermissionError(errno.EACCES, f"{error.message}; {error.fix}", path) from error


def _below(files: "VersionFiles", address: Address, *, maxdepth: int | None, with_folders: bool) -> dict[str, Entry]:
    """Return the entries below a folder of a version, or the file itself, by name.

    With folders, the folder itself is among them, as fsspec does it.
    """
    start = len(address.path.split("/")) if address.path else 0
    entries: dict[str, Entry] = {}
    for file in files.files:
        if not _is_below(file.path, address.path):
            continue
        parts = file.path.split("/")
        for depth in range(start, len(parts)):
            name = f"{address.ref}/{'/'.join(parts[:depth])}".rstrip("/")
            if with_folders and (maxdepth is None or depth - start <= maxdepth):
                entries[name] = {"name": name, "size": 0, "type": "directory"}
        if maxdepth is None or len(parts) - start <= maxdepth:
            entries[f"{address.ref}/{file.path}"] = _file_entry(files, address.ref, file.path)
    return entries


def _is_below(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")


def _list_entries(files: "VersionFiles", address: Address) -> list[Entry]:
    entry = _entry(files, address)
    if entry["type"] == "file":
        return [entry]
    depth = len(address.path.split("/")) if address.path else 0
    entries: dict[str, Entry] = {}
    for file in files.files:
        parts = file.path.split("/")
        if not _is_below(file.path, address.path):
            continue
        name = "/".join(parts[: depth + 1])
        is_file = len(parts) == depth + 1
        whole = f"{address.ref}/{name}"
        folder: Entry = {"name": whole, "size": 0, "type": "directory"}
        entries[name] = _file_entry(files, address.ref, name) if is_file else folder
    return list(entries.values())


def _entry(files: "VersionFiles", address: Address) -> Entry:
    if not address.path:
        return _version_entry(files.version) | {"name": address.ref}
    paths = [file.path for file in files.files]
    if address.path in paths:
        return _file_entry(files, address.ref, address.path)
    if any(path.startswith(f"{address.path}/") for path in paths):
        return {"name": address.local, "size": 0, "type": "directory"}
    files.file(address.path)  # says what there is
    raise AssertionError("unreachable: there is no such file")


def _file_entry(files: "VersionFiles", ref: str, path: str) -> Entry:
    file, version = files.file(path), files.version
    return {
        "name": f"{ref}/{path}",
        "size": file.size_bytes,
        "type": "file",
        "sha256": file.digest.hex,
        "version": version.ref,
        "created": version.created_at,
    }


def _version_entry(version: "VersionInfo") -> Entry:
    details: Mapping[str, object] = {
        "digest": version.digest,
        "kind": version.kind,
        "base": version.base.name,
        "verdict": version.verdict,
        "channels": list(version.channels),
        "created": version.created_at,
        "is_revoked": version.is_revoked,
    }
    return {"name": version.ref, "size": 0, "type": "directory", **details}


def _place(at: int | None, size_bytes: int) -> int | None:
    return size_bytes + at if at is not None and at < 0 else at
