"""Judgements of a person in a bisection by hand, kept in one small file for each line.

::

    bisect/<host>_<port>/<namespace>/<name>.json

The folder lies where the system keeps the state of programs (`$XDG_STATE_HOME/deltareg`). It is not
a cache: nobody could compute it again. A change names the state that it was made from, so that of
two simultaneous changes one is refused, and nobody marks a version other than the one they meant.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import platformdirs
from pydantic import BaseModel, ConfigDict, ValidationError

from deltareg.client.disk.kept_files import out_of_space
from deltareg.errors import Conflict, InvalidInput
from deltareg.gate.bisection import Mark
from deltareg.host.token_files import token_path
from deltareg.refs import LineRef


class MarkedVersion(BaseModel):
    """One version and how it was judged."""

    model_config = ConfigDict(frozen=True)

    version: int
    mark: Mark


class LineMarks(BaseModel):
    """The judgements of a line, in order, and the version proposed next.

    Attributes:
        form: The format of the file.
        marks: Versions and how they were judged.
        proposed: The version that was last proposed to try.
    """

    model_config = ConfigDict(frozen=True)

    form: Literal["deltareg.bisection/1"] = "deltareg.bisection/1"
    marks: tuple[MarkedVersion, ...] = ()
    proposed: int | None = None

    def with_mark(self, version: int, mark: Mark) -> Self:
        """Return these marks with one more judgement, replacing an earlier one of that version."""
        others = tuple(one for one in self.marks if one.version != version)
        return self.model_copy(update={"marks": (*others, MarkedVersion(version=version, mark=mark))})

    def proposing(self, version: int | None) -> Self:
        """Return these marks with another proposal."""
        return self.model_copy(update={"proposed": version})

    def by_version(self) -> dict[int, Mark]:
        """Return the judgements by version."""
        return {one.version: one.mark for one in self.marks}


@dataclass(frozen=True, slots=True)
class KeptMarks:
    """The bisections by hand that are under way at one server."""

    root: Path

    @classmethod
    def of_server(cls, server: str) -> Self:
        """Use the folder of a server; it is created when something is kept."""
        return cls(platformdirs.user_state_path("deltareg") / "bisect" / token_path(server).name)

    def lines(self) -> list[LineRef]:
        """List the lines with a bisection under way."""
        files = self.root.glob("*/*.json")
        return sorted((LineRef(path.parent.name, path.stem) for path in files if path.is_file()), key=str)

    def read(self, line: LineRef) -> LineMarks | None:
        """Return what is kept of a line, or None.

        Raises:
            InvalidInput: The file cannot be read.
        """
        path = self._path(line)
        try:
            return LineMarks.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValidationError as error:
            raise InvalidInput(
                f"{path} is damaged, or of another release", fix=f"begin anew: deltareg bisect reset {line}"
            ) from error

    def swap(self, line: LineRef, before: LineMarks | None, after: LineMarks) -> None:
        """Replace what is kept of a line, if it is still what the change was made from.

        Raises:
            Conflict: It has changed since.
            InvalidInput: The folder cannot be written to.
        """
        with self._alone():
            if self.read(line) != before:
                raise Conflict(
                    f"the bisection of {line} went on in another place meanwhile",
                    fix=f"look where it is: deltareg bisect status {line}",
                )
            if after == before:
                return
            path = self._path(line)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            draft = path.with_name(f".{path.name}.draft")  # one a time: we are alone
            with out_of_space(self.root), draft.open("wb") as file:
                file.write(after.model_dump_json().encode())
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)

    def forget(self, line: LineRef) -> bool:
        """Forget everything about a line; return whether there was anything."""
        path = self._path(line)
        if not path.exists():
            return False
        with self._alone():
            path.unlink(missing_ok=True)
        return True

    def _path(self, line: LineRef) -> Path:
        return self.root / line.namespace / f"{line.name}.json"

    @contextmanager
    def _alone(self) -> Generator[None, None, None]:
        """Keep other processes out during a change; a killed process releases its lock."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.root, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidInput(
                f"{self.root} cannot be written to: {error.strerror}",
                fix="name another folder for state: XDG_STATE_HOME",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
