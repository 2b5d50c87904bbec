"""What a person has judged so far of lines, remembered in one small file a line.

::

    bisect/<host>_<port>/<namespace>/<name>.json

The folder lies where the system keeps the state of programs (`$XDG_STATE_HOME/deltareg`), as it is
no cache: nobody could compute it again. A change names what it was made from, so of two at once one
is told to look again, and a version is never marked by somebody who meant another.
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
    """One version as it was judged."""

    model_config = ConfigDict(frozen=True)

    version: int
    mark: Mark


class LineMarks(BaseModel):
    """What was judged of a line, in order, and what was proposed to be judged next.

    Attributes:
        form: The format of the file.
        marks: Versions with how they were judged.
        proposed: The version that was named last as the one to try.
    """

    model_config = ConfigDict(frozen=True)

    form: Literal["deltareg.bisection/1"] = "deltareg.bisection/1"
    marks: tuple[MarkedVersion, ...] = ()
    proposed: int | None = None

    def with_mark(self, version: int, mark: Mark) -> Self:
        """Give the same with one more judgement; what was said of the version before goes."""
        others = tuple(one for one in self.marks if one.version != version)
        return self.model_copy(update={"marks": (*others, MarkedVersion(version=version, mark=mark))})

    def proposing(self, version: int | None) -> Self:
        """Give the same with another proposal."""
        return self.model_copy(update={"proposed": version})

    def by_version(self) -> dict[int, Mark]:
        """Give the judgements by version."""
        return {one.version: one.mark for one in self.marks}


@dataclass(frozen=True, slots=True)
class KeptMarks:
    """The bisections by hand that go on at one server."""

    root: Path

    @classmethod
    def of_server(cls, server: str) -> Self:
        """Find the folder of a server; it is made when something is kept."""
        return cls(platformdirs.user_state_path("deltareg") / "bisect" / token_path(server).name)

    def lines(self) -> list[LineRef]:
        """List the lines of which a bisection goes on."""
        files = self.root.glob("*/*.json")
        return sorted((LineRef(path.parent.name, path.stem) for path in files if path.is_file()), key=str)

    def read(self, line: LineRef) -> LineMarks | None:
        """Give what is kept of a line; None where nothing is.

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
        """Keep something in the place of what it was made from.

        Raises:
            Conflict: Something else is kept by now.
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
        """Keep nothing of a line any more; tells whether there was something."""
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
        """Keep other processes out for the few instructions of a change; a kill lets go, too."""
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
