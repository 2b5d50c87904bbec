"""Statements that workers and servers sign about versions: verdicts, and answers of the gate.

The subject of both is the version: its reference, and the sha256 of its manifest, which binds every
byte of it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, TypeVar

from pydantic import Field, ValidationError

from deltareg.errors import InvalidInput
from deltareg.signing.statement import Statement
from deltareg.wire.bases import BaseProbeSet
from deltareg.wire.checks import CheckResult
from deltareg.wire.messages import Request, Text
from deltareg.wire.runs import LeaseGrant, VerdictReport
from deltareg.words import BaseEvidence, Outcome

VERDICT: Final = "urn:deltareg:attestation:verdict:v1"
FIGURES: Final = "urn:deltareg:attestation:base-figures:v1"
VSA: Final = "https://slsa.dev/verification_summary/v1"
_SHA256 = "sha256:"
Said = TypeVar("Said", bound=Request)


class SuiteBinding(Request):
    """A suite: its name, and the digest of its content."""

    name: str
    digest: str


class BaseBinding(Request):
    """A base: its name, the root of its tensors and, if it has one, its identity."""

    name: str
    root: str
    identity: str = ""


class WorkerBinding(Request):
    """The worker that produced it: its name, its host and its labels."""

    name: str
    host: Annotated[str, Field(max_length=64)] = ""
    labels: Annotated[dict[str, str], Field(max_length=50)] = {}


class VerdictPredicate(Request):
    """A worker's verdict about a version.

    `run`, `fence` and `nonce` tie it to its lease, so that it cannot be reported twice.
    `compared_with` is the manifest of the version that the suite compared with; `references` are
    the manifests of the suite's other references, by name. `storage_revision` says which form of
    the version was decoded, 0 if not all of it was.
    """

    run: str
    fence: int
    nonce: str
    suite: SuiteBinding
    base: BaseBinding
    verdict: Outcome
    checks: Annotated[list[CheckResult], Field(max_length=200)]
    environment: dict[str, str]
    sandbox: Text
    verifier: Text
    dtype: str
    seed: int
    base_evidence: BaseEvidence
    worker: WorkerBinding
    started_at: Annotated[str, Field(max_length=40)]
    finished_at: Annotated[str, Field(max_length=40)]
    compared_with: str = ""
    storage_revision: int = 0
    references: Annotated[dict[str, str], Field(max_length=200)] = {}

    def report(self) -> VerdictReport:
        """Return the verdict as an unsigned report."""
        return VerdictReport(
            fence=self.fence,
            verdict=self.verdict,
            verifier=self.verifier,
            suite_digest=self.suite.digest,
            dtype=self.dtype,
            seed=self.seed,
            base_evidence=self.base_evidence,
            checks=self.checks,
            environment=self.environment,
            sandbox=self.sandbox,
            base_identity=self.base.identity,
            storage_revision=self.storage_revision,
        )


class FiguresPredicate(Request):
    """A worker's figures of a base on the base's own probes.

    The subject of the statement is the probe set. `surroundings` are what the figures depend on
    beside the base, as canonical JSON; `figures` are JSON that only workers read.
    """

    base: BaseBinding
    surroundings: Annotated[str, Field(max_length=2_000)]
    figures: Annotated[str, Field(max_length=64 << 10)]


def figures_statement(probes: BaseProbeSet, *, surroundings: str, figures: str) -> Statement:
    """Build the statement of a base's figures."""
    base = BaseBinding(name=probes.base, root=probes.root, identity=probes.identity)
    predicate = FiguresPredicate(base=base, surroundings=surroundings, figures=figures)
    return Statement(probes.base, probes.digest.removeprefix(_SHA256), FIGURES, predicate.model_dump(mode="json"))


def read_figures(statement: Statement) -> FiguresPredicate:
    """Parse a worker's statement about a base.

    Raises:
        InvalidInput: It is no such statement.
    """
    return _read(FiguresPredicate, statement, "no figures of a base")


def verdict_statement(
    grant: LeaseGrant,
    report: VerdictReport,
    *,
    worker: str,
    host: str,
    labels: Mapping[str, str],
    started_at: str,
    finished_at: str,
) -> Statement:
    """Build the statement of a verdict that was found under a lease."""
    predicate = VerdictPredicate(
        run=grant.run,
        fence=report.fence,
        nonce=grant.nonce,
        suite=SuiteBinding(name=grant.suite, digest=report.suite_digest),
        base=BaseBinding(name=grant.base.name, root=grant.base.root, identity=report.base_identity),
        verdict=report.verdict,
        checks=report.checks,
        environment=report.environment,
        sandbox=report.sandbox,
        verifier=report.verifier,
        dtype=report.dtype,
        seed=report.seed,
        base_evidence=report.base_evidence,
        worker=WorkerBinding(name=worker, host=host, labels=dict(labels)),
        started_at=started_at,
        finished_at=finished_at,
        compared_with=grant.promoted_digest,
        storage_revision=report.storage_revision,
        references={key: one.digest for key, one in grant.references.items() if one.digest},
    )
    return Statement(grant.ref, grant.digest.removeprefix(_SHA256), VERDICT, predicate.model_dump(mode="json"))


def read_verdict(statement: Statement) -> VerdictPredicate:
    """Parse a worker's verdict.

    Raises:
        InvalidInput: It is not a verdict.
    """
    return _read(VerdictPredicate, statement, "no verdict")


def summary_statement(
    ref: str,
    digest: str,
    *,
    channel: str,
    policy_digest: str,
    inputs: Mapping[str, str],
    evidence: Sequence[str] = (),
    unmet: Sequence[str],
    server: str,
    at: str,
) -> Statement:
    """Build the SLSA verification summary of a gate's answer for a channel.

    Args:
        ref: The version.
        digest: The digest of its manifest.
        channel: The channel.
        policy_digest: The digest of the channel's policy.
        inputs: The sha256 of each verdict's envelope that the answer rests on, by verdict.
        evidence: The digests of what others say about the version that the answer rests on.
        unmet: The rules that are not met; empty if the version may go there.
        server: The server that answered.
        at: The time, RFC 3339.
    """
    line = ref.partition(":")[0]
    predicate: dict[str, object] = {
        "verifier": {"id": server},
        "timeVerified": at,
        "resourceUri": f"urn:deltareg:version:{ref}",
        "policy": {
            "uri": f"urn:deltareg:policy:{line}@{channel}",
            "digest": {"sha256": policy_digest.removeprefix(_SHA256)},
        },
        "inputAttestations": [
            {"uri": f"urn:deltareg:verdict:{verdict}", "digest": {"sha256": envelope_digest}}
            for verdict, envelope_digest in inputs.items()
        ]
        + [
            {"uri": f"urn:deltareg:evidence:{digest}", "digest": {"sha256": digest.removeprefix(_SHA256)}}
            for digest in evidence
        ],
        "verificationResult": "FAILED" if unmet else "PASSED",
        "verifiedLevels": ["FAILED"] if unmet else ["DELTAREG_GATE"],
        "slsaVersion": "1.1",
    }
    if unmet:
        predicate["urn:deltareg:unmet"] = list(unmet)
    return Statement(ref, digest.removeprefix(_SHA256), VSA, predicate)


def _read(kind: type[Said], statement: Statement, what: str) -> Said:
    try:
        return kind.model_validate(dict(statement.predicate))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(
            f"the statement is {what}: {place}: {first['msg']}",
            fix="run a worker of the server's release: deltareg version",
        ) from error
