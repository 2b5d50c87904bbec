"""Answering: a child continues a prompt, by a base and by its versions.

Neither the prompt nor the answers are in a log, of the run or of this process.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from deltareg.errors import Inconclusive
from deltareg.wire import LeaseGrant
from deltareg.wire.findings import AnswersFound
from deltareg_verify.supervisor.child_findings import complete, found_by, gather_assignment
from deltareg_verify.supervisor.heartbeat import Heartbeat
from deltareg_verify.supervisor.parts import WorkerParts
from deltareg_verify.supervisor.run_log import RunLogSender

_LONGEST_S = 600.0
_NOTHING = "nothing is answered; who asked is told why"


def carry_out(
    parts: WorkerParts, grant: LeaseGrant, folder: Path, heart: Heartbeat, told: RunLogSender
) -> Callable[[], None]:
    """Answer a prompt; returns the function that tells the registry.

    Raises:
        Inconclusive: The question is not stored any more, or the base is not available.
    """
    question = grant.question
    if question is None:
        raise Inconclusive("what is asked is not kept any more")
    told.say("gets the versions and their base")
    assignment = gather_assignment(parts, grant, folder)
    if assignment.base is None:
        raise Inconclusive(
            f"the base {grant.base.name} is not stored, and no folder here has it",
            fix=f"deltareg base push PATH {grant.base.name}",
        )
    assignment = replace(assignment, question=question.model_dump(), wall_s=min(assignment.wall_s, _LONGEST_S))
    finding = found_by(b"answer", AnswersFound, parts, assignment, heart)
    # Why nothing was answered may quote the prompt, and readers of a log are not who asked.
    told.say(f"{len(finding.found.answers)} answers" if finding.found.answers else _NOTHING)
    return partial(complete, parts, grant, finding)
