"""The supervisor: it takes runs from the registry, has children carry them out, and sends verdicts.

It holds the token and touches no tenant bytes but to place them; what a child says is data to it.
A run ends in one of three ways: a verdict, a failure with its reason (the registry gives the run to
somebody else or buries it as inconclusive), or silence, when the lease is lost.
"""

import logging
import random
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import deltareg
from deltareg.errors import DeltaregError, LeaseLost, Unavailable
from deltareg.gate.verifier import VERIFIER
from deltareg.suites.suite import Suite
from deltareg.wire import (
    LeaseGrant,
    LeaseHold,
    LeaseRequest,
    LogAppend,
    ReencodeReport,
    RunFailure,
    RunInfo,
    VerdictInfo,
    VerdictReport,
    request_of,
)
from deltareg_verify import verdict as verdicts
from deltareg_verify.assignment import Assignment
from deltareg_verify.base_cache import BaseCache
from deltareg_verify.heartbeat import Heartbeat
from deltareg_verify.materials import Materials
from deltareg_verify.options import Options
from deltareg_verify.report import Report, listen
from deltareg_verify.run_log import RunLog
from deltareg_verify.stop import Stop

log = logging.getLogger(__name__)

RUN_PREFIX = "run-"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_MESSAGE_CHARACTERS = 1_900


class Registry(Protocol):
    """What a worker asks of the registry; `deltareg.client.WorkerClient` has it."""

    def lease(self, request: LeaseRequest) -> LeaseGrant | None:
        """Ask for work."""
        ...

    def heartbeat(self, hold: LeaseHold) -> None:
        """Prolong a lease."""
        ...

    def append_log(self, run_id: str, lines: LogAppend) -> None:
        """Say how a run goes."""
        ...

    def complete_run(self, run_id: str, report: VerdictReport) -> VerdictInfo:
        """End a run with what was found."""
        ...

    def complete_reencode(self, run_id: str, report: ReencodeReport) -> RunInfo:
        """End a re-encode run with the new form of its version."""
        ...

    def fail_run(self, run_id: str, failure: RunFailure) -> None:
        """Give a run back."""
        ...


