"""How far a training had come with each checkpoint, remembered for when it is broken off.

A training that goes on is told to stop no longer, and may have another plan. What it says of the
checkpoint that it goes on from has to be what was said when that was made: pushed again it is the
same version.
"""

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from deltareg.golden.kept_file import keep
from deltareg.suites.training_progress import TrainingProgress

_PLACE = Path(".deltareg", "progress.json")
_FORM = TypeAdapter(dict[int, TrainingProgress])
_MOST = 1_000  # the checkpoints of a long training, and a file that is written in no time


@dataclass(slots=True)
class KeptProgress:
    """How far a training had come.

    Attributes:
        path: Where it is remembered.
        known: By step.
    """

    path: Path
    known: dict[int, TrainingProgress] = field(default_factory=dict[int, TrainingProgress])

    @classmethod
    def of(cls, folder: Path, *, since: int) -> Self:
        """Read what a training's folder remembers up to the step that it goes on from."""
        path = folder / _PLACE
        by_step: dict[int, TrainingProgress] = {}
        with suppress(OSError, ValidationError):  # one that begins has none
            by_step = _FORM.validate_json(path.read_bytes())
        return cls(path, {step: one for step, one in by_step.items() if step <= since})

    def at(self, now: TrainingProgress) -> TrainingProgress:
        """Give what was said of a step when it was made, and remember what is said now.

        Raises:
            OSError: It cannot be remembered.
        """
        if now.step in self.known:
            return self.known[now.step]
        self.known[now.step] = now
        newest = sorted(self.known)[-_MOST:]
        keep(self.path, {step: asdict(self.known[step]) for step in newest})
        return now
