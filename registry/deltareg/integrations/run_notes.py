"""Notes of a training on its pushes, in its own folder, so that it can continue after a kill.

A version's parents are part of its identity. A training that continues from a checkpoint has to
make the versions that it would have made without the interruption. So the parent of a push is the
newest version of an earlier step in these notes, and not the newest of the line.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from deltareg.documents.json_values import is_list, is_object, parse_json

_FILE = "run.json"


@dataclass(slots=True)
class RunNotes:
    """The pushes of one training.

    Attributes:
        folder: The folder with the notes.
        line: The line that is pushed to, and its server.
        began_from: The version that the training started from; empty for none, None until it was
            looked up.
        pushed: The version of each pushed step.
        pushing: The step that was being pushed when the notes were written, with its labels.
    """

    folder: Path
    line: str
    began_from: str | None = None
    pushed: dict[int, str] = field(default_factory=dict[int, str])
    pushing: tuple[int, Mapping[str, str]] | None = None

    def begin_push(self, step: int, labels: Mapping[str, str]) -> None:
        """Record a push that is about to start: a killed process does not learn its version.

        Raises:
            OSError: The disk is full, or the folder is gone.
        """
        self.pushing = step, labels
        self.write()

    def end_push(self, ref: str) -> None:
        """Record the version that the push created.

        Raises:
            OSError: The disk is full, or the folder is gone.
        """
        assert self.pushing is not None, "a push has begun"
        self.pushed[self.pushing[0]] = ref
        self.pushing = None
        self.write()

    def before(self, step: int) -> str:
        """Return the version before a step; empty if none was pushed."""
        earlier = [one for one in self.pushed if one < step]
        return self.pushed[max(earlier)] if earlier else ""

    def write(self) -> None:
        """Write the notes, whole or not at all.

        Raises:
            OSError: The disk is full, or the folder is gone.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".{_FILE}.{os.getpid()}"
        pushed = [{"step": step, "ref": ref} for step, ref in self.pushed.items()]
        document = {
            "line": self.line,
            "began_from": self.began_from,
            "pushed": pushed,
            "pushing": None if self.pushing is None else {"step": self.pushing[0], "labels": dict(self.pushing[1])},
        }
        draft.write_text(json.dumps({"schema_version": 1, **document}, indent=1) + "\n")
        draft.replace(self.folder / _FILE)


def read_notes(folder: Path, line: str) -> RunNotes:
    """Read the notes of a training that continues; empty ones if there are none for this line."""
    fresh = RunNotes(folder, line)
    try:
        document: object = parse_json((folder / _FILE).read_text())
    except (OSError, ValueError):
        return fresh
    if not is_object(document) or document.get("line") != line:
        return fresh
    began_from, raw_rows = document.get("began_from"), document.get("pushed")
    rows = [row for row in raw_rows if is_object(row)] if is_list(raw_rows) else []
    pushed = {
        cast("int", row["step"]): str(row["ref"])
        for row in rows
        if isinstance(row.get("step"), int) and isinstance(row.get("ref"), str)
    }
    began_from = began_from if isinstance(began_from, str) else None
    return RunNotes(folder, line, began_from, pushed, _pushing(document.get("pushing")))


def _pushing(found: object) -> tuple[int, Mapping[str, str]] | None:
    """Read what was being pushed; None if nothing was, or an earlier release wrote the notes."""
    if not is_object(found) or not is_object(labels := found.get("labels")):
        return None
    step = found.get("step")
    texts = {name: text for name, text in labels.items() if isinstance(text, str)}
    return (step, texts) if isinstance(step, int) else None
