"""Signature bundles in Sigstore's format, as OpenSSF model-signing writes them, read strictly.

A bundle is a DSSE envelope with verification material: the name of a key, a chain of certificates,
or the entries of a Sigstore. The format is https://docs.sigstore.dev/about/bundle/, version 0.3.
Anything ambiguous is refused.
"""

from dataclasses import dataclass
from typing import Never

from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import BadSignature, Refused
from deltareg.signing.envelopes import decode_base64
from deltareg.tensors.header import strict_json_object

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MOST_BYTES = 1 << 20
_MOST_CERTIFICATES = 8
_MOST_KEYID = 256
_FIELDS = {"mediaType", "verificationMaterial", "dsseEnvelope"}
_WAYS = {"publicKey", "x509CertificateChain", "certificate"}
_BESIDE = {"tlogEntries", "timestampVerificationData"}
_FIX = "sign it again: deltareg push PATH NS/NAME --sign KEY"


@dataclass(frozen=True, slots=True)
class SealedEnvelope:
    """An unverified DSSE envelope with one signature.

    Attributes:
        payload: The bytes claimed to be signed.
        payload_type: Their claimed type.
        signature: The signature.
    """

    payload: bytes
    payload_type: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Bundle:
    """An unverified bundle.

    Attributes:
        sealed: The envelope.
        hint: The keyid of the claimed signing key; empty for other kinds of signature.
        chain: Certificates in DER, the signer's first; empty for a key.
        is_keyless: Whether a Sigstore witnessed it, so that only the library `sigstore` can verify
            it.
    """

    sealed: SealedEnvelope
    hint: str = ""
    chain: tuple[bytes, ...] = ()
    is_keyless: bool = False


def read_bundle(raw: bytes) -> Bundle:
    """Read a bundle without verifying it.

    Raises:
        BadSignature: It is not a bundle, or an ambiguous one.
    """
    fields = _object(raw)
    if set(fields) != _FIELDS or fields["mediaType"] != MEDIA_TYPE:
        _refuse("it is no bundle of version 0.3")
    material = fields["verificationMaterial"]
    if not is_object(material) or len(_WAYS & set(material)) != 1 or set(material) - _WAYS - _BESIDE:
        _refuse("it does not say in one way how it is verified")
    sealed = _read_envelope(fields["dsseEnvelope"])
    if "certificate" in material:
        return Bundle(sealed, chain=(_certificate(material["certificate"]),), is_keyless=True)
    if any(material.get(name) for name in _BESIDE):
        _refuse("it has witnesses, and a key needs none")
    if "publicKey" in material:
        return Bundle(sealed, hint=_hint(material["publicKey"]))
    return Bundle(sealed, chain=_chain(material["x509CertificateChain"]))


def read_sealed(raw: bytes) -> SealedEnvelope:
    """Read a bare DSSE envelope without verifying it.

    Raises:
        BadSignature: It is not an envelope with one signature.
    """
    return _read_envelope(_object(raw))


def is_bundle(raw: bytes) -> bool:
    """Whether a signed document is a bundle and not a bare envelope."""
    return "mediaType" in _object(raw)


def _object(raw: bytes) -> dict[str, object]:
    if len(raw) > MOST_BYTES:
        _refuse(f"it has {len(raw)} bytes, and {MOST_BYTES} are the most")
    try:
        return strict_json_object(raw.strip())
    except Refused as error:
        raise BadSignature(f"no signature bundle: {error.message}", fix=_FIX) from error


def _read_envelope(value: object) -> SealedEnvelope:
    if not is_object(value) or set(value) != {"payload", "payloadType", "signatures"}:
        _refuse("its envelope has other fields than one has")
    payload, kind, signatures = value["payload"], value["payloadType"], value["signatures"]
    one = signatures[0] if is_list(signatures) and len(signatures) == 1 else None
    if not is_object(one) or "sig" not in one or set(one) - {"sig", "keyid"}:
        _refuse("its envelope has not one signature")
    signature, keyid = one["sig"], one.get("keyid") or ""  # model-signing 1.0 writes null
    if not isinstance(payload, str) or not isinstance(kind, str) or not isinstance(signature, str):
        _refuse("its envelope is not text")
    if not isinstance(keyid, str) or len(keyid) > _MOST_KEYID:
        _refuse("its envelope names no key")
    return SealedEnvelope(decode_base64(payload), kind, decode_base64(signature))


def _hint(value: object) -> str:
    hint = value.get("hint") if is_object(value) and set(value) == {"hint"} else None
    if not isinstance(hint, str) or not hint:
        _refuse("it does not name the key that signed it")
    return hint


def _chain(value: object) -> tuple[bytes, ...]:
    items = value.get("certificates") if is_object(value) and len(value) == 1 else None
    if not is_list(items) or not 0 < len(items) <= _MOST_CERTIFICATES:
        _refuse(f"it has no chain of at most {_MOST_CERTIFICATES} certificates")
    return tuple(_certificate(item) for item in items)


def _certificate(value: object) -> bytes:
    raw = value.get("rawBytes") if is_object(value) and set(value) == {"rawBytes"} else None
    if not isinstance(raw, str):
        _refuse("it has a certificate that is none")
    return decode_base64(raw)


def _refuse(message: str) -> Never:
    raise BadSignature(f"no signature bundle: {message}", fix=_FIX)
