"""Pushing from a loop of one's own that accelerate spreads over processes.

::

    from deltareg.integrations import accelerate as registry

    ref = registry.push(accelerator, model, "team/chat", step=step, base="llama-3.1-8b")

Every process calls it, as it calls the library's own functions: weights that are spread over them
are gathered, the main one pushes, the others wait, and all get the same answer.
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
    """What is pushed, and how."""

    line: str
    base: str | None
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
    """Push a model as it is now; gives the version on every process, or None where it failed.

    Args:
        accelerator: The accelerator that the model was prepared by.
        model: The model, as `prepare` gave it.
        line: The line, `ns/name`.
        step: How many updates it has had.
        base: What is trained on: the name of a base, its folder, or a version; None for the one
            that the adapter's config names.
        tokenizer: Saved beside it, and used to record outputs.
        metrics: What was measured of it.
        golden: Whether outputs are recorded, or the texts or inputs to record them of; those of
            weights that are spread over processes are not.
        parent: The version that it was trained on from, such as what this gave the last time.
        labels: More labels.
        message: For people; the step by default.
        run_url: Where the run can be looked at; None to ask Weights & Biases, MLflow or the CI.
        strict: Whether a failure is raised, on every process; otherwise it is logged.
        client: A client to push with; None for one by the environment and the settings files.

    Raises:
        DeltaregError, OSError: It could not be pushed; with `strict` only.
    """
    url = find_run_url() if run_url is None else run_url
    all_labels = labels_of(step=step, epoch=None, metrics=metrics or {}, run_url=url, own=dict(labels or {}))
    request = _Wanted(line, base, tokenizer, golden, parent, message or f"step {step}", all_labels)
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
                message=wanted.message,
                labels=wanted.labels,
                parents=[] if wanted.parent is None else [wanted.parent],
            )
        finally:
            if client is None:
                registry.close()
    return report.version.ref


def _share_outcome(ref: str, failure: DeltaregError | OSError | None, *, line: str, strict: bool) -> str | None:
    """Tell every process what became of it; the error itself is raised where it happened."""
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
