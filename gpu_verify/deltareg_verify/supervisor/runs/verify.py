"""Verifying: a child checks the version against its suite, and its report becomes a verdict."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import deltareg
from deltareg.gate.verifier import VERIFIER
from deltareg.suites.base_probes import CHECKS_ON_THEM
from deltareg.suites.suite import Suite
from deltareg.wire import LeaseGrant, VerdictReport, request_of
from deltareg_verify.judging import verdict as verdicts
from deltareg_verify.messages.assignment import Assignment, MeasureFiles
from deltareg_verify.messages.report import ChildReport, listen
from deltareg_verify.supervisor.heartbeat import Heartbeat
from deltareg_verify.supervisor.interruption import interruption
from deltareg_verify.supervisor.materials import Materials
from deltareg_verify.supervisor.parts import WorkerParts
from deltareg_verify.supervisor.run_log import RunLogSender

log = logging.getLogger(__name__)


def carry_out(
    parts: WorkerParts, grant: LeaseGrant, folder: Path, heart: Heartbeat, told: RunLogSender
) -> Callable[[], None]:
    """Verify a version; returns the function that sends the verdict."""
    return partial(_complete, parts, grant, _report(parts, grant, heart, folder, told))


def _report(parts: WorkerParts, grant: LeaseGrant, heart: Heartbeat, folder: Path, told: RunLogSender) -> VerdictReport:
    packed = f", whose {grant.base.quantised} weights it unpacks" if grant.base.variant_of else ""
    told.say(f"gets {grant.ref} and its base {grant.base.name}{packed}")
    materials = parts.gather(grant, folder)
    suite = materials.suite
    if grant.waived:
        told.say(f"goes on where {', '.join(grant.waived)} fails: somebody answers for that")
    told.plan([spec.name for spec in suite.checks])
    base_files = _bring_figures(parts, grant, materials, folder, heart, told)
    assignment = _assignment(parts, materials, folder, base_files, waived=grant.waived)
    output = parts.children.run(
        b"verify " + assignment.encode(),
        wall_s=assignment.wall_s,
        interrupted=lambda: interruption(parts, heart, own=assignment.scratch),
        heard=told.hear,
    )
    child_report = listen(output)
    if child_report.surroundings.environment.get("weights") == "streamed":
        told.say("the weights do not fit in memory at once: each was brought for its calls")
    report = verdict_report(grant, suite, child_report, materials)
    if not parts.escapes:
        return report
    environment = {**report.environment, "escapes": parts.escapes}
    return report.model_copy(update={"environment": environment})


def _bring_figures(
    parts: WorkerParts, grant: LeaseGrant, materials: Materials, folder: Path, heart: Heartbeat, told: RunLogSender
) -> MeasureFiles:
    """Bring the base's probe set and figures, where a check of the suite needs them."""
    names = {spec.check for spec in materials.suite.checks}
    if parts.measures is None or not names & CHECKS_ON_THEM:
        return MeasureFiles()
    return parts.measures.bring(
        grant, materials, folder, say=told.say, interrupted=lambda: interruption(parts, heart, own=folder / "measuring")
    )


def _assignment(
    parts: WorkerParts, materials: Materials, folder: Path, brought: MeasureFiles, *, waived: Sequence[str]
) -> Assignment:
    own = folder / "own"
    own.mkdir()
    options, budget = parts.options, materials.suite.budget
    return Assignment(
        delta=materials.delta,
        manifest=materials.manifest,
        base=materials.base.absolute(),
        base_manifest=materials.base_manifest,
        model_type=materials.model_type,
        suite=materials.suite_file,
        probes=materials.probes,
        scratch=own,
        device=parts.device,
        threads=parts.options.threads,
        wall_s=_least(options.run_timeout_s, budget.seconds),
        memory_bytes=int(_least(options.memory_bytes, budget.memory_bytes)),
        below=materials.below,
        promoted=materials.promoted,
        references=materials.references,
        names=materials.names,
        base_probes=brought.probes,
        base_figures=brought.figures,
        base_outputs=brought.outputs,
        waived=tuple(waived),
    )


def _complete(parts: WorkerParts, grant: LeaseGrant, report: VerdictReport) -> None:
    verdict = parts.registry.complete_run(grant.run, report)
    log.info("run=%s verdict=%s id=%s", grant.run, verdict.verdict, verdict.id)


def verdict_report(grant: LeaseGrant, suite: Suite, report: ChildReport, materials: Materials) -> VerdictReport:
    """Judge a child's report; the child itself has no say in the verdict."""
    outcome = verdicts.judge(suite, report.checks)
    if outcome == "inconclusive":
        unshown = verdicts.unshown(suite, report.checks)
        log.warning("run=%s shows nothing about %s", grant.run, ", ".join(unshown))
    surroundings = report.surroundings
    return request_of(
        VerdictReport,
        fence=grant.fence,
        verdict=outcome,
        verifier=f"{VERIFIER} deltareg/{deltareg.__version__}",
        suite_digest=str(suite.digest),
        dtype=surroundings.dtype,
        seed=suite.seed,
        base_evidence=materials.evidence,
        base_identity=materials.base_identity if grant.base.identity else "",
        checks=verdicts.in_order(suite, report.checks),
        environment={
            **surroundings.environment,
            "base_config": materials.base_config,
            **({"unpacked": grant.base.quantised} if grant.base.variant_of else {}),
        },
        sandbox=surroundings.sandbox,
        # The folder that was checked was put together from what is stored, whatever is at hand.
        storage_revision=grant.storage_revision,
    )


def _least(one: float, other: float) -> float:
    """Return the smaller of two limits, where zero is no limit."""
    return min(limits) if (limits := [limit for limit in (one, other) if limit]) else 0
