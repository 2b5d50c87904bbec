"""DSSE envelopes: typed bytes with one signature, sealed and opened with securesystemslib.

Opening one returns the signed bytes and nothing else: no field of an envelope is trusted, and
ambiguous envelopes are refused. The format is https://github.com/secure-systems-lab/dsse.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Signature  # pyright: ignore[reportPrivateImportUsage]  # its door

from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import BadSignature, Refused
from deltareg.signing.keys import PublicKey, SigningKey
from deltareg.tensors.header import strict_json_object

MOST_BYTES = 4 << 20
_FIELDS = {"payload", "payloadType", "signatures"}
_KEYID_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class OpenedEnvelope:
    """The content of an envelope with a valid signature.

    Attributes:
        payload: The bytes that were signed.
        keyid: The key that signed them.
    """

    payload: bytes
    keyid: str


def seal(payload: bytes, key: SigningKey, *, payload_type: str) -> bytes:
    """Sign bytes as a payload type; return the envelope as JSON on one line."""
    envelope = Envelope(payload, payload_type, {})
    signature = envelope.sign(key.signer)
    document = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [
            {"keyid": signature.keyid, "sig": base64.b64encode(bytes.fromhex(signature.signature)).decode()}
        ],
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def signer_of(raw: bytes) -> str:
    """Return the key that an envelope names, unverified: it only shows which key to try.

    Raises:
        BadSignature: It is not an envelope with one signature.
    """
    return _read(raw)[1].keyid


def open_envelope(raw: bytes, keys: Mapping[str, PublicKey], *, payload_type: str) -> OpenedEnvelope:
    """Return the bytes that one of the keys signed as a payload type.

    Args:
        raw: The envelope.
        keys: The trusted keys, by keyid.
        payload_type: The type that it must have been signed as.

    Raises:
        BadSignature: It is malformed, of another type, signed by another key, or the signature is
            invalid.
    """
    envelope, signature = _read(raw)
    if envelope.payload_type != payload_type:
        raise BadSignature(f"the envelope is of type {envelope.payload_type[:80]!r}", fix=_WHICH)
    key = keys.get(signature.keyid)
    if key is None:
        raise BadSignature(
            f"nobody who is trusted has the key {signature.keyid[:12]} that signed the envelope",
            fix="deltareg worker keys",
        )
    try:
        envelope.verify([key.verifier], 1)
    except (VerificationError, ValueError) as error:
        raise BadSignature(
            f"the signature of key {signature.keyid[:12]} does not hold for these bytes", fix=_AGAIN
        ) from error
    return OpenedEnvelope(envelope.payload, signature.keyid)


_AGAIN = "get the envelope again; do not use what it is about"
_WHICH = "an envelope of this project holds an in-toto statement"


def _read(raw: bytes) -> tuple[Envelope, Signature]:
    if len(raw) > MOST_BYTES:
        raise BadSignature(f"an envelope of {len(raw)} bytes", fix=_WHICH)
    try:
        fields = strict_json_object(raw.strip())
    except Refused as error:
        raise BadSignature(f"no envelope: {error.message}", fix=_WHICH) from error
    payload, kind = fields.get("payload"), fields.get("payloadType")
    if set(fields) != _FIELDS or not isinstance(payload, str) or not isinstance(kind, str):
        raise BadSignature("no envelope: it has other fields than one has", fix=_WHICH)
    signature = _signature(fields["signatures"])
    return Envelope(decode_base64(payload), kind, {signature.keyid: signature}), signature


def _signature(value: object) -> Signature:
    # One and no more: a second one could not be told from one that was put there by anybody.
    one = value[0] if is_list(value) and len(value) == 1 else None
    if not is_object(one) or set(one) != {"keyid", "sig"}:
        raise BadSignature("an envelope has one signature, with keyid and sig", fix=_WHICH)
    keyid, signature = one["keyid"], one["sig"]
    if not isinstance(keyid, str) or not isinstance(signature, str):
        raise BadSignature("keyid and sig are texts", fix=_WHICH)
    if len(keyid) != _KEYID_CHARACTERS:
        raise BadSignature("a keyid has 64 characters", fix=_WHICH)
    return Signature(keyid, decode_base64(signature).hex())


def decode_base64(text: str) -> bytes:
    """Decode base64 in its canonical spelling: standard letters, padded, nothing around it.

    Raises:
        BadSignature: It is not base64, or has another spelling.
    """
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadSignature("the envelope is not in base64", fix=_WHICH) from error
    if base64.b64encode(decoded).decode() != text:
        raise BadSignature("the envelope's base64 has another spelling", fix=_WHICH)
    return decoded
