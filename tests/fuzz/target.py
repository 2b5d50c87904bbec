"""A reader of a format as the fuzzers see it: bytes go in, and a value or one of our errors comes out."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

from deltareg.errors import DeltaregError

FOLDER = Path(__file__).parent
CORPUS = FOLDER / "corpus"
FOUND = FOLDER / "found"
_MOST_BYTES = 16 << 10
_MEMORY_DISK = Path("/dev/shm")


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        name: The name of its folders of seeds and of found inputs.
        read: Reads bytes.
        modules: The modules whose readers it reaches, without `deltareg.`.
        seeds: Sound input, beside the files of its folder.
        write: Writes what was read; that is read again, and must be the same. None where nothing writes it.
        allowed: Errors that its contract allows beside ours.
    """

    name: str
    read: Callable[[bytes], Any]
    modules: tuple[str, ...]
    seeds: tuple[bytes, ...] = ()
    write: Callable[[Any], bytes] | None = None
    allowed: tuple[type[Exception], ...] = ()

    def corpus(self) -> list[bytes]:
        """Return the sound inputs, in the order of their names."""
        files = sorted((CORPUS / self.name).glob("*"))
        return [*self.seeds, *(file.read_bytes() for file in files)]

    def found(self) -> list[bytes]:
        """Return the inputs that once broke it."""
        return [file.read_bytes() for file in sorted((FOUND / self.name).glob("*"))]

    def run(self, data: bytes) -> str:
        """Read an input.

        Returns:
            How it ended: the name of our error, or `read`.

        Raises:
            Exception: Anything else than one of our errors came out.
            AssertionError: What was written of it is read otherwise.
        """
        try:
            value = self.read(data)
        except Exception as error:
            if not isinstance(error, (DeltaregError, *self.allowed)):
                raise
            str(error)
            return type(error).__name__
        if self.write is not None:
            again = self.read(self.write(value))
            assert again == value, f"{self.name}: what was written of it is read otherwise"
        return "read"


@dataclass
class Scratch:
    """A folder for readers that take a path; made on first use, empty for each input."""

    _folder: list[Path] = field(default_factory=list)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Give an empty folder."""
        if not self._folder:
            where = _MEMORY_DISK if _MEMORY_DISK.is_dir() else None
            self._folder.append(Path(tempfile.mkdtemp(prefix="fuzz-", dir=where)))
        folder = self._folder[0] / "case"
        folder.mkdir()
        try:
            yield folder
        finally:
            rmtree(folder)

    @contextmanager
    def file(self, data: bytes, name: str = "input") -> Iterator[Path]:
        """Give a file with those bytes."""
        with self.folder() as folder:
            path = folder / name
            path.write_bytes(data)
            path.chmod(0o600)
            yield path

    def remove(self) -> None:
        """Remove it."""
        while self._folder:
            rmtree(self._folder.pop())


SCRATCH = Scratch()


def of_text(read: Callable[[str], Any]) -> Callable[[bytes], Any]:
    """Make a reader of text one of bytes, as arguments of a command are: what is no UTF-8 is half of a pair."""
    return lambda data: read(data.decode("utf-8", "surrogateescape"))


def of_file(read: Callable[[Path], Any], name: str = "input") -> Callable[[bytes], Any]:
    """Make a reader of a file one of bytes."""

    def run(data: bytes) -> Any:
        with SCRATCH.file(data, name) as path:
            return read(path)

    return run


def name_of(data: bytes) -> str:
    """Return how a file with that input is called."""
    return hashlib.sha256(data).hexdigest()[:12]


def keep(target: str, name: str, data: bytes | str | object) -> None:
    """Write an input, if there is none of that name."""
    path = CORPUS / target / name
    raw = data if isinstance(data, bytes) else data.encode() if isinstance(data, str) else json.dumps(data).encode()
    assert len(raw) <= _MOST_BYTES, (target, name, len(raw))
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
