"""Comparing: a child compares two versions of one base, tensor by tensor.

Another one runs both on the general probes of the base, where the base is at hand.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from deltareg.errors import Inconclusive
from deltareg.wire import LeaseGrant
from deltareg.wire.findings import DifferencesFound, GeneralFound, plain_text
from deltareg_verify.child.sides import SidesAssignment
from deltareg_verify.supervisor.child_findings import complete, found_by, gather_assignment
from deltareg_verify.supervisor.heartbeat import Heartbeat
from deltareg_verify.supervisor.interruption import interruption
from deltareg_verify.supervisor.parts import WorkerParts
from deltareg_verify.supervisor.run_log import RunLogSender

_NOTE_CHARACTERS = 500
_NO_BASE = "the base is not to be had by the worker, so neither was run on general text"


def carry_out(
    parts: WorkerParts, grant: LeaseGrant, folder: Path, heart: Heartbeat, told: RunLogSender
) -> Callable[[], None]:
    """Compare two versions; returns the function that tells the registry."""
    told.say("gets both versions and their base")
    assignment = gather_assignment(parts, grant, folder)
    if assignment.base is None:
        told.say("the base is not to be had: what needs it is not measured")
    finding = found_by(b"compare", DifferencesFound, parts, assignment, heart)
    told.say(f"{len(finding.found.modules)} modules compared")
    general = (
        GeneralFound(note=_NO_BASE) if assignment.base is None else _general(parts, grant, folder, assignment, heart)
    )
    told.say(general.note or "both were run on the general probes of the base")
    finding = replace(finding, found=finding.found.model_copy(update={"general": general}))
    return partial(complete, parts, grant, finding)


def _general(
    parts: WorkerParts, grant: LeaseGrant, folder: Path, assignment: SidesAssignment, heart: Heartbeat
) -> GeneralFound:
    """Have another child run both on the general probes; a failure there costs no other findings.

    Raises:
        Inconclusive: The run was interrupted.
    """
    probes = None if parts.measures is None else parts.measures.bring_probes(grant, folder)
    with_probes = replace(assignment, base_probes=probes)
    try:
        return found_by(b"general", GeneralFound, parts, with_probes, heart).found
    except Inconclusive as error:
        if interruption(parts, heart, own=assignment.scratch):
            raise
        return GeneralFound(note=plain_text(error.message)[:_NOTE_CHARACTERS])
