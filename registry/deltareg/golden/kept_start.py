"""How a training began, remembered beside its checkpoints for an interruption.

A checkpoint that is recorded again gets the same bytes as the first time, so that pushing it again
gives the same version: from the step at which the first batches were complete it includes them, and
before that never.
"""

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from deltareg.golden.first_batches import FirstBatches
from deltareg.golden.kept_file import keep
from deltareg.suites.training_start import TrainingStart

PLACE = Path(".deltareg", "first-batches.json")


@dataclass(frozen=True, slots=True)
class _Kept:
    """The content of the file: how the training began, and from which step on that was known."""

    step: int
    start: TrainingStart


_FORM = TypeAdapter(_Kept)


@dataclass(frozen=True, slots=True)
class KeptStart:
    """How a training began.

    Attributes:
        path: The file that remembers it.
        batches: The watch on the first batches; None if the training continues, or nothing watches.
    """

    path: Path
    batches: FirstBatches | None

    @classmethod
    def of(cls, folder: Path, batches: FirstBatches | None, *, goes_on: bool) -> Self:
        """Use a training's folder; notes of another training are removed."""
        path = folder / PLACE
        if not goes_on:
            with suppress(OSError):  # what cannot be taken away ends no training
                path.unlink(missing_ok=True)
        return cls(path, batches)

    def stop(self) -> None:
        """Stop watching: the training is over, and may have been short."""
        if self.batches is not None:
            self.batches.stop()

    def at(self, step: int) -> TrainingStart | None:
        """Return what to record with the checkpoint of a step.

        Raises:
            OSError: The file cannot be written.
        """
        record = self._read()
        if record is None and self.batches is not None and self.batches.start is not None:
            record = _Kept(step, self.batches.start)
            keep(self.path, asdict(record))
        return record.start if record is not None and step >= record.step else None

    def _read(self) -> _Kept | None:
        try:
            return _FORM.validate_json(self.path.read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return None
