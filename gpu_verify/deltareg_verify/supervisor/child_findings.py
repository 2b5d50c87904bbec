"""What runs with findings for people have in common: their materials, their child, their report."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from deltareg.errors import Inconclusive
from deltareg.wire import LeaseGrant, request_of
from deltareg.wire.findings import FoundReport
from deltareg_verify.child.sides import SidesAssignment
from deltareg_verify.messages.report import listen
from deltareg_verify.supervisor.heartbeat import Heartbeat
from deltareg_verify.supervisor.interruption import interruption
from deltareg_verify.supervisor.parts import WorkerParts

log = logging.getLogger(__name__)

FoundT = TypeVar("FoundT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ChildFinding(Generic[FoundT]):
    """A child's findings, and the layers of the sandbox that held meanwhile."""

    found: FoundT
    sandbox: str


def gather_assignment(parts: WorkerParts, grant: LeaseGrant, folder: Path) -> SidesAssignment:
    """Bring the versions of a run and their base, and build the child's assignment.

    Raises:
        Inconclusive: The registry sent something else, or this worker does no such runs.
    """
    if parts.gather_sides is None:
        raise Inconclusive(f"this worker does no runs of kind {grant.what}")
    sides = parts.gather_sides(grant, folder)
    own = folder / "own"
    own.mkdir()
    options = parts.options
    return SidesAssignment(
        versions=sides.versions,
        base=sides.base,
        base_manifest=sides.base_manifest,
        model_type=sides.model_type,
        scratch=own,
        device=parts.device,
        threads=options.threads,
        wall_s=options.run_timeout_s,
        memory_bytes=options.memory_bytes,
    )


def found_by(
    verb: bytes, kind: type[FoundT], parts: WorkerParts, assignment: SidesAssignment, heart: Heartbeat
) -> ChildFinding[FoundT]:
    """Have a child find something out, and parse its report as strictly as a tenant's input.

    Raises:
        Inconclusive: It could not, was killed, or reported something else.
    """
    output = parts.children.run(
        verb + b" " + assignment.encode(),
        wall_s=assignment.wall_s,
        interrupted=lambda: interruption(parts, heart, own=assignment.scratch),
        heard=lambda _: None,
    )
    report = listen(output)
    try:
        findings = kind.model_validate(report.found)
    except ValidationError as error:  # whose words would quote what it said
        raise Inconclusive("the child did not say what it found") from error
    return ChildFinding(findings, report.surroundings.sandbox)


def complete(parts: WorkerParts, grant: LeaseGrant, heard: ChildFinding[FoundT]) -> None:
    """Send the findings to the registry."""
    report = request_of(FoundReport, fence=grant.fence, found=heard.found.model_dump_json(), sandbox=heard.sandbox)
    run = parts.registry.complete_found(grant.run, report)
    log.info("run=%s %s", grant.run, run.state)
