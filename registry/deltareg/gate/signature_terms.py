"""Who must have signed a version's files by a policy, and whether they have.

Each term of a policy must be met; a term with several signers is met by any of them. A signature
was verified when it arrived. What counts now is who made it, and whether their key was revoked
since: a revoked key invalidates all its signatures, since nobody knows who used it when.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from deltareg.documents.strict_fields import DocumentPlace, read_list, read_object
from deltareg.errors import InvalidInput
from deltareg.gate.ruling import Ruling
from deltareg.signing.signatories import Signatory, WantedSigner

Term = TypeVar("Term")
SignatureTerm = tuple[WantedSigner, ...]
"""Signers of whom one must have signed."""
_EXAMPLE = "[{key: KEYID}, {any: [{ca: FINGERPRINT, identity: NAME}, …]}]"
_MOST_TERMS = 20
_FIELDS = ("key", "ca", "issuer", "identity")


@dataclass(frozen=True, slots=True)
class SignatureFact:
    """A valid signature of a version.

    Attributes:
        signatory: The signer.
        revoked: Why the signer's key or authority was revoked, in words; empty if it was not.
    """

    signatory: Signatory
    revoked: str = ""


def parse_terms(value: object, place: DocumentPlace) -> tuple[SignatureTerm, ...]:
    """Parse the required signers.

    Raises:
        InvalidInput: One of them is empty, or named twice.
    """
    return read_terms(value, place, parse_term, example=_EXAMPLE)


def read_terms(
    value: object, place: DocumentPlace, how: Callable[[object, DocumentPlace], Term], *, example: str
) -> tuple[Term, ...]:
    """Read a list of terms, each once.

    Raises:
        InvalidInput: It is empty or too long, or asks the same twice.
    """
    items = _items(value, place, example=example)
    terms = tuple(how(item, place.at(number)) for number, item in enumerate(items))
    for number, term in enumerate(terms):
        if term in terms[:number]:
            raise place.at(number).wrong("asks the same twice", fix="ask it once")
    return terms


def terms_fields(terms: Sequence[SignatureTerm]) -> list[object]:
    """Write the required signers as `parse_terms` reads them."""
    return [term_field(term) for term in terms]


def term_field(term: SignatureTerm) -> object:
    """Write one signer, or several of whom one must have signed, as `parse_term` reads them."""
    return term[0].fields() if len(term) == 1 else {"any": [signer.fields() for signer in term]}


def terms_in_order(terms: Sequence[SignatureTerm]) -> tuple[SignatureTerm, ...]:
    """Return the terms in the canonical order that digests are taken over."""
    ordered = [term_in_order(term) for term in terms]
    return tuple(sorted(ordered, key=lambda term: [_make_sort_key(signer) for signer in term]))


def term_in_order(term: SignatureTerm) -> SignatureTerm:
    """Return the signers of one term in their canonical order."""
    return tuple(sorted(term, key=_make_sort_key))


def describe_term(term: SignatureTerm) -> str:
    """Name the signers of whom one must have signed."""
    return " or ".join(signer.description for signer in term)


def rule_on_signature(ref: str, term: SignatureTerm, found: Sequence[SignatureFact]) -> Ruling:
    """Check the signatures of a version against one term."""
    expected = describe_term(term)
    meeting = [fact for fact in found if any(each.is_met_by(fact.signatory) for each in term)]
    for fact in meeting:
        if not fact.revoked:
            return Ruling("signature", f"{ref} is signed by {fact.signatory.description}")
    line = ref.partition(":")[0]
    fix = (
        f"with that signer's key: deltareg push PATH {line} --sign KEY;"
        f" or a bundle of theirs: deltareg signature add {ref} FILE --key PUB"
    )
    if meeting:
        message = f"{meeting[0].signatory.description}, who signed {ref}, is revoked: {meeting[0].revoked}"
        return Ruling("signature", message, fix=f"have it signed anew by another signer; {fix}")
    return Ruling("signature", f"{ref} is not signed by {expected}", fix=fix)


def parse_term(value: object, place: DocumentPlace) -> SignatureTerm:
    """Parse one signer, or any of several.

    Raises:
        InvalidInput: There is none, or one is named twice.
    """
    fields = read_object(value, place, known=(*_FIELDS, "any"))
    if "any" not in fields:
        return (_read_wanted(fields, place),)
    if len(fields) > 1:
        raise place.wrong("names one signer and any of several", fix=f"write {_EXAMPLE}")
    inner = place.at("any")
    items = _items(fields["any"], inner, example=_EXAMPLE)
    signers = tuple(
        _read_wanted(read_object(item, inner.at(number), known=_FIELDS), inner.at(number))
        for number, item in enumerate(items)
    )
    if len(set(signers)) != len(signers):
        raise inner.wrong("names a signer twice", fix="name each once")
    return signers


def _read_wanted(fields: dict[str, object], place: DocumentPlace) -> WantedSigner:
    try:
        return WantedSigner.of_fields(fields)
    except InvalidInput as error:
        raise place.wrong(error.message, fix=error.fix) from error


def _items(value: object, place: DocumentPlace, *, example: str) -> list[object]:
    items = read_list(value, place, example=example)
    if not items:
        raise place.wrong("is empty, and so would ask nothing", fix="leave the key out")
    if len(items) > _MOST_TERMS:
        raise place.wrong(f"has {len(items)} items", fix=f"name at most {_MOST_TERMS}")
    return items


def _make_sort_key(wanted: WantedSigner) -> str:
    return str(sorted(wanted.fields().items()))
