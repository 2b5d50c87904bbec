"""Which attestations of others a policy asks for, by type and signer, and whether they are there.

That somebody signed a statement of a type says little where its predicate says FAILED. So the types
that have an outcome are met by a passing one alone, and a signer's newest statement counts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from deltareg.documents.strict_fields import DocumentPlace, read_object, read_text
from deltareg.gate.outside_facts import OutsideFact, newest_by_sayer
from deltareg.gate.ruling import Ruling
from deltareg.gate.signature_terms import (
    SignatureTerm,
    describe_term,
    parse_term,
    read_terms,
    term_field,
    term_in_order,
)
from deltareg.signing.signed_files import PREDICATE

_EXAMPLE = "[{type: https://slsa.dev/provenance/v1, from: {key: KEYID}}]"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


@dataclass(frozen=True, slots=True)
class AttestationTerm:
    """An attestation that must be there.

    Attributes:
        predicate_type: The type of its predicate, a URI.
        signers: Who must have signed it: one of them.
    """

    predicate_type: str
    signers: SignatureTerm

    def field(self) -> dict[str, object]:
        """Write it as in a policy."""
        return {"type": self.predicate_type, "from": term_field(self.signers)}

    def in_order(self) -> "AttestationTerm":
        """Return it in the canonical order that digests are taken over."""
        return AttestationTerm(self.predicate_type, term_in_order(self.signers))


def parse_attestations(value: object, place: DocumentPlace) -> tuple[AttestationTerm, ...]:
    """Parse the attestations that a policy asks for.

    Raises:
        InvalidInput: One has another form, is named twice, or could never be there.
    """
    return read_terms(value, place, _term, example=_EXAMPLE)


def rule_on_attestation(ref: str, term: AttestationTerm, facts: Sequence[OutsideFact]) -> Ruling:
    """Check what others attest about a version against one term; `facts` are oldest first."""
    kind = term.predicate_type
    matching = [fact for fact in facts if fact.predicate_type == kind and fact.is_by(term.signers) and fact.signatory]
    counting = newest_by_sayer(fact for fact in matching if fact.is_counting)
    add = f"deltareg attest add {ref} FILE --key PUB"
    for fact in counting:
        if fact.outcome == "fail":
            message = f"{fact.sayer} attests that {ref} did not pass: {kind} ({fact.short_digest})"
            fix = f"promote another version, or have it attested anew: {add}"
            return Ruling("refuted", message, fix=fix, evidence=(fact.digest,))
    if counting:
        fact = counting[-1]
        message = f"{fact.sayer} attests {kind} of {ref} ({fact.short_digest})"
        return Ruling("attestation", message, evidence=(fact.digest,))
    message = f"{describe_term(term.signers)} attests no {kind} of {ref}"
    revoked = next((fact for fact in matching if fact.revoked), None)
    if revoked is not None:
        message = f"{revoked.sayer}, who attests {kind} of {ref}, is revoked: {revoked.revoked}"
    elif matching:
        message = (
            f"{matching[-1].sayer} attests {kind} of the weights alone, and other settings make of them another delta"
        )
        return Ruling("attestation", message, fix=f"have the manifest of {ref} attested, or all its files: {add}")
    return Ruling("attestation", message, fix=f"have it attested: {add}")


def _term(value: object, place: DocumentPlace) -> AttestationTerm:
    fields = read_object(value, place, known=("type", "from"))
    for key in ("type", "from"):
        if key not in fields:
            raise place.wrong(f"has no `{key}`", fix=f"write {_EXAMPLE}")
    kind = read_text(fields["type"], place.at("type"), example="type: https://slsa.dev/provenance/v1")
    if not _URI.fullmatch(kind):
        raise place.at("type").wrong(f"is no URI: {kind}", fix="write it as `deltareg attest ls` shows it")
    if kind == PREDICATE:
        raise place.at("type").wrong("is a signature of files, and no attestation", fix="ask for it under `signatures`")
    return AttestationTerm(kind, parse_term(fields["from"], place.at("from")))
