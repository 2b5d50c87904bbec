"""Verifies verdicts and answers of the gate by their signatures alone."""

from collections.abc import Iterable

from deltareg.client.context import Context
from deltareg.client.results.proofs import SignedProof
from deltareg.client.trust.trusted_keys import TrustedKeys, trusted_keys
from deltareg.errors import BadSignature, NotFound
from deltareg.signing.envelopes import signer_of
from deltareg.signing.signed_statements import open_statement
from deltareg.wire import EnvelopeInfo, GateAnswer, VerdictInfo
from deltareg.wire.statements import VERDICT, VSA, read_verdict

_UPGRADE = "upgrade the server, then: deltareg verify REF --again --wait"


def verify_verdict(envelope: bytes, trusted: TrustedKeys) -> SignedProof:
    """Return what a verdict says and who signed it, if a trusted key did.

    Raises:
        BadSignature: No trusted key signed it, or it is not a verdict.
    """
    signed = open_statement(envelope, trusted.public_keys("worker"), predicate_type=VERDICT)
    owner, verdict = trusted.owner(signed.keyid), read_verdict(signed.statement)
    return SignedProof(
        ref=signed.statement.name,
        digest=f"sha256:{signed.statement.sha256}",
        suite=verdict.suite.name,
        verdict=verdict.verdict,
        base_root=verdict.base.root,
        run=verdict.run,
        signed_by=owner.name,
        keyid=signed.keyid,
        key_state=owner.state,
        host=owner.host,
        enrolled_by=owner.enrolled_by,
        enrolled_at=owner.enrolled_at,
        at=verdict.finished_at,
    )


def verify_answer(context: Context, answer: GateAnswer, *, digest: str) -> list[SignedProof]:
    """Verify every verdict that a gate's answer rests on, and what it says about a version.

    Raises:
        BadSignature: The server counts a verdict that is not signed, is about another version or
            says something else; or the server's own signature does not verify.
    """
    rests = {rule.suite for rule in answer.rules if rule.rule == "verdict" and rule.is_met}
    if not answer.allowed or not rests:
        return []
    trusted, _ = trusted_keys(context, takes_new=True, role="worker")  # those of servers are followed in the log
    proofs = [_proof(context, verdict, trusted) for verdict in answer.verdicts]
    proven_suites = {proof.suite for proof in proofs}
    if rests - proven_suites:
        raise BadSignature(
            f"the server counts a verdict of {min(rests - proven_suites)} that is not signed", fix=_UPGRADE
        )
    names = {answer.ref, *answer.former}  # a line may have been renamed since; a digest stays
    for proof in proofs:
        if proof.ref not in names or proof.digest != digest or proof.verdict == "inconclusive":
            raise BadSignature(
                f"the server counts a verdict of {proof.suite} that says {proof.verdict} about {proof.ref}",
                fix="ask who runs the server; do not promote",
            )
    if answer.vsa:
        _check_summary(answer, trusted, digest=digest)
    return proofs


def envelope_of(context: Context, verdict_id: str) -> bytes:
    """Fetch the signed envelope of a verdict.

    Raises:
        NotFound: The verdict is not signed.
    """
    return context.api.get(f"/verdicts/{verdict_id}/envelope", EnvelopeInfo).envelope.encode()


def envelopes_of(context: Context, verdicts: Iterable[VerdictInfo]) -> list[bytes]:
    """Fetch the signed envelopes of verdicts; verdicts that are not signed are left out."""
    return [envelope_of(context, verdict.id) for verdict in verdicts if verdict.keyid]


def _proof(context: Context, verdict_id: str, trusted: TrustedKeys) -> SignedProof:
    try:
        envelope = envelope_of(context, verdict_id)
    except NotFound as error:
        raise BadSignature(f"the server counts verdict {verdict_id}, which nobody signed", fix=_UPGRADE) from error
    if signer_of(envelope) not in trusted.keys:
        verdict = context.api.get(f"/verdicts/{verdict_id}", VerdictInfo)
        if verdict.is_local:  # the policy takes it from a worker that nobody enrolled
            return SignedProof(
                ref=verdict.ref,
                digest=verdict.digest,
                suite=verdict.suite,
                verdict=verdict.verdict,
                base_root=verdict.base_root,
                run=verdict.run,
                keyid=verdict.keyid,
                is_local=True,
            )
    return verify_verdict(envelope, trusted)


def _check_summary(answer: GateAnswer, trusted: TrustedKeys, *, digest: str) -> None:
    servers = trusted.public_keys("server")
    signed = open_statement(answer.vsa.encode(), servers, predicate_type=VSA)
    trusted.owner(signed.keyid)
    is_about = (signed.statement.name, f"sha256:{signed.statement.sha256}") == (answer.ref, digest)
    if not is_about or signed.statement.predicate.get("verificationResult") != "PASSED":
        raise BadSignature("what the server signs is not what it answers", fix="ask who runs the server")
