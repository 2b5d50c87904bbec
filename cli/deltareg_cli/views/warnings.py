"""Warns whoever promotes or deploys a version that passed with warnings."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deltareg.errors import Unavailable
from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.wording import clean, number

if TYPE_CHECKING:
    from deltareg.wire import CheckResult, VerdictInfo


def warn_of(invocation: Invocation, ref: str) -> list[str]:
    """Print the warnings of a version's verdicts, and return the sentences.

    The main answer is there already, so a server that has gone away since is no failure.
    """
    try:
        warnings = warnings_of(invocation.client.verdicts.list(ref).items)
    except Unavailable:
        return []
    for warning in warnings:
        invocation.output.note(clean(f"warning: {warning}"))
    return warnings


def warnings_of(verdicts: Sequence["VerdictInfo"]) -> list[str]:
    """Return the warnings of the newest counting verdict of each suite; `verdicts` come newest first."""
    newest = {verdict.suite: verdict for verdict in reversed(verdicts) if verdict.counts}
    return [
        f"suite {suite}: {_describe_check(check)}"
        for suite, verdict in sorted(newest.items())
        for check in verdict.checks
        if check.verdict == "warn"
    ]


def _describe_check(check: "CheckResult") -> str:
    value = "" if check.value is None else f" {number(check.value)}"
    limit = "" if check.threshold is None else f", threshold {number(check.threshold)}"
    detail = f" ({check.detail})" if check.detail else ""
    return f"{check.name}{value}{limit}{detail}"
