"""What a worker does under its leases, beside what everybody does: no command uses it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter

from deltareg.client import use_cases
from deltareg.client.asking.resolving import base_path
from deltareg.client.client import Client
from deltareg.client.config import ClientConfig
from deltareg.errors import BadSignature, InvalidInput
from deltareg.signing.signed import open_statement, sign_statement
from deltareg.wire import (
    BaseProbeSet,
    FiguresReport,
    LeaseGrant,
    LeaseHold,
    LeaseRequest,
    LogAppend,
    ProofReport,
    ReencodeReport,
    Request,
    RunFailure,
    RunInfo,
    SignedReport,
    VerdictInfo,
    VerdictReport,
)
from deltareg.wire.findings import FoundReport
from deltareg.wire.statements import FIGURES, figures_statement, read_figures, verdict_statement
from deltareg.wire.work import work_statement

if TYPE_CHECKING:
    from deltareg.client.context import Decode
    from deltareg.client.folders.base_folder import BaseFolder
    from deltareg.client.pull.stored_form import StoredForm
    from deltareg.signing.keys import SigningKey

WorkT = TypeVar("WorkT", ProofReport, ReencodeReport, FoundReport)
_MOST_LEASED = 16
_GRANT: TypeAdapter[LeaseGrant | None] = TypeAdapter(LeaseGrant | None)


@dataclass(frozen=True, slots=True)
class _Leased:
    """A lease with what was asked for it, and when it came."""

    grant: LeaseGrant
    request: LeaseRequest
    at: str


class WorkerClient(Client):
    """A client that also claims runs, holds them and ends them, and signs what was found."""

    def __init__(self, config: ClientConfig, *, key: "SigningKey | None" = None, host: str = "") -> None:
        """Open nothing yet, as `Client`.

        Args:
            config: Where the registry is, and with which token.
            key: What the worker signs with; without one it can take no run of a verification.
            host: The machine that it is on.
        """
        super().__init__(config)
        self._key = key
        self._host = host
        self._leased: dict[str, _Leased] = {}

    def decode_with(self, decode: "Decode") -> None:
        """Have somebody else decode what others sent, from now on, and not this process."""
        self._context = replace(self._context, decode=decode)

    def lease(self, request: LeaseRequest) -> LeaseGrant | None:
        """Ask for work; None when there was none within the time to wait."""
        if self._key is not None:
            fields = {"key": str(self._key.public), "host": self._host}
            request = request.model_copy(update=fields)
        # A worker asks for as long as it lives, and says so when nobody answers.
        response = self._api.send("POST", "/leases", body=request, is_patient=False)
        grant = _GRANT.validate_json(response.content)
        if grant is not None:
            if len(self._leased) >= _MOST_LEASED:
                del self._leased[next(iter(self._leased))]
            self._leased[grant.run] = _Leased(grant, request, _now())
        return grant

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
        """End a run that this client was leased with what was found, which it signs."""
        return self._api.post(f"/runs/{run_id}:complete", self._sign_report(run_id, report), VerdictInfo)

    def _sign_report(self, run_id: str, report: VerdictReport) -> Request:
        """Sign a report; one about a run of somebody else goes as it is, and is refused."""
        leased = self._leased.get(run_id)
        if leased is None or self._key is None:
            return report
        request = leased.request
        statement = verdict_statement(
            leased.grant,
            report,
            worker=request.worker,
            host=request.host,
            labels=request.labels,
            started_at=leased.at,
            finished_at=_now(),
        )
        envelope = sign_statement(statement, self._key).decode()
        return SignedReport(fence=report.fence, envelope=envelope)

    def base_probes(self, name: str) -> BaseProbeSet:
        """Give the probe set of a base, with what workers found of it."""
        return self._api.get(f"{base_path(name)}/probes", BaseProbeSet)

    def keep_figures(self, probes: BaseProbeSet, *, surroundings: str, figures: str) -> None:
        """Sign what was found of a base, and have it kept; without a key nothing is."""
        if self._key is None:
            return
        statement = figures_statement(probes, surroundings=surroundings, figures=figures)
        body = FiguresReport(envelope=sign_statement(statement, self._key).decode())
        self._api.post(f"{base_path(probes.base)}/figures", body, BaseProbeSet)

    def figures_of(self, probes: BaseProbeSet, *, surroundings: str) -> str:
        """Give the figures that this worker signed in such surroundings; empty where it has not.

        What others signed is left aside: a worker that lies would lie to all.
        """
        if self._key is None:
            return ""
        public = self._key.public
        for signed_figures in probes.figures:
            if signed_figures.keyid != public.keyid or signed_figures.surroundings != surroundings:
                continue
            try:
                signed = open_statement(
                    signed_figures.envelope.encode(), {public.keyid: public}, predicate_type=FIGURES
                )
                figures = read_figures(signed.statement)
            except (BadSignature, InvalidInput):
                continue
            is_same = f"sha256:{signed.statement.sha256}" == probes.digest
            if is_same and figures.surroundings == surroundings:
                return figures.figures
        return ""

    def reencode(self, grant: LeaseGrant, base: "BaseFolder", scratch: Path) -> ReencodeReport:
        """Make and send the new form of a version, for the run that a worker holds."""
        return use_cases.reencode.reencode(self._context, grant, base, scratch)

    def complete_reencode(self, run_id: str, report: ReencodeReport) -> RunInfo:
        """End a re-encode run: the version is stored in its new form, or as before."""
        signed = self._with_envelope(run_id, report)
        return self._api.post(f"/runs/{run_id}:replace", signed, RunInfo)

    def bring_stored(self, grant: LeaseGrant, into: Path, *, is_anew: bool = False) -> "StoredForm":
        """Bring what is stored of a version or a base, undecoded, for a run that proves it."""
        return use_cases.stored_form.bring_stored(self._context, grant, into, is_anew=is_anew)

    def complete_proof(self, run_id: str, report: ProofReport) -> RunInfo:
        """End a run that proves: nothing wrong is proven, anything wrong is a lie."""
        signed = self._with_envelope(run_id, report)
        return self._api.post(f"/runs/{run_id}:prove", signed, RunInfo)

    def complete_found(self, run_id: str, report: FoundReport) -> RunInfo:
        """End a run that finds something out for people."""
        signed = self._with_envelope(run_id, report)
        return self._api.post(f"/runs/{run_id}:found", signed, RunInfo)

    def _with_envelope(self, run_id: str, report: WorkT) -> WorkT:
        """Sign a report; one about a run of somebody else goes as it is, and is refused."""
        leased = self._leased.get(run_id)
        if leased is None or self._key is None:
            return report
        envelope = sign_statement(work_statement(leased.grant, report), self._key)
        return report.model_copy(update={"envelope": envelope.decode()})

    def fail_run(self, run_id: str, failure: RunFailure) -> None:
        """Give back a run that could not be carried out."""
        self._api.send("POST", f"/runs/{run_id}:fail", body=failure)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
