"""What a worker says of a run that proves bytes, stores them anew or finds something out, signed.

The statement is about the manifest of the version or the base. What the report carries is in it
whole, a storage map and what was found out by their digests.
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
    """What a worker says of a run.

    `run`, `fence` and `nonce` tie it to the lease that it was made under, so that it cannot be told
    twice; `said` is what the report says.
    """

    run: str
    fence: int
    nonce: str
    said: dict[str, object]


def said_in(report: Work) -> dict[str, object]:
    """Give what a report says, as it is signed."""
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
    """Make the statement of what was done under a lease."""
    predicate = WorkPredicate(run=grant.run, fence=report.fence, nonce=grant.nonce, said=said_in(report))
    return Statement(
        grant.ref or grant.base.name, grant.digest.removeprefix("sha256:"), WORK, predicate.model_dump(mode="json")
    )


def read_work(statement: Statement) -> WorkPredicate:
    """Read what a worker said of a run.

    Raises:
        BadSignature: It says something else.
    """
    try:
        return WorkPredicate.model_validate(dict(statement.predicate))
    except ValidationError as error:
        raise BadSignature("the statement says nothing of a run", fix="run a worker of the server's release") from error


def _digest(text: str) -> str:
    return f"sha256:{sha256(text.encode()).hexdigest()}"
