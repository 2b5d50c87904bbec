"""In-toto statements of others about a version: provenance, test results and the like.

Predicates are stored as they are and left to their readers; only the subject is read here. Versions
0.1 and 1 of the format are accepted, since SLSA's older provenance uses the first.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Never

from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import BadSignature, Refused
from deltareg.signing.signed_files import PREDICATE, folder_root
from deltareg.signing.statement import TYPE
from deltareg.tensors.header import strict_json_object

_TYPES = {TYPE, "https://in-toto.io/Statement/v0.1"}
_FIELDS = {"_type", "subject", "predicateType", "predicate"}
_SUBJECT_FIELDS = {"name", "uri", "digest", "content", "downloadLocation", "mediaType", "annotations"}
_MOST_SUBJECTS = 1_000
_MOST_TYPE = 300
_HEX = re.compile(r"[0-9a-f]{64}")
_FIX = "attach it to the version that it is about: deltareg attest add REF FILE --key PUB"


@dataclass(frozen=True, slots=True)
class Attestation:
    """The subject and the predicate type of a statement.

    Attributes:
        predicate_type: The type of the predicate, a URI.
        digests: The sha256 of each subject, 64 hex digits.
    """

    predicate_type: str
    digests: frozenset[str]


def read_attested(payload: bytes) -> Attestation:
    """Read the subject of a statement.

    Raises:
        BadSignature: It is not an in-toto statement, or a subject has no sha256.
    """
    try:
        fields = strict_json_object(payload.strip())
    except Refused as error:
        raise BadSignature(f"no statement: {error.message}", fix=_FIX) from error
    kind = fields.get("predicateType")
    if set(fields) != _FIELDS or fields["_type"] not in _TYPES:
        _refuse("it is no in-toto statement")
    if not isinstance(kind, str) or not 0 < len(kind) <= _MOST_TYPE or not kind.isprintable():
        _refuse("it does not say what kind of thing it says")
    if kind == PREDICATE:
        _refuse("it is a signature: deltareg signature add REF FILE")
    if not is_object(fields["predicate"]):
        _refuse("it says nothing")
    subjects = fields["subject"]
    if not is_list(subjects) or not 0 < len(subjects) <= _MOST_SUBJECTS:
        _refuse(f"it is not about one to {_MOST_SUBJECTS} things")
    return Attestation(kind, frozenset(_digest(subject) for subject in subjects))


def check_about(attested: Attestation, manifest: str, files: Mapping[str, str], *, weights: Collection[str]) -> None:
    """Refuse a statement whose subject is not a version.

    Args:
        attested: Its subject.
        manifest: The sha256 of the version's manifest.
        files: The sha256 of each of its files, by path.
        weights: The paths of tensor files; a statement about other files only, such as a licence,
            could be about any version.

    Raises:
        BadSignature: It has other subjects, or none that identifies the version.
    """
    whole = {manifest, folder_root(files), *(files[path] for path in weights)}
    foreign = attested.digests - whole - set(files.values())
    if foreign:
        raise BadSignature(f"it is about sha256:{min(foreign)[:16]}…, which is not in this version", fix=_FIX)
    if not attested.digests & whole:
        raise BadSignature("it is not about the weights of this version", fix=_FIX)


def _digest(value: object) -> str:
    if not is_object(value) or set(value) - _SUBJECT_FIELDS:
        _refuse("a thing that it is about has other fields than one has")
    digests = value.get("digest")
    digest = digests.get("sha256") if is_object(digests) else None
    if not isinstance(digest, str) or not _HEX.fullmatch(digest):
        _refuse("a thing that it is about has no sha256")
    return digest


def _refuse(message: str) -> Never:
    raise BadSignature(f"no attestation: {message}", fix=_FIX)
