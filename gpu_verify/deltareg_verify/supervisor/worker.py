"""The supervisor: it takes runs from the registry, has children carry them out, and sends verdicts.

It holds the token and touches no tenant bytes except to place them; a child's report is data to it.
A run ends in one of three ways: a verdict, a failure with its reason (the registry gives the run to
somebody else or buries it as inconclusive), or silence, when the lease is lost.
"""

import logging
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deltareg.client.disk.kept_files import out_of_space
from deltareg.client.folders.base_folder import BaseFolder
from deltareg.errors import (
    BaseUnmeasured,
    DeltaregError,
    DiskFull,
    IntegrityFailure,
    LeaseLost,
    NotFound,
    NotKnown,
    OutOfTime,
    Unavailable,
)
from deltareg.host.causes import caused_by
from deltareg.host.traces import Tracer
from deltareg.wire import LeaseGrant, LeaseRequest, ReencodeReport, RunFailure
from deltareg.words import RUN_KIND_NAMES
from deltareg_verify.child.sides import SideMaterials
from deltareg_verify.supervisor.base_cache import BaseCache
from deltareg_verify.supervisor.heartbeat import Heartbeat
from deltareg_verify.supervisor.knowledge import know
from deltareg_verify.supervisor.materials import Materials
from deltareg_verify.supervisor.options import WorkerOptions
from deltareg_verify.supervisor.parts import BaseMeasureSource, ChildRunner, StoredBytesSource, WorkerRegistry
from deltareg_verify.supervisor.run_log import RunLogSender
from deltareg_verify.supervisor.runs import RUN_KINDS
from deltareg_verify.supervisor.stop import StopSignal

log = logging.getLogger(__name__)

