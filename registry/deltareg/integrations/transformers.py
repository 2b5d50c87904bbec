"""A callback for transformers' Trainer that pushes checkpoints and the result of a training.

::

    from deltareg.integrations.transformers import PushCallback

    trainer = Trainer(..., callbacks=[PushCallback("team/chat", base="llama-3.1-8b")])

It works with every Trainer derived from transformers' own: those of TRL, LLaMA-Factory and axolotl.
Pushes run in the background, and a failure does not end the training unless `strict` is set.
"""

# transformers is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeArgument=false

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from deltareg.client import Client
from deltareg.errors import DeltaregError, InvalidInput
from deltareg.golden.kept_progress import KeptProgress
from deltareg.golden.kept_start import KeptStart
from deltareg.golden.recording import Processor
from deltareg.golden.trainer import progress_of, watch_training
from deltareg.integrations.checkpoint_pushes import CheckpointPushes, PushTerms, Strategy, TrainingState
from deltareg.integrations.golden_inputs import GoldenInputs, record_if_wanted
from deltareg.integrations.run_facts import find_run_url, labels_of, newest_metrics
from deltareg.integrations.snapshot import save_pretrained, take_snapshot
from deltareg.suites.training_progress import TrainingProgress

if TYPE_CHECKING:
    from torch import nn

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


class PushCallback(TrainerCallback):  # type: ignore[misc]  # it comes without types
    """Pushes each checkpoint of a training, and its result, as versions of a line.

    Pushes run while the training goes on. If checkpoints come faster than they can be pushed,
    waiting ones are replaced by newer ones. A version's parent is the one before it; its labels
    give step, epoch, metrics and the run's URL; golden outputs are recorded into it. Of several
    processes the first pushes.

    Attributes:
        versions: The pushed versions, oldest first, as `ns/name:vN`.
    """

    def __init__(
        self,
        line: str,
        *,
        base: str | None = None,
        trained_on: str | None = None,
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
        self._golden, self._run_url = golden, run_url
        self._pushes = CheckpointPushes(self._terms, client)
        self._start: KeptStart | None = None
        self._progress: KeptProgress | None = None

    @property
    def versions(self) -> list[str]:
        """The pushed versions, oldest first."""
        return [report.version.ref for report in self._pushes.reports]

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: object
    ) -> None:
        """Check that pushing will work, and push the checkpoint that an interrupted run did not.

        A fresh training ends here, before its first step, where its pushes would fail in any case.

        Anything odd about the first batches is logged: labels that are shifted twice, an end token
        that is not learnt, ids of another tokenizer.
        """
        if not state.is_world_process_zero:
            return
        self._start = watch_training(args, state, cast("nn.Module | None", given.get("model")))
        folder = Path(str(args.output_dir))
        self._progress = KeptProgress.of(folder, since=state.global_step)
        model = None if args.fsdp or args.deepspeed else given.get("model")  # one process has not all of it
        self._pushes.begin(folder, goes_on=state.global_step > 0, model=model)
        self.on_save(args, state, control, **given)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: object) -> None:
        """Push the checkpoint that was just written."""
        folder = _checkpoint(args, state.global_step)
        is_wanted = self._terms.strategy == "every_save" and state.is_world_process_zero
        if is_wanted and folder.is_dir():
            self._offer(_Moment.of(args, state, control, given), folder, state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: object
    ) -> None:
        """Push the result of the training, unless its last checkpoint was that, and wait for it."""
        if not state.is_world_process_zero:
            return
        if self._start is not None:
            self._start.stop()
        self._pushes.settle()
        step, folder = _outcome(args, state)
        self._offer(_Moment.of(args, state, control, given), folder, step, is_last=True)
        self._pushes.finish()

    def _offer(self, moment: "_Moment", checkpoint: Path | None, step: int, *, is_last: bool = False) -> None:
        if self._pushes.is_offered(step):
            return
        folder = self._pushes.folder_of(step)
        try:
            if checkpoint is not None:
                take_snapshot(checkpoint, folder)
            else:
                moment.save(folder)
            if moment.model is not None and not moment.is_sharded:
                start = None if self._start is None else self._start.at(step)
                progress = moment.progress(step)
                if self._progress is not None:
                    progress = self._progress.at(progress)
                record_if_wanted(moment.model, moment.processor, self._golden, folder, start, progress)
        except (DeltaregError, OSError) as error:
            self._pushes.fail(error, step)
            return
        labels = self._labels(moment.state, step)
        self._pushes.offer(TrainingState(folder, step, labels, is_last=is_last))

    def _labels(self, state: TrainerState, step: int) -> dict[str, str]:
        history = [entry for entry in state.log_history if entry.get("step", 0) <= step]
        epochs = [entry["epoch"] for entry in history if "epoch" in entry]
        epoch = state.epoch if step == state.global_step else (epochs[-1] if epochs else None)
        run_url = find_run_url() if self._run_url is None else self._run_url
        return labels_of(
            step=step, epoch=epoch, metrics=newest_metrics(history), run_url=run_url, own=self._terms.labels
        )


