"""Waits for a run or a request, shows its progress, and shows its result."""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from deltareg.errors import ApprovalDue, WaitTimeout
from deltareg_cli.exits import OUTCOME_STATUS, ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.runs.live_run import open_live_run
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields
from deltareg_cli.terminal.wording import clean
from deltareg_cli.views.outcomes import outcome_blocks, run_outcome_blocks
from deltareg_cli.views.requests import REQUEST_FIELDS, progress_of, request_blocks
from deltareg_cli.views.verdicts import RESULT_FIELDS, check_blocks, run_blocks, verdict_details

if TYPE_CHECKING:
    from deltareg.wire import MoveResult, RequestInfo, RunInfo, VerdictInfo


def wait_for(invocation: Invocation, run: "RunInfo", *, timeout_s: float) -> "RunInfo":
    """Wait until a run is over, and show its progress; say at once where nothing can take it.

    Raises:
        WaitTimeout: It was not over in time; it goes on, and its id was shown.
    """
    try:
        return follow(invocation, run, timeout_s=timeout_s)
    except WaitTimeout:
        invocation.output.show(run_answer(invocation.client.runs.show(run.id), invocation))
        raise


def follow(
    invocation: Invocation, run: "RunInfo", *, timeout_s: float, is_needless: Callable[[], bool] | None = None
) -> "RunInfo":
    """Wait until a run is over, and show its progress: how many checks are made, or each with `-v`.

    The wait also ends once `is_needless` says that nobody needs the run any more.

    Raises:
        WaitTimeout: It was not over in time; it goes on.
    """
    has_checks = invocation.output.is_verbose or invocation.output.is_for_scripts
    with open_live_run(invocation.output, has_progress=invocation.config.progress, has_checks=has_checks) as live:
        return invocation.client.runs.wait(
            run.id, timeout_s=timeout_s, on_change=live.change, on_line=live.line, is_needless=is_needless
        )


def run_answer(run: "RunInfo", invocation: Invocation, *, has_all: bool = False, next_step: str = "") -> CommandResult:
    """Show a run: its verdict once it has one, else its state.

    Args:
        run: The run.
        invocation: The invocation.
        has_all: Whether to list every check of the verdict.
        next_step: What to do after a pass that counts.
    """
    if run.verdict is not None:
        return verdict_answer(run.verdict, invocation, has_all=has_all, next_step=next_step)
    details = run_blocks(run, now=invocation.now)
    if run.what != "verify":
        return CommandResult(
            fields(run, "id", "state", *(("proof",) if run.what == "prove" else ())), details, [run.id]
        )
    document = _no_verdict(run) if run.is_over else fields(run, "id", "state")
    return CommandResult(document, run_outcome_blocks(run), [run.id], details[1:])


def verdict_answer(
    verdict: "VerdictInfo", invocation: Invocation, *, has_all: bool = False, next_step: str = "", named: str = ""
) -> CommandResult:
    """Show a verdict: the answer, what failed with its fix, a line for the rest; or every check."""
    blocks = outcome_blocks(verdict, now=invocation.now, next_step=next_step, named=named)
    if has_all:
        blocks += check_blocks(verdict.checks)
    details = verdict_details(verdict, now=invocation.now)
    return CommandResult(fields(verdict, *RESULT_FIELDS), blocks, [verdict.id], details)


def wait_for_request(
    invocation: Invocation, request_id: int, *, timeout_s: float, retry: "Callable[[str], MoveResult]"
) -> "MoveResult":
    """Wait until a request is promoted, with a note at each change, and return the move.

    Where the gate was met after the approvals, `retry` promotes the version that was approved.

    Raises:
        WaitTimeout: It is still open, and was shown.
    """

    def tell(changed: "RequestInfo") -> None:
        invocation.output.note(clean(f"request {changed.id}: {progress_of(changed)}"))

    def again(approved: "RequestInfo") -> bool:
        with suppress(ApprovalDue):
            retry(approved.ref)
            return True
        return False

    requests = invocation.client.requests
    try:
        move = requests.wait(request_id, timeout_s=timeout_s, on_change=tell, retry=again)
    except WaitTimeout:
        invocation.output.show(request_answer(requests.show(request_id), invocation))
        raise
    from deltareg.wire import MoveResult  # whoever waits has loaded it

    return MoveResult(
        channel=move.channel,
        revision=move.revision or 0,
        kind="promote",
        version=move.version,
        digest=move.digest,
        previous=move.previous,
        ref=move.ref,
    )


def request_answer(request: "RequestInfo", invocation: Invocation) -> CommandResult:
    """Show a request."""
    blocks = request_blocks(request, now=invocation.now)
    return CommandResult(fields(request, *REQUEST_FIELDS), blocks, [str(request.id)])


def _no_verdict(run: "RunInfo") -> dict[str, object]:
    return {
        "id": run.id,
        "verdict": "inconclusive",
        "checks": [],
        "environment": {},
        "run": run.id,
        "ref": run.ref,
        "state": run.state,
        "error": run.error,
    }


def run_status(run: "RunInfo") -> ExitStatus:
    """Return the exit status of a run that is over."""
    return OUTCOME_STATUS[run.verdict.verdict if run.verdict else "inconclusive"]
