"""Has a process with torch compare what two versions do, or returns a stored answer."""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.errors import InvalidInput
from deltareg_cli.invocation import Invocation
from deltareg_cli.runs.launch import ask, require
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.views.behavior import Fields, behavior_blocks, behavior_markdown

if TYPE_CHECKING:
    from deltareg.client import DiffReport


def device_of(gpu: str) -> str:
    """Return the device that `--gpu` names.

    Raises:
        InvalidInput: It names no device.
    """
    if not gpu.isdecimal() and gpu not in {"cpu", "auto"}:
        raise InvalidInput(f"not a device: {gpu[:40]!r}", fix="--gpu 0, --gpu cpu or auto")
    return f"cuda:{gpu}" if gpu.isdecimal() else gpu


def compare_behavior(
    invocation: Invocation, a: str, b: str, *, suite: str | None, prompts: Path | None, tokens: int, top: int, gpu: str
) -> Fields:
    """Compare the behavior of two versions, or of a version and its base; returns the document.

    Raises:
        Misconfigured: The part with torch is not installed.
        DeltaregError: The error that the process reports.
    """
    require("verify")
    from deltareg.client.compare.behavior import BehaviorOptions

    inputs = BehaviorOptions(suite, prompts, tokens, top, device_of(gpu))
    behavior = invocation.client.behavior
    question = behavior.ask(a, b, inputs)
    document = behavior.find_answer(question)
    if document is None:
        with behavior.at_hand(question) as request:
            words = json.dumps(request, default=str)
            document = ask("behavior", words)
        behavior.keep(question, document)
    names = dict(zip(("a", "b"), question.names, strict=True))
    return {**names, **document}


def difference_page(report: "DiffReport | None", found: Fields | None, *, now: datetime) -> str:
    """Write one HTML file of what two versions are, of what they do, or of both."""
    # What other forms need not load.
    from deltareg.client.report_files import behavior_html, difference_html
    from deltareg.client.report_files.behavior_facts import BehaviorComparison

    comparison = None if found is None else BehaviorComparison.model_validate(found)
    if report is None:
        assert comparison is not None
        return behavior_html.to_html(comparison, now=now)
    more = "" if comparison is None else behavior_html.sections(comparison)
    return difference_html.to_html(report, now=now, more=more)


def behavior_answer(found: Fields, *, is_markdown: bool) -> CommandResult:
    """Show a comparison."""
    ids = [str(found["b"])] if found["is_different"] else []
    raw = behavior_markdown(found) if is_markdown else None
    return CommandResult(found, behavior_blocks(found), ids, raw=raw)