class Children(Protocol):
    """What carries out runs; `deltareg_verify.zygote.Zygote` does."""

    def run(
        self,
        request: bytes,
        *,
        wall_s: float,
        interrupted: Callable[[], str],
        heard: Callable[[bytes], None],
    ) -> bytes:
        """Have a child do something and give what it said.

        Raises:
            Inconclusive: It could not.
        """
        ...


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker's parts.

    Attributes:
        registry: Where runs come from.
        gather: Brings a run's materials into a folder.
        reencode: Makes and sends the new form of a version, in a folder.
        children: Carries runs out.
        options: What the operator said.
        device: `cpu` or `cuda:N`, as the start found it.
        labels: What the worker offers, for runs that ask for something.
        stop: Whether it is to end.
        escapes: What the trial at the start found and the operator accepts; empty without a trial.
        base_cache: What lets go of the bases of a run when it is over; None keeps all.
    """

    registry: Registry
    gather: Callable[[LeaseGrant, Path], Materials]
    reencode: Callable[[LeaseGrant, Path], ReencodeReport]
    children: Children
    options: Options
    device: str
    labels: Mapping[str, str]
    stop: Stop
    escapes: str = ""
    base_cache: BaseCache | None = None

    def serve(self) -> None:
        """Take runs until asked to stop, or until the first has ended with `is_once`.

        Raises:
            DeltaregError: The registry refuses this worker: its token, its name.
        """
        pause_s = _FIRST_PAUSE_S
        while not self.stop.is_asked:
            try:
                with self.stop.waiting():
                    grant = self._ask()
            except Unavailable as error:
                log.warning("no answer pause=%.0f error=%s", pause_s, error.message)
                self.stop.pause(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  # spreads load
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                continue
            pause_s = _FIRST_PAUSE_S
            if grant is not None:
                self.handle(grant)
            if self.options.is_once:
                return

    def handle(self, grant: LeaseGrant) -> None:
        """Carry out one run and tell the registry how it ended."""
        log.info("run=%s ref=%s attempt=%d", grant.run, grant.ref, grant.attempt)
        with Heartbeat(self.registry, grant) as heart:
            with RunLog(self.registry, grant, on_lost=heart.lose) as told:
                told.say(f"attempt {grant.attempt} on {self.options.name}, {self.device}")
                try:
                    end = self._work(grant, heart, told)
                except (DeltaregError, OSError) as error:
                    told.say(_reason(error))
                    end = partial(self._fail, grant, error)
            self._tell(grant, heart, end)
        if self.base_cache is not None:
            self.base_cache.trim()

    def _ask(self) -> LeaseGrant | None:
        request = LeaseRequest(
            worker=self.options.name, labels=dict(self.labels), wait_s=self.options.lease_wait_s,
            what=["verify", "reencode"], run=self.options.only_run,
        )  # fmt: skip
        return self.registry.lease(request)

    def _work(self, grant: LeaseGrant, heart: Heartbeat, told: RunLog) -> Callable[[], None]:
        """Carry a run out and give what tells the registry of it."""
        self.options.scratch.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=RUN_PREFIX, dir=self.options.scratch))
        try:
            if grant.what == "reencode":
                told.say(f"stores {grant.ref} anew")
                return partial(self._replace, grant, self.reencode(grant, folder))
            return partial(self._complete, grant, self._report(grant, heart, folder, told))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _report(
        self, grant: LeaseGrant, heart: Heartbeat, folder: Path, told: RunLog
    ) -> VerdictReport:
        told.say(f"gets {grant.ref} and its base {grant.base.name}")
        materials = self.gather(grant, folder)
        suite = materials.suite
        told.plan([spec.name for spec in suite.checks])
        assignment = self._assignment(materials, folder)
        said = self.children.run(
            b"verify " + assignment.encode(),
            wall_s=assignment.wall_s,
            interrupted=lambda: self._interruption(heart),
            heard=told.hear,
        )
        heard = listen(said)
        if heard.surroundings.environment.get("weights") == "streamed":
            told.say("the weights do not fit in memory at once: each was brought for its calls")
        report = verdict_report(grant, suite, heard, materials)
        if not self.escapes:
            return report
        environment = {**report.environment, "escapes": self.escapes}
        return report.model_copy(update={"environment": environment})

    def _assignment(self, materials: Materials, folder: Path) -> Assignment:
        own = folder / "own"
        own.mkdir()
        options, budget = self.options, materials.suite.budget
        return Assignment(
            delta=materials.delta,
            manifest=materials.manifest,
            base=materials.base.absolute(),
            base_manifest=materials.base_manifest,
            model_type=materials.model_type,
            suite=materials.suite_file,
            probes=materials.probes,
            scratch=own,
            device=self.device,
            threads=self.options.threads,
            wall_s=_least(options.run_timeout_s, budget.seconds),
            memory_bytes=int(_least(options.memory_bytes, budget.memory_bytes)),
            below=materials.below,
            promoted=materials.promoted,
        )

    def _interruption(self, heart: Heartbeat) -> str:
        if heart.is_lost:
            return "the lease is lost"
        return "the worker was asked to stop" if self.stop.is_overdue else ""

    def _complete(self, grant: LeaseGrant, report: VerdictReport) -> None:
        try:
            found = self.registry.complete_run(grant.run, report)
        except (LeaseLost, Unavailable):
            raise
        except DeltaregError as error:  # the registry does not take this report
            self._fail(grant, error)
            return
        log.info("run=%s verdict=%s id=%s", grant.run, found.verdict, found.id)

    def _replace(self, grant: LeaseGrant, report: ReencodeReport) -> None:
        try:
            found = self.registry.complete_reencode(grant.run, report)
        except (LeaseLost, Unavailable):
            raise
        except DeltaregError as error:  # the registry does not take this form
            self._fail(grant, error)
            return
        log.info("run=%s stored=%s", grant.run, found.stored_bytes)

    def _fail(self, grant: LeaseGrant, error: Exception) -> None:
        reason = _reason(error)
        log.warning("run=%s failed: %s", grant.run, reason)
        self.registry.fail_run(grant.run, RunFailure(fence=grant.fence, error=reason))

    def _tell(self, grant: LeaseGrant, heart: Heartbeat, tell: Callable[[], None]) -> None:
        """Tell the registry, again while it cannot be reached and the run is still ours."""
        while not heart.is_lost:
            try:
                tell()
            except Unavailable as error:
                log.warning("run=%s cannot be told: %s", grant.run, error.message)
                if self.stop.is_overdue:
                    return
                self.stop.pause(_FIRST_PAUSE_S)
            except DeltaregError as error:  # somebody else has the run, or it is gone
                log.warning("run=%s dropped: %s", grant.run, error.message)
                return
            else:
                return


def verdict_report(
    grant: LeaseGrant, suite: Suite, report: Report, materials: Materials
) -> VerdictReport:
    """Judge what a child reported; the child itself has no say in the verdict."""
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
        checks=list(report.checks),
        environment={**surroundings.environment, "base_config": materials.base_config},
        sandbox=surroundings.sandbox,
    )


def _least(one: float, other: float) -> float:
    """Give the smaller of two limits, where zero is no limit."""
    return min(given) if (given := [limit for limit in (one, other) if limit]) else 0


def _reason(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, DeltaregError):
        text = f"{error.message}; {error.fix}" if error.fix else error.message
    # It may quote what a child said, in characters that the registry does not keep.
    plain = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return plain[:_MESSAGE_CHARACTERS]
