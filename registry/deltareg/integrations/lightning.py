"""A callback for PyTorch Lightning that pushes checkpoints and the result of a training.

::

    from deltareg.integrations.lightning import PushCallback

    trainer = Trainer(..., callbacks=[PushCallback("team/chat", base="llama-3.1-8b")])

Lightning's own checkpoints are pickles, which no registry should accept. So whenever it writes one,
the delta is saved as its library does it: with `save_pretrained` of the module or of its only part
that has it, or with `save`.
"""

# lightning is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false
# It need not be installed where types are checked.
# pyright: reportMissingImports=false

import math
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltareg.client import Client
from deltareg.errors import DeltaregError, InvalidInput
from deltareg.golden.first_batches import FirstBatches
from deltareg.golden.kept_start import KeptStart
from deltareg.golden.rate import rate_left
from deltareg.golden.recording import Processor
from deltareg.integrations.checkpoint_pushes import CheckpointPushes, PushTerms, Strategy, TrainingState
from deltareg.integrations.golden_inputs import GoldenInputs, record_if_wanted
from deltareg.integrations.run_facts import find_run_url, labels_of, newest_metrics
from deltareg.integrations.snapshot import save_pretrained
from deltareg.suites.training_progress import TrainingProgress

if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
    from pytorch_lightning import Callback
else:
    from lightning.pytorch import Callback

if TYPE_CHECKING:
    from torch import nn

Save = Callable[["nn.Module", Path], object]
"""Saves the delta of a module into a folder that is there."""
_SHARDED = ("FSDP", "DeepSpeed", "ModelParallel")
_FIX = "say how: PushCallback(..., save=lambda module, folder: ...)"


class LightningPushCallback(Callback):  # type: ignore[misc]  # it comes without types
    """Pushes a module's delta whenever Lightning writes a checkpoint, and at the end.

    It pushes in the background, like the callback of `deltareg.integrations.transformers`; of
    several processes the first pushes. Sharded weights are not pushed.

    Attributes:
        versions: The pushed versions, oldest first, as `ns/name:vN`.
    """

    def __init__(
        self,
        line: str,
        *,
        base: str | None = None,
        trained_on: str | None = None,
        save: Save | None = None,
        tokenizer: Processor | None = None,
        strategy: Strategy = "every_save",
        golden: GoldenInputs = True,
        parent: str | None = "@prod",
        labels: Mapping[str, str] | None = None,
        message: str = "",
        run_url: str | None = None,
        wait_s: float = 300.0,
        always_push: bool = False,
        strict: bool = False,
        client: Client | None = None,
    ) -> None:
        """Configure where to push and how; no request is sent yet.

        Args:
            line: The line, `ns/name`.
            base: The base that is trained on: its name, its folder, or a version; None for the one
                in the adapter's config.
            trained_on: The base to insist on where the adapter's config names another one; the
                versions keep what it names.
            save: Saves the delta of a module into a folder; None for `save_pretrained` of the
                module or of its only part that has it.
            tokenizer: Saved beside the delta, and used to record outputs.
            strategy: `every_save` for each checkpoint and the end, or `end` for the end alone.
            golden: Whether to record golden outputs, or the texts or inputs for them.
            parent: What the training started from: a version, or `@CHANNEL` for what it serves, if
                anything; None for nothing.
            labels: Labels of every version.
            message: Text before the message of every version.
            run_url: The URL of the run; None to take it from Weights & Biases, MLflow or the CI.
            wait_s: How long the end of the training waits for the last push, in seconds.
            always_push: Whether the training waits for a push under way when it saves again, so
                that no checkpoint is left out.
            strict: Whether a failed push ends the training, with its error.
            client: The client to push with; None for one from the environment and the settings
                files.

        Raises:
            InvalidInput: The line is not a name for one, or there is no such strategy.
        """
        super().__init__()
        own = dict(labels or {})
        self._terms = PushTerms(
            line,
            base=base,
            trained_on=trained_on,
            golden=golden is not False,
            parent=parent,
            message=message,
            labels=own,
            strategy=strategy,
            wait_s=wait_s,
            always_push=always_push,
            strict=strict,
        )
        self._save, self._tokenizer = save, tokenizer
        self._golden, self._run_url = golden, run_url
        self._pushes = CheckpointPushes(self._terms, client)
        self._start: KeptStart | None = None

    @property
    def versions(self) -> list[str]:
        """The pushed versions, oldest first."""
        return [report.version.ref for report in self._pushes.reports]

    def on_train_start(self, trainer: Any, pl_module: "nn.Module") -> None:  # noqa: ANN401  # untyped
        """Check that pushing will work; anything odd about the first batches is logged later."""
        if trainer.is_global_zero:
            root = Path(str(trainer.default_root_dir))
            goes_on = trainer.global_step > 0
            part = None
            with suppress(InvalidInput):  # what cannot be saved is told when it is to be
                part = _saving_part(pl_module) if self._save is None else None
            is_sharded = type(trainer.strategy).__name__.startswith(_SHARDED)
            self._pushes.begin(root, goes_on=goes_on, model=None if is_sharded else part)
            batches = None if part is None or goes_on else FirstBatches(part)
            self._start = KeptStart.of(root, batches, goes_on=goes_on)

    def on_save_checkpoint(
        self,
        trainer: Any,  # noqa: ANN401  # untyped
        pl_module: "nn.Module",
        checkpoint: dict[str, Any],
    ) -> None:
        """Push the state that a checkpoint is being written of."""
        if self._terms.strategy == "every_save" and trainer.training and trainer.is_global_zero:
            self._offer(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: "nn.Module") -> None:  # noqa: ANN401  # untyped
        """Push the result of the training, unless its last checkpoint was that, and wait for it."""
        if trainer.is_global_zero:
            if self._start is not None:
                self._start.stop()
            self._pushes.settle()
            self._offer(trainer, pl_module, is_last=True)
            self._pushes.finish()

    def _offer(self, trainer: Any, module: "nn.Module", *, is_last: bool = False) -> None:  # noqa: ANN401  # untyped
        step = int(trainer.global_step)
        if step == 0 or self._pushes.is_offered(step):
            return
        folder = self._pushes.folder_of(step)
        try:
            _refuse_sharded(trainer)
            part = module if self._save is not None else _saving_part(module)
            if self._save is None:
                save_pretrained(folder, part, self._tokenizer, fix=_FIX)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                self._save(module, folder)
            if self._tokenizer is not None or not isinstance(self._golden, bool):
                start = None if self._start is None else self._start.at(step)
                progress = _progress_of(trainer)
                record_if_wanted(part, self._tokenizer, self._golden, folder, start, progress)
        except (DeltaregError, OSError) as error:
            self._pushes.fail(error, step)
            return
        self._pushes.offer(TrainingState(folder, step, self._labels(trainer, step), is_last=is_last))

    def _labels(self, trainer: Any, step: int) -> dict[str, str]:  # noqa: ANN401  # untyped
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        return labels_of(
            step=step,
            epoch=float(trainer.current_epoch),
            metrics=newest_metrics([metrics]),
            run_url=find_run_url() if self._run_url is None else self._run_url,
            own=self._terms.labels,
        )


