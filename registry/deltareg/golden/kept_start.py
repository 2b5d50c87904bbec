"""How a training began, remembered beside its checkpoints for when it is broken off and goes on.

A checkpoint that is recorded anew gets the same bytes as the first time, so that pushing it again
gives the same version: from the step on with which the first batches were complete, they are with
it, and before that never.
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
    """What is in the file: how the training began, and from which step on that was known."""

    step: int
    start: TrainingStart


_FORM = TypeAdapter(_Kept)


@dataclass(frozen=True, slots=True)
class KeptStart:
    """How a training began.

    Attributes:
        path: Where it is remembered.
        batches: What watches it; None where it goes on, or nobody watches.
    """

    path: Path
    batches: FirstBatches | None

    @classmethod
    def of(cls, folder: Path, batches: FirstBatches | None, *, goes_on: bool) -> Self:
        """Remember in a training's folder; what is there of another training goes."""
        path = folder / PLACE
        if not goes_on:
            with suppress(OSError):  # what cannot be taken away ends no training
                path.unlink(missing_ok=True)
        return cls(path, batches)

    def stop(self) -> None:
        """Watch no more: the training is over, and may have been shorter."""
        if self.batches is not None:
            self.batches.stop()

    def at(self, step: int) -> TrainingStart | None:
        """Give what goes with the checkpoint of a step.

        Raises:
            OSError: It cannot be remembered.
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
