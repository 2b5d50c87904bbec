"""The parts of a worker, as the code that carries out its runs sees them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from deltareg.client.folders.base_folder import BaseFolder
from deltareg.client.pull.stored_form import StoredForm
from deltareg.wire import (
    LeaseGrant,
    LeaseHold,
    LeaseRequest,
    LogAppend,
    ProofReport,
    ReencodeReport,
    RunFailure,
    RunInfo,
    VerdictInfo,
    VerdictReport,
)
from deltareg.wire.findings import FoundReport
from deltareg_verify.child.sides import SideMaterials
from deltareg_verify.messages.assignment import MeasureFiles
from deltareg_verify.supervisor.materials import Materials
from deltareg_verify.supervisor.options import WorkerOptions
from deltareg_verify.supervisor.stop import StopSignal


class WorkerRegistry(Protocol):
    """The registry, as a worker uses it; `deltareg.Client` has it."""

    def lease(self, request: LeaseRequest) -> LeaseGrant | None:
        """Lease a run, if there is one."""
        ...

    def heartbeat(self, hold: LeaseHold) -> None:
        """Prolong a lease."""
        ...

    def append_log(self, run_id: str, lines: LogAppend) -> None:
        """Append lines to a run's log."""
        ...

    def complete_run(self, run_id: str, report: VerdictReport) -> VerdictInfo:
        """Complete a verification with its verdict."""
        ...

    def complete_reencode(self, run_id: str, report: ReencodeReport) -> RunInfo:
        """Complete a re-encode run with the new form of its version."""
        ...

    def complete_proof(self, run_id: str, report: ProofReport) -> RunInfo:
        """Complete a proof with what is wrong, or nothing."""
        ...

    def complete_found(self, run_id: str, report: FoundReport) -> RunInfo:
        """Complete a run with findings for people."""
        ...

    def fail_run(self, run_id: str, failure: RunFailure) -> None:
        """Give a run back."""
        ...


class ChildRunner(Protocol):
    """Carries out runs in children; `deltareg_verify.sandbox.zygote.Zygote` does."""

    def run(
        self, request: bytes, *, wall_s: float, interrupted: Callable[[], str], heard: Callable[[bytes], None]
    ) -> bytes:
        """Run a request in a child and return its output.

        Raises:
            Inconclusive: It could not.
        """
        ...


class StoredBytesSource(Protocol):
    """Brings the bytes that a run is to prove into a folder, undecoded."""

    def __call__(self, grant: LeaseGrant, into: Path, *, is_anew: bool) -> StoredForm:
        """Bring them; with `is_anew`, fetch everything, whatever the cache has."""
        ...


class BaseMeasureSource(Protocol):
    """Brings a base's own figures; `deltareg_verify.supervisor.base_measures.BaseMeasures` does."""

    def bring(
        self,
        grant: LeaseGrant,
        materials: Materials,
        folder: Path,
        *,
        interrupted: Callable[[], str],
        say: Callable[[str], None],
    ) -> MeasureFiles:
        """Write the probe set and the figures of a run's base into a folder."""
        ...

    def bring_probes(self, grant: LeaseGrant, folder: Path) -> Path | None:
        """Write the probe set alone; None where the registry has none."""
        ...


class WorkerParts(Protocol):
    """The parts of a worker; `supervisor.worker.Worker` has and describes them."""

    @property
    def registry(self) -> WorkerRegistry:
        """The registry, where runs come from."""
        ...

    @property
    def gather(self) -> Callable[[LeaseGrant, Path], Materials]:
        """Brings a run's materials into a folder."""
        ...

    @property
    def reencode(self) -> Callable[[LeaseGrant, Path], ReencodeReport]:
        """Creates and sends the new form of a version, in a folder."""
        ...

    @property
    def gather_sides(self) -> Callable[[LeaseGrant, Path], SideMaterials] | None:
        """Brings versions side by side into a folder; None where no run needs that."""
        ...

    @property
    def stored(self) -> StoredBytesSource:
        """Brings what is stored of a version or a base, undecoded."""
        ...

    @property
    def open_reference(self) -> Callable[[LeaseGrant], AbstractContextManager[BaseFolder]]:
        """Opens the base that a proof's bytes are encoded against."""
        ...

    @property
    def children(self) -> ChildRunner:
        """Carries out everything that reads a version's bytes."""
        ...

    @property
    def options(self) -> WorkerOptions:
        """The operator's options."""
        ...

    @property
    def device(self) -> str:
        """The device of the runs."""
        ...

    @property
    def escapes(self) -> str:
        """The escapes that the trial at the start found and the operator accepts."""
        ...

    @property
    def measures(self) -> BaseMeasureSource | None:
        """Brings the base's own figures; None has every child measure them."""
        ...

    @property
    def stop(self) -> StopSignal:
        """The worker's stop signal."""
        ...
