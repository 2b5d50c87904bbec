"""Signed statements of workers about runs that prove bytes, store them anew or find things out.

The subject is the manifest of the version or the base. The statement contains the whole report, but
a storage map and a found document only by their digests.
"""

from hashlib import sha256
from typing import Final

from pydantic import ValidationError

from deltareg.errors import BadSignature
from deltareg.signing.statement import Statement
from deltareg.wire.findings import FoundReport
from deltareg.wire.messages import Request
from deltareg.wire.runs import LeaseGrant, ProofReport, ReencodeReport

WORK: Final = "urn:deltareg:attestation:work:v1"
Work = ProofReport | ReencodeReport | FoundReport


class WorkPredicate(Request):
    """A worker's statement about a run.

    `run`, `fence` and `nonce` tie it to its lease, so that it cannot be reported twice; `said` is
    the content of the report.
    """

    run: str
    fence: int
    nonce: str
    said: dict[str, object]


def said_in(report: Work) -> dict[str, object]:
    """Return the content of a report as it is signed."""
    if isinstance(report, ReencodeReport):
        return {"upload": report.upload, "storage_map": _digest(report.storage_map)}
    if isinstance(report, FoundReport):
        return {"found": _digest(report.found), "sandbox": report.sandbox}
    return {
        "storage_revision": report.storage_revision,
        "pieces": report.pieces,
        "sandbox": report.sandbox,
        "wrong": [{"name": one.name, "detail": one.detail} for one in report.wrong],
        **({"read": report.read} if report.read else {}),
    }


def work_statement(grant: LeaseGrant, report: Work) -> Statement:
    """Build the statement of the work under a lease."""
    predicate = WorkPredicate(run=grant.run, fence=report.fence, nonce=grant.nonce, said=said_in(report))
    return Statement(
        grant.ref or grant.base.name, grant.digest.removeprefix("sha256:"), WORK, predicate.model_dump(mode="json")
    )


def read_work(statement: Statement) -> WorkPredicate:
    """Parse a worker's statement about a run.

    Raises:
        BadSignature: It is no such statement.
    """
    try:
        return WorkPredicate.model_validate(dict(statement.predicate))
    except ValidationError as error:
        raise BadSignature("the statement says nothing of a run", fix="run a worker of the server's release") from error


def _digest(text: str) -> str:
    return f"sha256:{sha256(text.encode()).hexdigest()}"
