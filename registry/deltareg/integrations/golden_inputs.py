"""Records golden outputs in a training, as far as its arguments ask for them."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.golden import GOLDEN_FILE, record
from deltareg.golden.recording import Arrays, Processor
from deltareg.suites.training_progress import TrainingProgress
from deltareg.suites.training_start import TrainingStart

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)
GoldenInputs = bool | Sequence[str] | Arrays | Sequence[Arrays]
"""True for short texts that come with this package, False for nothing, or texts or inputs."""


def record_if_wanted(
    model: "nn.Module",
    processor: Processor | None,
    wanted: GoldenInputs,
    folder: Path,
    start: TrainingStart | None = None,
    progress: TrainingProgress | None = None,
) -> None:
    """Record a model's outputs beside its files; a failure is only logged.

    Args:
        model: The model, with the pushed delta on it.
        processor: Its tokenizer or processor, if there is one.
        wanted: Whether to record, or the texts or inputs to record.
        folder: The pushed folder; existing outputs in it stay.
        start: How the training began.
        progress: How far the training has come.
    """
    if wanted is False or (folder / GOLDEN_FILE).exists():
        return
    try:
        record(model, processor, None if wanted is True else wanted, folder, training=start, progress=progress)
    except Exception as error:  # noqa: BLE001  # a forward raises what it likes, and ends no training
        reason = str(error) or type(error).__name__
        log.warning("no golden outputs in %s: %s", folder.name, reason)
