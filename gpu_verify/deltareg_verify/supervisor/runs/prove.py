"""Proving: a child decodes what is stored and compares every digest; the registry relies on it.

The worker brings the chunks undecoded and decodes none of them: what goes wrong with somebody
else's bytes goes wrong in the child.
"""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from deltareg.digest import sha256_over
from deltareg.errors import Inconclusive
from deltareg.wire import LeaseGrant, ProofReport, WrongPart, request_of
from deltareg_verify.child.proving import STORED, ProofAssignment
from deltareg_verify.messages.report import ChildReport, listen
from deltareg_verify.supervisor.heartbeat import Heartbeat
from deltareg_verify.supervisor.interruption import interruption
from deltareg_verify.supervisor.parts import WorkerParts
from deltareg_verify.supervisor.run_log import RunLogSender

log = logging.getLogger(__name__)

_READ_BYTES = 1 << 20


def carry_out(
    parts: WorkerParts, grant: LeaseGrant, folder: Path, heart: Heartbeat, told: RunLogSender
) -> Callable[[], None]:
    """Decode the stored bytes of a version or a base; returns the function that tells the registry."""
    name = grant.ref or grant.base.name
    told.say(f"gets what is stored of {name}")
    report = _look(parts, grant, folder / "first", heart, is_anew=grant.is_anew)
    if report.wrong and not grant.is_anew:
        # It may be this machine's cache or base that is damaged: nobody is accused for that.
        told.say(f"{len(report.wrong)} wrong; gets all of it anew and decodes it once more")
        report = _look(parts, grant, folder / "second", heart, is_anew=True)
    told.say(f"{len(report.wrong)} wrong" if report.wrong else f"{report.pieces} pieces decoded")
    return partial(_complete, parts, grant, report)


def _look(parts: WorkerParts, grant: LeaseGrant, folder: Path, heart: Heartbeat, *, is_anew: bool) -> ProofReport:
    (folder / "own").mkdir(parents=True)
    form = parts.stored(grant, folder, is_anew=is_anew)
    with parts.open_reference(grant) if form.needs_base else nullcontext() as base:
        if base is not None:
            (folder / "base.json").write_bytes(base.manifest.encode())
        assignment = ProofAssignment(
            manifest=form.manifest,
            storage=form.storage,
            chunks=form.chunks,
            base=None if base is None else base.path.absolute(),
            base_manifest=None if base is None else folder / "base.json",
            scratch=folder / "own",
            threads=parts.options.threads,
            wall_s=parts.options.run_timeout_s,
            memory_bytes=parts.options.memory_bytes,
            hashes_base=is_anew,
        )
        output = parts.children.run(
            b"prove " + assignment.encode(),
            wall_s=assignment.wall_s,
            interrupted=lambda: interruption(parts, heart),
            heard=lambda _: None,
        )
    report = proof_report(grant, listen(output))
    if not report.wrong:
        return report
    with form.chunks.open("rb") as chunks:
        digest = sha256_over(iter(partial(chunks.read, _READ_BYTES), b""))
    return report.model_copy(update={"read": str(digest)})


def proof_report(grant: LeaseGrant, heard: ChildReport) -> ProofReport:
    """Build the registry's report from a child's report.

    Raises:
        Inconclusive: The child reported something other than a proof.
    """
    wrong = [check for check in heard.checks if check.verdict == "fail"]
    last = heard.checks[-1] if heard.checks else None
    if last is None or last.name != STORED or not isinstance(last.value, int):
        raise Inconclusive("the child did not say how much it decoded")
    return request_of(
        ProofReport,
        fence=grant.fence,
        storage_revision=grant.storage_revision,
        pieces=last.value,
        wrong=[WrongPart(name=str(check.value), detail=check.detail) for check in wrong],
        sandbox=heard.surroundings.sandbox,
    )


def _complete(parts: WorkerParts, grant: LeaseGrant, report: ProofReport) -> None:
    run = parts.registry.complete_proof(grant.run, report)
    log.info("run=%s proof=%s", grant.run, run.proof)
