"""An in-toto statement, version 1: a claim (the predicate) about bytes (the subject).

The format is https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md, as JSON;
predicates are left to readers that know their type.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import BadSignature, Refused
from deltareg.tensors.header import strict_json_object

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
TYPE: Final = "https://in-toto.io/Statement/v1"
_FIELDS = {"_type", "subject", "predicateType", "predicate"}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIX = "get the statement again from where it was made"


@dataclass(frozen=True, slots=True)
class Statement:
    """A claim about one thing.

    Attributes:
        name: The name of the thing.
        sha256: The sha256 of its bytes, 64 hex digits, which identifies the thing.
        predicate_type: The type of the claim, a URI.
        predicate: The claim.
    """

    name: str
    sha256: str
    predicate_type: str
    predicate: Mapping[str, object]


def encode_statement(statement: Statement) -> bytes:
    """Encode a statement as JSON."""
    document = {
        "_type": TYPE,
        "subject": [{"name": statement.name, "digest": {"sha256": statement.sha256}}],
        "predicateType": statement.predicate_type,
        "predicate": statement.predicate,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def decode_statement(payload: bytes) -> Statement:
    """Decode a statement about one thing that has a sha256.

    Raises:
        BadSignature: It is malformed, has a key twice, or is about several things.
    """
    try:
        fields = strict_json_object(payload)
    except Refused as error:
        raise BadSignature(f"no statement: {error.message}", fix=_FIX) from error
    kind, predicate = fields.get("predicateType"), fields.get("predicate")
    if set(fields) != _FIELDS or fields["_type"] != TYPE:
        raise BadSignature("it is no in-toto statement of version 1", fix=_FIX)
    if not isinstance(kind, str) or not is_object(predicate):
        raise BadSignature("the statement says nothing of a known form", fix=_FIX)
    name, digest = _subject(fields["subject"])
    return Statement(name, digest, kind, predicate)


def _subject(value: object) -> tuple[str, str]:
    one = value[0] if is_list(value) and len(value) == 1 else None
    if not is_object(one) or set(one) != {"name", "digest"}:
        raise BadSignature("the statement is not about one thing", fix=_FIX)
    name, digests = one["name"], one["digest"]
    digest = digests.get("sha256") if is_object(digests) and set(digests) == {"sha256"} else None
    if not isinstance(name, str) or not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise BadSignature("the thing that the statement is about has no sha256", fix=_FIX)
    return name, digest
