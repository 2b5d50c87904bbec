"""Pushes from a custom training loop that accelerate runs in several processes.

::

    from deltareg.integrations import accelerate as registry

    ref = registry.push(accelerator, model, "team/chat", step=step, base="llama-3.1-8b")

Every process has to call it, as with the library's own functions: sharded weights are gathered, the
main process pushes, the others wait, and all get the same result.
"""

# accelerate is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from deltareg.client import Client
from deltareg.errors import DeltaregError
from deltareg.golden.recording import Processor
from deltareg.integrations.golden_inputs import GoldenInputs, record_if_wanted
from deltareg.integrations.run_facts import find_run_url, labels_of
from deltareg.integrations.snapshot import save_pretrained

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)
_SHARDED = frozenset({"FSDP", "DEEPSPEED", "MEGATRON_LM"})
_FIX = "give the model of transformers or peft that prepare() was given"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What to push, and how."""

    line: str
    base: str | None
    trained_on: str | None
    processor: Processor | None
    golden: GoldenInputs
    parent: str | None
    message: str
    labels: Mapping[str, str]


def push(
    accelerator: Accelerator,
    model: "nn.Module",
    line: str,
    *,
    step: int,
    base: str | None = None,
    trained_on: str | None = None,
    tokenizer: Processor | None = None,
    metrics: Mapping[str, float] | None = None,
    golden: GoldenInputs = True,
    parent: str | None = None,
    labels: Mapping[str, str] | None = None,
    message: str = "",
    run_url: str | None = None,
    strict: bool = False,
    client: Client | None = None,
) -> str | None:
    """Push a model in its current state; return the version's reference on every process, or None.

    Args:
        accelerator: The accelerator that prepared the model.
        model: The model, as `prepare` returned it.
        line: The line, `ns/name`.
        step: How many updates the model has had.
        base: The base that is trained on: its name, its folder, or a version; None for the one in
            the adapter's config.
        trained_on: The base to insist on where the adapter's config names another one.
        tokenizer: Saved beside it, and used to record outputs.
        metrics: The model's metrics.
        golden: Whether to record golden outputs, or the texts or inputs for them; sharded models
            are not recorded.
        parent: The version that training continued from, such as the last result of this function.
        labels: More labels.
        message: The version's message; the step by default.
        run_url: The URL of the run; None to take it from Weights & Biases, MLflow or the CI.
        strict: Whether to raise a failure, on every process; otherwise it is logged and None
            returned.
        client: The client to push with; None for one from the environment and the settings files.

    Raises:
        DeltaregError, OSError: The push failed; only with `strict`.
    """
    url = find_run_url() if run_url is None else run_url
    all_labels = labels_of(step=step, epoch=None, metrics=metrics or {}, run_url=url, own=dict(labels or {}))
    request = _Wanted(line, base, trained_on, tokenizer, golden, parent, message or f"step {step}", all_labels)
    accelerator.wait_for_everyone()
    is_sharded = accelerator.distributed_type.name in _SHARDED
    weights = accelerator.get_state_dict(model) if is_sharded else None  # all take part in it
    ref, failure = "", None
    if accelerator.is_main_process:
        try:
            ref = _push(accelerator.unwrap_model(model), weights, request, client)
        except (DeltaregError, OSError) as error:
            failure = error
    return _share_outcome(ref, failure, line=line, strict=strict)


def _push(model: "nn.Module", weights: dict[str, Any] | None, wanted: _Wanted, client: Client | None) -> str:
    with tempfile.TemporaryDirectory(prefix="deltareg-") as scratch:
        folder = Path(scratch) / "delta"
        save_pretrained(folder, model, wanted.processor, fix=_FIX, state_dict=weights)
        if weights is None and (wanted.processor is not None or wanted.golden is not True):
            record_if_wanted(model, wanted.processor, wanted.golden, folder)
        registry = Client() if client is None else client
        try:
            report = registry.push(
                folder,
                wanted.line,
                base=wanted.base,
                trained_on=wanted.trained_on,
                golden=False if wanted.golden is False else None,
                message=wanted.message,
                labels=wanted.labels,
                parents=[] if wanted.parent is None else [wanted.parent],
            )
        finally:
            if client is None:
                registry.close()
    return report.version.ref


def _share_outcome(ref: str, failure: DeltaregError | OSError | None, *, line: str, strict: bool) -> str | None:
    """Share the outcome with every process; the error itself is raised where it happened."""
    fix = failure.fix if isinstance(failure, DeltaregError) else ""
    outcome = [ref, "" if failure is None else str(failure) or type(failure).__name__, fix]
    shared: list[str] = broadcast_object_list(outcome)
    ref, wrong, fix = shared
    if not wrong:
        return ref
    if strict:
        raise failure or DeltaregError(f"the main process could not push: {wrong}", fix=fix)
    if failure is not None:
        log.warning("%s was not pushed: %s%s", line, wrong, f"; {fix}" if fix else "")
    return None
