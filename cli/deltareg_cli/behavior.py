"""Has a process with torch compare what two versions do, or takes an answer of before."""

import json
from pathlib import Path

from deltareg.errors import InvalidInput
from deltareg_cli.blocks import Answer
from deltareg_cli.invocation import Invocation
from deltareg_cli.launch import ask, require
from deltareg_cli.views.behavior import Fields, behavior_blocks, behavior_markdown

# A base is read from this disk; nothing is asked of a hub.
ENVIRON = {"HF_HUB_OFFLINE": "1"}


def device_of(gpu: str) -> str:
    """Read the option `--gpu`.

    Raises:
        InvalidInput: It names no device.
    """
    if not gpu.isdecimal() and gpu not in {"cpu", "auto"}:
        raise InvalidInput(f"not a device: {gpu[:40]!r}", fix="--gpu 0, --gpu cpu or auto")
    return f"cuda:{gpu}" if gpu.isdecimal() else gpu


def compare_behavior(
    invocation: Invocation,
    a: str,
    b: str,
    *,
    suite: str | None,
    prompts: Path | None,
    tokens: int,
    top: int,
    gpu: str,
) -> Fields:
    """Compare two versions, or a version and its base; gives the document.

    Raises:
        Misconfigured: The part with torch is not installed.
        DeltaregError: The one that the process tells of.
    """
    require("verify")
    from deltareg.client.behavior import Inputs

    inputs = Inputs(suite, prompts, tokens, top, device_of(gpu))
    behavior = invocation.client.behavior
    question = behavior.ask(a, b, inputs)
    found = behavior.answered(question)
    if found is None:
        with behavior.at_hand(question) as request:
            words = json.dumps(request, default=str)
            found = ask("deltareg_verify", "behavior", words, environ=ENVIRON)
        behavior.keep(question, found)
    named = dict(zip(("a", "b"), question.names, strict=True))
    return {**named, **found}


def behavior_answer(found: Fields, *, is_markdown: bool) -> Answer:
    """Show a comparison."""
    ids = [str(found["b"])] if found["is_different"] else []
    raw = behavior_markdown(found) if is_markdown else None
    return Answer(found, behavior_blocks(found), ids, raw=raw)
