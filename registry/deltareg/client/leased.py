"""What a worker does under its leases: the part of the client that no command uses."""

from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.client import use_cases
from deltareg.client.resources import runs
from deltareg.client.session import Session
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
)

if TYPE_CHECKING:
    from deltareg.client.folders.base_folder import BaseFolder


class Leased(Session):
    """Claims runs, holds them and ends them."""

    def lease(self, request: LeaseRequest) -> LeaseGrant | None:
        """Ask for work; None when there is none yet."""
        return runs.lease(self._context, request)

    def heartbeat(self, hold: LeaseHold) -> None:
        """Say that the work goes on.

        Raises:
            LeaseLost: The run is somebody else's now.
        """
        self._context.api.send("PATCH", "/leases", body=hold)

    def append_log(self, run_id: str, lines: LogAppend) -> None:
        """Say how the work goes; the same lines may be sent again.

        Raises:
            LeaseLost: The run is somebody else's now.
        """
        self._context.api.send("POST", f"/runs/{run_id}/log", body=lines)

    def complete_run(self, run_id: str, report: VerdictReport) -> VerdictInfo:
        """End a run with what was found."""
        return self._context.api.post(f"/runs/{run_id}:complete", report, VerdictInfo)

    def reencode(self, grant: LeaseGrant, base: "BaseFolder", scratch: Path) -> ReencodeReport:
        """Make and send the new form of a version, for the run that a worker holds."""
        return use_cases.reencode.reencode(self._context, grant, base, scratch)

    def complete_reencode(self, run_id: str, report: ReencodeReport) -> RunInfo:
        """End a re-encode run: the version is stored in its new form, or as before."""
        return self._context.api.post(f"/runs/{run_id}:replace", report, RunInfo)

    def fail_run(self, run_id: str, failure: RunFailure) -> None:
        """Give back a run that could not be carried out."""
        self._context.api.send("POST", f"/runs/{run_id}:fail", body=failure)
