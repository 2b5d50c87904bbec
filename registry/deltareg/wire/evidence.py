"""What others say about versions, on the wire: attestations, and evaluations of other systems."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.messages import Answer, Reason, Request

MOST_CHARACTERS = 1 << 20


class OutsideEvidence(Answer):
    """What somebody outside says about a version; no worker of the registry found it.

    `signed_by` names the signer; where it is empty nobody signed, and it is the word of
    `created_by`, who brought it. `outcome` is `pass` or `fail` where its type has one, `metrics` are what it reports.
    `ignored` says why it counts for no policy: its signer is revoked, it was withdrawn, or it is
    about the weights alone. Of the same sayer the newest counts.
    """

    digest: str
    predicate_type: str
    signed_by: str = ""
    outcome: str = ""
    metrics: dict[str, float] = {}
    ignored: str = ""
    size_bytes: int
    created_at: str
    created_by: str

    @property
    def said_by(self) -> str:
        """Who says it, in words."""
        return self.signed_by or f"{self.created_by}, unsigned"


class EvaluationAdd(Request):
    """What another system measured of the version, unsigned; whoever sends it answers for it.

    It is a results.json of lm-evaluation-harness, or `{"metrics": {NAME: NUMBER}}`.
    """

    body: Annotated[str, Field(min_length=2, max_length=MOST_CHARACTERS)]


class EvaluationBody(OutsideEvidence):
    """An evaluation as it came."""

    ref: str
    body: str


class EvaluationWithdraw(Request):
    """Why an evaluation counts no more."""

    reason: Reason