def _progress_of(trainer: Any) -> TrainingProgress | None:  # noqa: ANN401  # untyped
    """Return how far a training has come, and if it saves or stops by a measure; None: unknown."""
    try:
        planned_steps = float(trainer.estimated_stepping_batches)  # infinite where nobody planned an end
    except Exception:  # noqa: BLE001  # it asks loaders, which raise what they like
        return None
    schedules = [one.scheduler for one in trainer.lr_scheduler_configs]
    saves_by_measure = getattr(trainer.checkpoint_callback, "monitor", None) is not None
    stops_by_measure = trainer.should_stop and trainer.early_stopping_callback is not None
    return TrainingProgress(
        int(trainer.global_step),
        int(planned_steps) if math.isfinite(planned_steps) else 0,
        max(map(rate_left, schedules), default=1.0),
        is_chosen=bool(saves_by_measure or stops_by_measure),
    )


def _refuse_sharded(trainer: Any) -> None:  # noqa: ANN401  # untyped
    name = type(trainer.strategy).__name__
    if name.startswith(_SHARDED):
        raise InvalidInput(
            f"{name} spreads the weights over processes",
            fix="gather and save them after the training, then: deltareg push FOLDER NS/NAME",
        )


def _saving_part(module: "nn.Module") -> "nn.Module":
    """Return the part that can save itself: the module, or its only part that can."""
    if hasattr(module, "save_pretrained"):
        return module
    parts = [part for part in module.children() if hasattr(part, "save_pretrained")]
    if len(parts) == 1:
        return parts[0]
    what = "no part" if not parts else f"{len(parts)} parts"
    raise InvalidInput(f"{what} of {type(module).__name__} can save_pretrained", fix=_FIX)
