"""What a training remembers of its pushes, in its own folder, to go on with after it was killed.

A version's parents are part of what it is. So that a training which goes on from a checkpoint makes
the versions that it would have made without the break, the parent of a push is the newest one of an
earlier step, by these notes, and not the newest of the line.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from deltareg.documents.json_values import is_list, is_object

_FILE = "run.json"


@dataclass(slots=True)
class RunNotes:
    """The pushes of one training.

    Attributes:
        folder: Where the notes lie.
        line: The line that is pushed to, and on which server.
        began_from: The version that the training began from; empty for none, None while nobody has
            looked.
        pushed: The version of each step that was pushed.
    """

    folder: Path
    line: str
    began_from: str | None = None
    pushed: dict[int, str] = field(default_factory=dict[int, str])

    def before(self, step: int) -> str:
        """Name the version that one of this step follows; empty where none was pushed."""
        earlier = [one for one in self.pushed if one < step]
        return self.pushed[max(earlier)] if earlier else ""

    def write(self) -> None:
        """Write them down; they appear whole or not at all.

        Raises:
            OSError: The disk is full, or the folder is gone.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".{_FILE}.{os.getpid()}"
        pushed = [{"step": step, "ref": ref} for step, ref in self.pushed.items()]
        known = {"line": self.line, "began_from": self.began_from, "pushed": pushed}
        draft.write_text(json.dumps({"schema_version": 1, **known}, indent=1) + "\n")
        draft.replace(self.folder / _FILE)


def read_notes(folder: Path, line: str) -> RunNotes:
    """Read the notes of a training that goes on; empty ones where there are none of this line."""
    fresh = RunNotes(folder, line)
    try:
        found: object = json.loads((folder / _FILE).read_text())
    except (OSError, ValueError):
        return fresh
    if not is_object(found) or found.get("line") != line:
        return fresh
    began_from, listed = found.get("began_from"), found.get("pushed")
    rows = [row for row in listed if is_object(row)] if is_list(listed) else []
    pushed = {
        cast("int", row["step"]): str(row["ref"])
        for row in rows
        if isinstance(row.get("step"), int) and isinstance(row.get("ref"), str)
    }
    return RunNotes(folder, line, began_from if isinstance(began_from, str) else None, pushed)
