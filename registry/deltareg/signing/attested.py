"""In-toto statements of others about a version: provenance, test results and the like.

Predicates are stored as they are and left to their readers. Read here are the subject and, of a few
known types, what came out: whether it passed, or the metrics of an evaluation. Versions 0.1 and 1
of the format are accepted, since SLSA's older provenance uses the first.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Never

from deltareg.documents.evaluation import EVALUATION, read_evaluation
from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import BadSignature, InvalidInput, Refused
from deltareg.signing.signed_files import PREDICATE, folder_root
from deltareg.signing.statement import TYPE
from deltareg.tensors.header import strict_json_object

_TYPES = {TYPE, "https://in-toto.io/Statement/v0.1"}
_FIELDS = {"_type", "subject", "predicateType", "predicate"}
_SUBJECT_FIELDS = {"name", "uri", "digest", "content", "downloadLocation", "mediaType", "annotations"}
_OUTCOMES = (
    ("https://in-toto.io/attestation/test-result/", "result", ("PASSED", "WARNED")),
    ("https://slsa.dev/verification_summary/", "verificationResult", ("PASSED",)),
    ("urn:deltareg:attestation:verdict:", "verdict", ("pass",)),  # of another registry's worker
)
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
        has_passed: Whether it says that all went well; None if its type does not say.
        metrics: The metrics that it reports, by name.
    """

    predicate_type: str
    digests: frozenset[str]
    has_passed: bool | None = None
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])


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
    if set(fields) != _FIELDS or not isinstance(fields["_type"], str) or fields["_type"] not in _TYPES:
        _refuse("it is no in-toto statement")
    if not isinstance(kind, str) or not 0 < len(kind) <= _MOST_TYPE or not kind.isprintable():
        _refuse("it does not say what kind of thing it says")
    if kind == PREDICATE:
        _refuse("it is a signature: deltareg signature add REF FILE")
    predicate = fields["predicate"]
    if not is_object(predicate):
        _refuse("it says nothing")
    subjects = fields["subject"]
    if not is_list(subjects) or not 0 < len(subjects) <= _MOST_SUBJECTS:
        _refuse(f"it is not about one to {_MOST_SUBJECTS} things")
    digests = frozenset(_digest(subject) for subject in subjects)
    return Attestation(kind, digests, _has_passed(kind, predicate), _metrics(kind, predicate))


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


def is_about_whole(
    attested: Attestation, manifest: str, files: Mapping[str, str], *, deciding: Collection[str]
) -> bool:
    """Whether a statement about a version is about all of it that decides what it computes.

    Weights alone do not: with another scale beside them they are another delta.

    Args:
        attested: Its subject.
        manifest: The sha256 of the version's manifest.
        files: The sha256 of each of its files, by path.
        deciding: The paths of the files that decide, which together are as good as the whole.
    """
    if attested.digests & {manifest, folder_root(files)}:
        return True
    return attested.digests >= {files[path] for path in deciding}


def _has_passed(kind: str, predicate: Mapping[str, object]) -> bool | None:
    """Return what came out by a predicate of a type that has an outcome; in doubt it did not pass."""
    for prefix, key, passing in _OUTCOMES:
        if kind.startswith(prefix):
            return predicate.get(key) in passing
    return None


def _metrics(kind: str, predicate: Mapping[str, object]) -> Mapping[str, float]:
    if kind != EVALUATION:
        return {}
    try:
        return read_evaluation(predicate)
    except InvalidInput as error:
        raise BadSignature(error.message, fix=error.fix) from error


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
