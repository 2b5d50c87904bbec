"""Statements about versions, as workers and servers sign them: verdicts, and answers of the gate.

The subject of both is the version: its reference, and the sha256 of its manifest, which binds every
byte of it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, TypeVar

from pydantic import Field, ValidationError

from deltareg.errors import InvalidInput
from deltareg.signing.statement import Statement
from deltareg.wire.bases import BaseProbeSet
from deltareg.wire.messages import Request, Text
from deltareg.wire.runs import CheckResult, LeaseGrant, VerdictReport
from deltareg.words import BaseEvidence, Outcome

VERDICT: Final = "urn:deltareg:attestation:verdict:v1"
FIGURES: Final = "urn:deltareg:attestation:base-figures:v1"
VSA: Final = "https://slsa.dev/verification_summary/v1"
_SHA256 = "sha256:"
Said = TypeVar("Said", bound=Request)


class SuiteBinding(Request):
    """A suite: its name, and the digest of all that it says."""

    name: str
    digest: str


class BaseBinding(Request):
    """A base: what it is called, the root of its tensors and, where it has one, its identity."""

    name: str
    root: str
    identity: str = ""


class WorkerBinding(Request):
    """The worker that found it: how it calls itself, its host and what it offers."""

    name: str
    host: Annotated[str, Field(max_length=64)] = ""
    labels: Annotated[dict[str, str], Field(max_length=50)] = {}


class VerdictPredicate(Request):
    """What a worker says about a version that it verified.

    `run`, `fence` and `nonce` tie it to the lease that it was made under, so that it cannot be told
    twice. `compared_with` is the manifest of the version that a suite compared with, `references`
    are those of others that it names, by how it does;
    `storage_revision` says which form of the version was decoded, 0 where not all of it was.
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
        """Give what was found, as an unsigned report has it."""
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
    """What a worker found of a base on the base's own probes.

    The subject of the statement is the probe set. `surroundings` are what the figures depend on
    beside the base, as canonical JSON; `figures` are JSON, which only workers read.
    """

    base: BaseBinding
    surroundings: Annotated[str, Field(max_length=2_000)]
    figures: Annotated[str, Field(max_length=64 << 10)]


def figures_statement(probes: BaseProbeSet, *, surroundings: str, figures: str) -> Statement:
    """Make the statement of what was found of a base."""
    base = BaseBinding(name=probes.base, root=probes.root, identity=probes.identity)
    predicate = FiguresPredicate(base=base, surroundings=surroundings, figures=figures)
    return Statement(probes.base, probes.digest.removeprefix(_SHA256), FIGURES, predicate.model_dump(mode="json"))


def read_figures(statement: Statement) -> FiguresPredicate:
    """Read what a worker said of a base.

    Raises:
        InvalidInput: It says something else.
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
    """Make the statement of what was found under a lease."""
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
    """Read what a worker said.

    Raises:
        InvalidInput: It says something else than a verdict does.
    """
    return _read(VerdictPredicate, statement, "no verdict")


def summary_statement(
    ref: str,
    digest: str,
    *,
    channel: str,
    policy_digest: str,
    inputs: Mapping[str, str],
    unmet: Sequence[str],
    server: str,
    at: str,
) -> Statement:
    """Make the SLSA verification summary of what the gate of a channel answered.

    Args:
        ref: The version.
        digest: Its manifest's.
        channel: The channel.
        policy_digest: Of the channel's policy.
        inputs: The sha256 of the envelope of each verdict that it rests on, by verdict.
        unmet: The rules that are not met; empty when it may go there.
        server: Who answered.
        at: When, RFC 3339.
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
            {"uri": f"urn:deltareg:verdict:{verdict}", "digest": {"sha256": found}} for verdict, found in inputs.items()
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
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(
            f"the statement is {what}: {where}: {first['msg']}",
            fix="run a worker of the server's release: deltareg version",
        ) from error
