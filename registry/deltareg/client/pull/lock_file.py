"""`delta.lock`: which version lies in which folder, byte for byte, and for which base.

It is TOML, with one entry per line, sorted by name, so that changing one version changes few lines.
It lies in version control, so it may come from anybody: folders have to be below the file, and
fetched files are compared with its digests.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deltareg.digest import Digest
from deltareg.documents.toml_document import parse_toml
from deltareg.errors import InvalidInput, NotFound
from deltareg.host.shared_files import replace_file
from deltareg.refs import Ref

_FORM = "deltareg.lock/1"
_HEAD = """\
# Which delta stands in which folder, byte for byte. `deltareg lock` writes this file,
# `deltareg sync` makes the folders so; both are better at it than an editor.
"""
_MOST_BYTES = 1 << 20
_Word = Annotated[str, Field(max_length=400)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LockedBase(_Strict):
    """A base that a locked version is for: its identity, and the digests of its parts."""

    name: _Word
    identity: _Word = ""
    root: _Word
    parts: dict[_Word, _Word] = {}


class LockedDelta(_Strict):
    """A version in a folder, and the reference that it was locked by; `include` picks of its files."""

    folder: _Word
    asked: _Word
    ref: _Word
    digest: _Word
    kind: _Word
    base: _Word
    include: Annotated[list[_Word], Field(max_length=100)] = []

    @property
    def exact(self) -> Ref:
        """The reference to the version by its digest, whichever number it has."""
        return Ref(Ref.parse(self.ref).line, digest=Digest.parse(self.digest))


class _Document(_Strict):
    form: Literal["deltareg.lock/1"]
    registry: _Word
    base: Annotated[list[LockedBase], Field(max_length=1_000)] = []
    delta: Annotated[list[LockedDelta], Field(max_length=10_000)] = []


@dataclass(frozen=True, slots=True)
class Lock:
    """The content of a lock file.

    Attributes:
        registry: The address of the registry that the versions are from.
        deltas: The locked versions, by folder.
        bases: Their bases, by name.
    """

    registry: str
    deltas: Sequence[LockedDelta] = ()
    bases: Sequence[LockedBase] = ()

    def base_of(self, delta: LockedDelta) -> LockedBase | None:
        """Return what the lock says about a locked version's base; None if nothing."""
        return next((base for base in self.bases if base.name == delta.base), None)


def read_lock(file: Path) -> Lock:
    """Read a lock file.

    Raises:
        NotFound: There is no such file.
        InvalidInput: The file says something invalid, such as a folder outside its own.
    """
    try:
        raw = file.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"there is no {file}", fix="deltareg lock NS/NAME@prod DIR") from error
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error
    if len(raw) > _MOST_BYTES:
        raise InvalidInput(f"{file} has more than {_MOST_BYTES >> 20} MiB", fix=_FIX)
    try:
        document = _Document.model_validate(parse_toml(raw))
    except (ValidationError, ValueError) as error:
        raise InvalidInput(f"{file} is no lock file: {_describe_error(error)}", fix=_FIX) from error
    for delta in document.delta:
        _check(file, delta)
    _check_apart(file, [delta.folder for delta in document.delta])
    return Lock(document.registry, document.delta, document.base)


def write_lock(file: Path, lock: Lock) -> bool:
    """Write a lock file, whole or not at all; return whether its content changed.

    Raises:
        InvalidInput: The file cannot be written.
    """
    raw = lock_text(lock).encode()
    try:
        if file.exists() and file.read_bytes() == raw:
            return False
        replace_file(file, raw)
    except OSError as error:
        raise InvalidInput(f"{file} cannot be written: {error.strerror}") from error
    return True


def lock_text(lock: Lock) -> str:
    """Format a lock as in its file; equal locks give equal texts."""
    parts = [_HEAD, f"form = {_quote(_FORM)}\nregistry = {_quote(lock.registry)}\n"]
    parts += [_table("delta", _fields(each)) for each in sorted(lock.deltas, key=_by_folder)]
    for base in sorted(lock.bases, key=lambda each: each.name):
        parts.append(_table("base", _fields(base)))
        if base.parts:
            lines = "\n".join(f"{_quote(k)} = {_quote(v)}" for k, v in sorted(base.parts.items()))
            parts.append(f"[base.parts]\n{lines}\n")
    return "\n".join(parts)


def folder_of(file: Path, text: str) -> str:
    """Format a folder as a lock file names it: below the file, with `/`.

    Raises:
        InvalidInput: The folder is not below the file.
    """
    root = Path(os.path.abspath(file)).parent  # noqa: PTH100  # links on the way stay as they are
    folder = Path(os.path.abspath(text))  # noqa: PTH100
    if folder == root or not folder.is_relative_to(root):
        raise InvalidInput(f"{text} does not lie below {root}", fix=f"name a folder beside {file.name}: models/chat")
    return folder.relative_to(root).as_posix()


_FIX = "write it anew: deltareg lock; or take the one that is in version control"


def _check(file: Path, delta: LockedDelta) -> None:
    """Refuse an entry that leads elsewhere: a folder outside, or an invalid reference."""
    path = PurePosixPath(delta.folder)
    is_below = bool(path.parts) and not path.is_absolute() and ".." not in path.parts
    is_plain = delta.folder.isprintable() and "\\" not in delta.folder
    if not (is_below and is_plain and path.as_posix() == delta.folder):
        raise InvalidInput(f"{file}: {delta.folder[:80]!r} is no folder below the file", fix=_FIX)
    root = file.resolve().parent
    if not (root / path).resolve().is_relative_to(root):
        raise InvalidInput(f"{file}: {delta.folder[:80]!r} is a link out of {root}", fix=_FIX)
    Ref.parse(delta.asked)
    if Ref.parse(delta.ref).version is None or not delta.digest.startswith("sha256:"):
        raise InvalidInput(f"{file}: {delta.folder[:80]} names no version by its digest", fix=_FIX)
    Digest.parse(delta.digest)


def _check_apart(file: Path, folders: Iterable[str]) -> None:
    """Refuse two deltas in one folder, or one inside the other's."""
    paths = sorted(PurePosixPath(folder) for folder in folders)
    for before, after in pairwise(paths):
        if after == before or before in after.parents:
            raise InvalidInput(f"{file}: {after} lies in {before}", fix=_FIX)


def _by_folder(delta: LockedDelta) -> str:
    return delta.folder


def _fields(thing: BaseModel) -> Iterator[tuple[str, str]]:
    for name, value in thing:
        if isinstance(value, str) and value:
            yield name, _quote(value)
        elif isinstance(value, list) and value:
            yield name, f"[{', '.join(_quote(str(each)) for each in cast('list[object]', value))}]"


def _table(name: str, fields: Iterable[tuple[str, str]]) -> str:
    lines = "\n".join(f"{key} = {value}" for key, value in fields)
    return f"[[{name}]]\n{lines}\n"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _describe_error(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error)
