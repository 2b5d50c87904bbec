"""A callback for transformers' Trainer that records at each checkpoint."""

# transformers is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeArgument=false

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from deltareg.errors import DeltaregError
from deltareg.golden.first_batches import FirstBatches
from deltareg.golden.kept_start import KeptStart
from deltareg.golden.rate import rate_left
from deltareg.golden.recording import Arrays, Processor, record
from deltareg.suites.training_progress import TrainingProgress

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)


class GoldenCallback(TrainerCallback):  # type: ignore[misc]  # it comes without types
    """Records golden outputs into each checkpoint folder after it was written.

    ::

        Trainer(..., callbacks=[GoldenCallback(tokenizer)])

    It never ends a training: failures are logged. Sharded weights are not recorded, since all
    processes would have to take part.
    """

    def __init__(
        self,
        processor: Processor | None = None,
        inputs: Sequence[str] | Arrays | Sequence[Arrays] | None = None,
        *,
        most_tokens: int = 48,
    ) -> None:
        """Configure what is recorded; see `deltareg.golden.record`.

        Args:
            processor: The tokenizer or processor; None for the Trainer's own.
            inputs: Texts or inputs; None for short texts that come with this package.
            most_tokens: How many tokens of a text to use.
        """
        self._processor = processor
        self._inputs = inputs
        self._most_tokens = most_tokens
        self._start: KeptStart | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: "nn.Module | None" = None,
        **_: object,
    ) -> None:
        """Watch the first batches, and log anything odd about them."""
        self._start = watch_training(args, state, model)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Stop watching."""
        if self._start is not None:
            self._start.stop()

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: "nn.Module | None" = None,
        processing_class: Any = None,  # noqa: ANN401  # a tokenizer or processor of any class
        lr_scheduler: object = None,
        **_: object,
    ) -> None:
        """Record into the checkpoint that was just written."""
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        if model is None or not state.is_world_process_zero or not folder.is_dir():
            return
        if args.deepspeed or args.fsdp:
            log.warning("no golden outputs in %s: its weights are spread over processes", folder)
            return
        processor = processing_class if self._processor is None else self._processor
        try:
            record(
                model,
                processor,
                self._inputs,
                folder,
                most_tokens=self._most_tokens,
                training=None if self._start is None else self._start.at(state.global_step),
                progress=progress_of(state, control, lr_scheduler, step=state.global_step),
            )
        except (DeltaregError, OSError, RuntimeError, TypeError, ValueError) as error:
            log.warning("no golden outputs in %s: %s", folder, error)


def progress_of(state: TrainerState, control: TrainerControl, scheduler: object, *, step: int) -> TrainingProgress:
    """Return how far a Trainer had come at a checkpoint.

    Args:
        state: The Trainer's state.
        control: What the Trainer does next.
        scheduler: The scheduler of the learning rate.
        step: The checkpoint's step.
    """
    is_best = getattr(state, "best_global_step", None) == step  # older ones do not say
    # Whoever is told to stop without an evaluation is out of time.
    stops_by_measure = control.should_training_stop and state.best_metric is not None
    return TrainingProgress(
        step, max(int(state.max_steps), 0), rate_left(scheduler), is_chosen=bool(is_best or stops_by_measure)
    )


def watch_training(args: TrainingArguments, state: TrainerState, model: "nn.Module | None") -> KeptStart | None:
    """Watch a training that begins; for one that continues, its beginning is remembered.

    A compiled forward is not watched.
    """
    if not state.is_world_process_zero:
        return None
    goes_on = state.global_step > 0
    is_watched = model is not None and not goes_on and not args.torch_compile
    batches = FirstBatches(model) if model is not None and is_watched else None
    return KeptStart.of(Path(str(args.output_dir)), batches, goes_on=goes_on)
