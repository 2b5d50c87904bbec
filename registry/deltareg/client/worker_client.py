"""What a worker does under its leases, beyond what every client does; no command uses it."""

from collections.abc import Mapping
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
from deltareg.signing.signed_statements import open_statement, sign_statement
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
    import httpx

    from deltareg.client.context import Decode
    from deltareg.client.folders.base_folder import BaseFolder
    from deltareg.client.pull.stored_form import StoredForm
    from deltareg.signing.keys import SigningKey

WorkT = TypeVar("WorkT", ProofReport, ReencodeReport, FoundReport)
_MOST_LEASED = 16
_GRANT: TypeAdapter[LeaseGrant | None] = TypeAdapter(LeaseGrant | None)


@dataclass(frozen=True, slots=True)
class _Leased:
    """A lease with its request, and when it was granted."""

    grant: LeaseGrant
    request: LeaseRequest
    at: str


class WorkerClient(Client):
    """A client that also claims runs, holds them, ends them, and signs results."""

    def __init__(self, config: ClientConfig, *, key: "SigningKey | None" = None, host: str = "") -> None:
        """Prepare; like `Client`, it sends no request yet.

        Args:
            config: The settings: the registry and the token.
            key: The key that the worker signs with; without one it cannot take verification runs.
            host: The machine that it is on.
        """
        super().__init__(config)
        self._key = key
        self._host = host
        self._leased: dict[str, _Leased] = {}

    def decode_with(self, decode: "Decode") -> None:
        """From now on, have `decode` decode stored bytes instead of this process."""
        self._context = replace(self._context, decode=decode)

    def lease(self, request: LeaseRequest) -> LeaseGrant | None:
        """Ask for work; None if there was none within the waiting time."""
        if self._key is not None:
            fields = {"key": str(self._key.public), "host": self._host}
            request = request.model_copy(update=fields)
        response = self._send_said("/leases", request, without={"knows": None})
        grant = _GRANT.validate_json(response.content)
        if grant is not None:
            if len(self._leased) >= _MOST_LEASED:
                del self._leased[next(iter(self._leased))]
            self._leased[grant.run] = _Leased(grant, request, _now())
        return grant

    def fail_run(self, run_id: str, failure: RunFailure) -> None:
        """Give a run back.

        Raises:
            LeaseLost: The run is somebody else's now.
        """
        self._send_said(f"/runs/{run_id}:fail", failure, without={"unknown": ""})

    def _send_said(self, path: str, body: Request, *, without: Mapping[str, object]) -> "httpx.Response":
        """Send a request; to a server of a release before that refuses some of its fields, without them."""
        # A worker asks for as long as it lives, and says so when nobody answers.
        is_patient = path != "/leases"
        try:
            return self._api.send("POST", path, body=body, is_patient=is_patient)
        except InvalidInput:
            plain = body.model_copy(update=without)
            if plain == body:
                raise
            return self._api.send("POST", path, body=plain, is_patient=is_patient)

    def heartbeat(self, hold: LeaseHold) -> None:
        """Report that the work goes on.

        Raises:
            LeaseLost: The run is somebody else's now.
        """
        self._api.send("PATCH", "/leases", body=hold)

    def append_log(self, run_id: str, lines: LogAppend) -> None:
        """Append lines to the run's log; sending the same lines again does no harm.

        Raises:
            LeaseLost: The run is somebody else's now.
        """
        self._api.send("POST", f"/runs/{run_id}/log", body=lines)

    def complete_run(self, run_id: str, report: VerdictReport) -> VerdictInfo:
        """End a run leased by this client with a verdict, which the client signs."""
        return self._api.post(f"/runs/{run_id}:complete", self._sign_report(run_id, report), VerdictInfo)

    def _sign_report(self, run_id: str, report: VerdictReport) -> Request:
        """Sign a report; one about another worker's run stays unsigned, and is refused."""
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
        """Return the probe set of a base, with the figures that workers found."""
        return self._api.get(f"{base_path(name)}/probes", BaseProbeSet)

    def keep_figures(self, probes: BaseProbeSet, *, surroundings: str, figures: str) -> None:
        """Sign figures of a base and store them; without a key, do nothing."""
        if self._key is None:
            return
        statement = figures_statement(probes, surroundings=surroundings, figures=figures)
        body = FiguresReport(envelope=sign_statement(statement, self._key).decode())
        self._api.post(f"{base_path(probes.base)}/figures", body, BaseProbeSet)

    def figures_of(self, probes: BaseProbeSet, *, surroundings: str) -> str:
        """Return the figures that this worker signed in such surroundings; empty if there are none.

        Figures that others signed are ignored: a lying worker would mislead all others.
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
        """Encode and send the new form of a version, for a run that the worker holds."""
        return use_cases.reencode.reencode(self._context, grant, base, scratch)

    def complete_reencode(self, run_id: str, report: ReencodeReport) -> RunInfo:
        """End a re-encode run: the version gets its new form, or stays as before."""
        signed = self._with_envelope(run_id, report)
        return self._api.post(f"/runs/{run_id}:replace", signed, RunInfo)

    def bring_stored(self, grant: LeaseGrant, into: Path, *, is_anew: bool = False) -> "StoredForm":
        """Fetch the stored bytes of a version or a base, undecoded, for a run that proves them."""
        return use_cases.stored_form.bring_stored(self._context, grant, into, is_anew=is_anew)

    def complete_proof(self, run_id: str, report: ProofReport) -> RunInfo:
        """End a proof: without mismatches the bytes are proven, with any they are corrupt."""
        signed = self._with_envelope(run_id, report)
        return self._api.post(f"/runs/{run_id}:prove", signed, RunInfo)

    def complete_found(self, run_id: str, report: FoundReport) -> RunInfo:
        """End a run that finds something out for people."""
        signed = self._with_envelope(run_id, report)
        return self._api.post(f"/runs/{run_id}:found", signed, RunInfo)

    def _with_envelope(self, run_id: str, report: WorkT) -> WorkT:
        """Sign a report; one about another worker's run stays unsigned, and is refused."""
        leased = self._leased.get(run_id)
        if leased is None or self._key is None:
            return report
        envelope = sign_statement(work_statement(leased.grant, report), self._key)
        return report.model_copy(update={"envelope": envelope.decode()})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
