"""What a worker is made of, as those who carry out its runs see it."""

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
    """What a worker asks of the registry; `deltareg.Client` has it."""

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

    def complete_proof(self, run_id: str, report: ProofReport) -> RunInfo:
        """End a run that proves with what is wrong, or nothing."""
        ...

    def complete_found(self, run_id: str, report: FoundReport) -> RunInfo:
        """End a run that finds something out for people."""
        ...

    def fail_run(self, run_id: str, failure: RunFailure) -> None:
        """Give a run back."""
        ...


class ChildRunner(Protocol):
    """What carries out runs; `deltareg_verify.sandbox.zygote.Zygote` does."""

    def run(
        self, request: bytes, *, wall_s: float, interrupted: Callable[[], str], heard: Callable[[bytes], None]
    ) -> bytes:
        """Have a child do something and give what it said.

        Raises:
            Inconclusive: It could not.
        """
        ...


class StoredBytesSource(Protocol):
    """Brings what a run is to prove into a folder, as it lies in the packs."""

    def __call__(self, grant: LeaseGrant, into: Path, *, is_anew: bool) -> StoredForm:
        """Bring it; with `is_anew`, fetch all of it whatever the cache has."""
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
    """The parts of a worker; `supervisor.worker.Worker` has them and says what they are."""

    @property
    def registry(self) -> WorkerRegistry:
        """Where runs come from."""
        ...

    @property
    def gather(self) -> Callable[[LeaseGrant, Path], Materials]:
        """Brings a run's materials into a folder."""
        ...

    @property
    def reencode(self) -> Callable[[LeaseGrant, Path], ReencodeReport]:
        """Makes and sends the new form of a version, in a folder."""
        ...

    @property
    def gather_sides(self) -> Callable[[LeaseGrant, Path], SideMaterials] | None:
        """Brings versions side by side into a folder; None where no run is about that."""
        ...

    @property
    def stored(self) -> StoredBytesSource:
        """Brings what is stored of a version or a base, undecoded."""
        ...

    @property
    def open_reference(self) -> Callable[[LeaseGrant], AbstractContextManager[BaseFolder]]:
        """Opens the base that what a run proves is encoded against."""
        ...

    @property
    def children(self) -> ChildRunner:
        """Carries out what reads a version's bytes."""
        ...

    @property
    def options(self) -> WorkerOptions:
        """What the operator said."""
        ...

    @property
    def device(self) -> str:
        """Where runs are carried out."""
        ...

    @property
    def escapes(self) -> str:
        """What the trial at the start found and the operator accepts."""
        ...

    @property
    def measures(self) -> BaseMeasureSource | None:
        """Brings the base's own figures; None has every child work them out."""
        ...

    @property
    def stop(self) -> StopSignal:
        """Whether the worker is to end."""
        ...
