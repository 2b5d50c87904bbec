"""How far a training had come at each checkpoint, remembered for an interruption.

A training that continues is no longer about to stop, and may have another plan. What it says of the
checkpoint that it continues from has to stay what was said when the checkpoint was written, so that
pushing it again gives the same version.
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
    """How far a training had come, by step.

    Attributes:
        path: The file that remembers it.
        known: The progress at each step.
    """

    path: Path
    known: dict[int, TrainingProgress] = field(default_factory=dict[int, TrainingProgress])

    @classmethod
    def of(cls, folder: Path, *, since: int) -> Self:
        """Read what a training's folder remembers, up to the step that it continues from."""
        path = folder / _PLACE
        by_step: dict[int, TrainingProgress] = {}
        with suppress(OSError, ValidationError):  # one that begins has none
            by_step = _FORM.validate_json(path.read_bytes())
        return cls(path, {step: one for step, one in by_step.items() if step <= since})

    def at(self, now: TrainingProgress) -> TrainingProgress:
        """Return the progress remembered for a step; if there is none, remember the current one.

        Raises:
            OSError: The file cannot be written.
        """
        if now.step in self.known:
            return self.known[now.step]
        self.known[now.step] = now
        newest = sorted(self.known)[-_MOST:]
        keep(self.path, {step: asdict(self.known[step]) for step in newest})
        return now