@dataclass(frozen=True, slots=True)
class _Moment:
    """The arguments that a callback is called with.

    Attributes:
        args: The training's arguments.
        state: The training's state.
        control: What the Trainer does next.
        model: The model.
        processor: Its tokenizer or processor, if the Trainer has one.
        scheduler: The scheduler of the learning rate.
    """

    args: TrainingArguments
    state: TrainerState
    control: TrainerControl
    model: "nn.Module | None"
    processor: "Processor | None"
    scheduler: object = None

    @classmethod
    def of(
        cls, args: TrainingArguments, state: TrainerState, control: TrainerControl, given: Mapping[str, object]
    ) -> "_Moment":
        model, processor = given.get("model"), given.get("processing_class")
        return cls(
            args,
            state,
            control,
            cast("nn.Module | None", model),
            cast("Processor | None", processor),
            given.get("lr_scheduler"),
        )

    def progress(self, step: int) -> TrainingProgress:
        """Return how far the training had come at a checkpoint."""
        return progress_of(self.state, self.control, self.scheduler, step=step)

    @property
    def is_sharded(self) -> bool:
        """Whether the weights may be sharded over processes, so that one alone cannot save them."""
        return bool(self.args.fsdp or self.args.deepspeed)

    def save(self, folder: Path) -> None:
        """Save the model that is in memory.

        Raises:
            InvalidInput: One process cannot save it, or it is not a model of transformers or peft.
            OSError: The disk is full.
        """
        fix = "let the Trainer save: save_strategy='epoch', or 'steps'"
        if self.is_sharded:
            raise InvalidInput("the weights lie on several processes, and no checkpoint does", fix=fix)
        save_pretrained(folder, self.model, self.processor, fix=fix)


def _checkpoint(args: TrainingArguments, step: int) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{step}"


def _outcome(args: TrainingArguments, state: TrainerState) -> tuple[int, Path | None]:
    """Return the step that a training ends with, and its checkpoint, if there is one.

    If the best checkpoint is loaded at the end, it is that one.
    """
    best = state.best_model_checkpoint if args.load_best_model_at_end else None
    if best is not None and (match := _CHECKPOINT.fullmatch(Path(str(best)).name)):
        return int(match[1]), Path(str(best))
    here = _checkpoint(args, state.global_step)
    if here.is_dir():
        return state.global_step, here
    if args.fsdp or args.deepspeed:
        saved = sorted((_step(path), path) for path in here.parent.glob("checkpoint-*"))
        if saved:
            return saved[-1]
    return state.global_step, None


def _step(path: Path) -> int:
    match = _CHECKPOINT.fullmatch(path.name)
    return int(match[1]) if match else -1
