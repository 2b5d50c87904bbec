"""What a worker does under its leases, beside what everybody does: no command uses it."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from deltareg.client import use_cases
from deltareg.client.client import Client
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

if TYPE_CHECKING:
    from deltareg.client.folders.base_folder import BaseFolder
    from deltareg.client.pull.stored_form import StoredForm

_GRANT: TypeAdapter[LeaseGrant | None] = TypeAdapter(LeaseGrant | None)


class WorkerClient(Client):
    """A client that also claims runs, holds them and ends them."""

    def lease(self, request: LeaseRequest) -> LeaseGrant | None:
        """Ask for work; None when there was none within the time to wait."""
        # A worker asks for as long as it lives, and says so when nobody answers.
        response = self._api.send("POST", "/leases", body=request, is_patient=False)
        return _GRANT.validate_json(response.content)

    def heartbeat(self, hold: LeaseHold) -> None:
        """Say that the work goes on.

        Raises:
            LeaseLost: The run is somebody else's now.
        """
        self._api.send("PATCH", "/leases", body=hold)

    def append_log(self, run_id: str, lines: LogAppend) -> None:
        """Say how the work goes; the same lines may be sent again.

        Raises:
            LeaseLost: The run is somebody else's now.
        """
        self._api.send("POST", f"/runs/{run_id}/log", body=lines)

    def complete_run(self, run_id: str, report: VerdictReport) -> VerdictInfo:
        """End a run with what was found."""
        return self._api.post(f"/runs/{run_id}:complete", report, VerdictInfo)

    def reencode(self, grant: LeaseGrant, base: "BaseFolder", scratch: Path) -> ReencodeReport:
        """Make and send the new form of a version, for the run that a worker holds."""
        return use_cases.reencode.reencode(self._context, grant, base, scratch)

    def complete_reencode(self, run_id: str, report: ReencodeReport) -> RunInfo:
        """End a re-encode run: the version is stored in its new form, or as before."""
        return self._api.post(f"/runs/{run_id}:replace", report, RunInfo)

    def bring_stored(self, grant: LeaseGrant, into: Path, *, is_anew: bool = False) -> "StoredForm":
        """Bring what is stored of a version or a base, undecoded, for a run that proves it."""
        return use_cases.stored_form.bring_stored(self._context, grant, into, is_anew=is_anew)

    def complete_proof(self, run_id: str, report: ProofReport) -> RunInfo:
        """End a run that proves: nothing wrong is proven, anything wrong is a lie."""
        return self._api.post(f"/runs/{run_id}:prove", report, RunInfo)

    def fail_run(self, run_id: str, failure: RunFailure) -> None:
        """Give back a run that could not be carried out."""
        self._api.send("POST", f"/runs/{run_id}:fail", body=failure)