RUN_PREFIX = "run-"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_PATIENCE_S = 600.0  # for a store, or for room; then somebody else may have the run
_MESSAGE_CHARACTERS = 1_900
_UNKNOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker's parts.

    Attributes:
        registry: Where runs come from.
        gather: Brings a run's materials into a folder.
        reencode: Creates and sends the new form of a version, in a folder.
        stored: Brings what is stored of a version or a base into a folder, undecoded.
        open_reference: Opens the base that a proof's bytes are encoded against.
        children: Carries runs out.
        options: The operator's options.
        device: `cpu` or `cuda:N`, as the start found it.
        labels: What the worker offers, for runs that ask for labels.
        stop: The stop signal.
        escapes: The escapes that the trial found and the operator accepts; empty without a trial.
        measures: Brings the base's own figures; None has every child measure them.
        gather_sides: Brings versions side by side into a folder.
        clock: Returns seconds.
        tracer: Traces runs; None traces none.
        base_cache: Releases the bases of a run when it is over; None keeps all.
    """

    registry: WorkerRegistry
    gather: Callable[[LeaseGrant, Path], Materials]
    reencode: Callable[[LeaseGrant, Path], ReencodeReport]
    stored: StoredBytesSource
    open_reference: Callable[[LeaseGrant], AbstractContextManager[BaseFolder]]
    children: ChildRunner
    options: WorkerOptions
    device: str
    labels: Mapping[str, str]
    stop: StopSignal
    escapes: str = ""
    base_cache: BaseCache | None = None
    measures: BaseMeasureSource | None = None
    gather_sides: Callable[[LeaseGrant, Path], SideMaterials] | None = None
    clock: Callable[[], float] = time.monotonic
    tracer: Tracer | None = None

    def serve(self) -> None:
        """Take runs until asked to stop, until idle for too long, or until the first has ended with `is_once`.

        A run that proves is soon over and others wait for it: with `is_once` it does not count.

        Raises:
            DeltaregError: The registry refuses this worker: its token, its name.
        """
        pause_s, busy_at = _FIRST_PAUSE_S, self.clock()
        while not self.stop.is_asked and not self._is_idle_since(busy_at):
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
                busy_at = self.clock()
            if self.options.is_once and (grant is None or grant.what != "prove"):
                return

    def handle(self, grant: LeaseGrant) -> None:
        """Carry out one run and tell the registry how it ended, for the request that asked for it."""
        with self._trace(grant) as traceparent, caused_by(grant.request_id, traceparent):
            self._handle(grant)

    @contextmanager
    def _trace(self, grant: LeaseGrant) -> Generator[str, None, None]:
        """Trace a run as part of what asked for it, and give on the trace."""
        if self.tracer is None:
            yield grant.traceparent
            return
        about = {"deltareg.run": grant.run, "deltareg.ref": grant.ref, "deltareg.request_id": grant.request_id}
        with self.tracer.begin(
            f"run {grant.what}", parent=grant.traceparent, kind="CONSUMER", attributes=about
        ) as span:
            yield span.traceparent

    def _handle(self, grant: LeaseGrant) -> None:
        log.info(
            "run=%s ref=%s attempt=%d request=%s",
            grant.run,
            grant.ref or grant.base.name,
            grant.attempt,
            grant.request_id,
        )
        with Heartbeat(self.registry, grant) as heart:
            with RunLogSender(self.registry, grant, on_lost=heart.lose) as run_log:
                asked = f", for request {grant.request_id}" if grant.request_id else ""
                run_log.say(f"attempt {grant.attempt} on {self.options.name}, {self.device}{asked}")
                try:
                    end = self._work_patiently(grant, heart, run_log)
                except (DeltaregError, OSError) as error:
                    run_log.say(_reason(error))
                    end = partial(self._fail, grant, error)
            self._tell(grant, heart, end)
        if self.base_cache is not None:
            self.base_cache.trim()

    def _is_idle_since(self, busy_at: float) -> bool:
        """Whether it ends for want of work; a registry that does not answer gives none either."""
        return 0 < self.options.idle_s <= self.clock() - busy_at

    def _ask(self) -> LeaseGrant | None:
        kinds = self.options.only or RUN_KIND_NAMES
        request = LeaseRequest(
            worker=self.options.name,
            labels=dict(self.labels),
            wait_s=min(self.options.lease_wait_s, self.options.idle_s or self.options.lease_wait_s),
            what=[name for name in RUN_KIND_NAMES if name in RUN_KINDS and name in kinds],
            run=self.options.only_run,
            knows=list(know(only=self.options.only)),
        )
        return self.registry.lease(request)

    def _work_patiently(self, grant: LeaseGrant, heart: Heartbeat, told: RunLogSender) -> Callable[[], None]:
        """Carry a run out, again while the store does not answer or the disk is full.

        That is no fault of the run: failed at once, it and all that wait behind it would be out of attempts
        within a minute, and have no verdict when all is well again.
        """
        until, pause_s = self.clock() + _PATIENCE_S, _FIRST_PAUSE_S
        while True:
            try:
                return self._work(grant, heart, told)
            except (Unavailable, DiskFull) as error:
                if heart.is_lost or self.stop.is_asked or self.clock() >= until:
                    raise
                log.warning("run=%s waits pause=%.0f error=%s", grant.run, pause_s, error.message)
                told.say(f"{_reason(error)}; tried again in {pause_s:.0f} s")
            self.stop.pause(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _work(self, grant: LeaseGrant, heart: Heartbeat, told: RunLogSender) -> Callable[[], None]:
        """Carry a run out and return the function that tells the registry."""
        with out_of_space(self.options.scratch):
            self.options.scratch.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=RUN_PREFIX, dir=self.options.scratch))
        try:
            kind = RUN_KINDS.get(grant.what)
            if kind is None:  # of a release to come: somebody else may know it
                raise NotKnown(f"this worker knows no run that is a {grant.what}")
            with out_of_space(self.options.scratch):
                return partial(self._send, grant, kind(self, grant, folder, heart, told))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _send(self, grant: LeaseGrant, send: Callable[[], None]) -> None:
        try:
            send()
        except (LeaseLost, Unavailable):
            raise
        except DeltaregError as error:  # the registry does not take what was found
            self._fail(grant, error)

    def _fail(self, grant: LeaseGrant, error: Exception) -> None:
        reason = _reason(error)
        log.warning("run=%s failed: %s", grant.run, reason)
        is_unreadable = isinstance(error, IntegrityFailure | NotFound)
        failure = RunFailure(
            fence=grant.fence,
            error=reason,
            is_unreadable=is_unreadable,
            is_out_of_time=isinstance(error, OutOfTime),
            measured_s=round(error.seconds) if isinstance(error, BaseUnmeasured) else None,
            unknown=reason[:_UNKNOWN_CHARACTERS] if isinstance(error, NotKnown) else "",
        )
        self.registry.fail_run(grant.run, failure)

    def _tell(self, grant: LeaseGrant, heart: Heartbeat, tell: Callable[[], None]) -> None:
        """Tell the registry, repeatedly while it cannot be reached and the run is still ours."""
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


def _reason(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, DeltaregError):
        text = f"{error.message}; {error.fix}" if error.fix else error.message
    # It may quote what a child said, in characters that the registry does not keep.
    plain = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return plain[:_MESSAGE_CHARACTERS]
