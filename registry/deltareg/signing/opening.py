"""Opening documents that others signed: by a key, a certificate chain, or through a Sigstore.

Opening a bundle returns the signed bytes and their signer; nothing else in it is trusted.
securesystemslib verifies signatures, `cryptography` verifies chains, and the library `sigstore`,
needed only for this, verifies bundles of a Sigstore.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store
from cryptography.x509.verification import VerificationError as ChainError
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Signature  # pyright: ignore[reportPrivateImportUsage]

from deltareg.errors import BadSignature, InvalidInput
from deltareg.signing.bundles import Bundle, SealedEnvelope
from deltareg.signing.keyless import open_keyless
from deltareg.signing.pem_keys import PemKey
from deltareg.signing.signatories import Signatory
from deltareg.signing.statement import PAYLOAD_TYPE

Authority = x509.Certificate
"""The certificate of an authority."""
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    InvalidSignature,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
_AGAIN = "get it again; do not use what it is about"
_OTHER = "name the public key of who signed it: --key FILE"
_CHAIN = (
    "sign with the whole chain, up to the authority's own certificate: --certificate-chain; or name"
    " that beside the bundle: deltareg signature add REF FILE --key CA"
)


@dataclass(frozen=True, slots=True)
class OpenedBundle:
    """The signed bytes and their signer.

    Attributes:
        payload: The bytes that were signed, an in-toto statement as JSON.
        signatory: The signer.
    """

    payload: bytes
    signatory: Signatory


@dataclass(frozen=True, slots=True)
class VerificationMaterial:
    """Material that came with a signed document, to verify it with; it is not trusted by itself.

    Attributes:
        pem: The material, as stored.
        key: A public key.
        authorities: The certificate of an authority.
    """

    pem: str = ""
    key: PemKey | None = None
    authorities: tuple[Authority, ...] = ()


def read_beside(pem: str) -> VerificationMaterial:
    """Read a public key or an authority's certificate in PEM; an empty text has neither.

    Raises:
        InvalidInput: It is neither, or it is a private key.
    """
    if not pem:
        return VerificationMaterial()
    if "PRIVATE KEY" in pem or "CERTIFICATE" not in pem:
        key = PemKey.parse(pem)
        return VerificationMaterial(key.pem, key)
    authorities = load_authorities(pem.encode("utf-8", "replace"))
    if len(authorities) != 1:
        raise InvalidInput(f"there are {len(authorities)} certificates", fix="name one authority")
    return VerificationMaterial(authorities[0].public_bytes(Encoding.PEM).decode(), authorities=tuple(authorities))


def open_sealed(sealed: SealedEnvelope, key: PemKey) -> bytes:
    """Return the statement in an envelope that a key signed.

    Raises:
        BadSignature: The key did not sign it, or it is not an in-toto statement.
    """
    if sealed.payload_type != PAYLOAD_TYPE:
        raise BadSignature(f"it was signed as {sealed.payload_type[:80]!r}", fix=_AGAIN)
    signature = Signature(key.keyid, sealed.signature.hex())
    envelope = Envelope(sealed.payload, sealed.payload_type, {key.keyid: signature})
    try:
        envelope.verify([key.verifier], 1)
    except (VerificationError, ValueError) as error:
        raise BadSignature(f"key {key.keyid[:12]} has not signed these bytes", fix=_AGAIN) from error
    return envelope.payload


def open_by_key(bundle: Bundle, key: PemKey) -> OpenedBundle:
    """Open a bundle that a key signed.

    Raises:
        BadSignature: It names another key, or this one did not sign it.
    """
    if bundle.hint != key.keyid:
        signer = f"key {bundle.hint[:12]}" if bundle.hint else "the holder of a certificate"
        raise BadSignature(f"{signer} is said to have signed it, not {key.keyid[:12]}", fix=_OTHER)
    if not key.is_elliptic:
        raise BadSignature("a bundle is signed with a key on a curve of NIST", fix=_OTHER)
    return OpenedBundle(open_sealed(bundle.sealed, key), Signatory(keyid=key.keyid))


def open_by_chain(bundle: Bundle, *, at: datetime | None, roots: Sequence[x509.Certificate] = ()) -> OpenedBundle:
    """Open a bundle whose signer's certificate leads up to an authority.

    Args:
        bundle: The bundle.
        at: When the certificates must be valid; None for the issue of the signer's, since such a
            bundle does not record when it was made.
        roots: The trusted authorities; without any the last of the chain is taken, and
            `signatory.ca` names it.

    Raises:
        BadSignature: The chain is invalid, or its first certificate did not sign.
    """
    try:
        key, signatory = _held_up(_load(bundle.chain), at=at, roots=roots)
    except ChainError as error:
        raise BadSignature(
            f"the certificate does not lead up to its authority: {str(error)[:160]}", fix=_CHAIN
        ) from error
    except _UNREADABLE as error:
        raise _unreadable() from error  # what is in a certificate is read when it is asked for
    return OpenedBundle(open_sealed(bundle.sealed, key), signatory)


def open_by_sigstore(raw: bytes, bundle: Bundle, trust: Path) -> OpenedBundle:
    """Open a bundle that a Sigstore witnessed.

    Args:
        raw: The bundle as received.
        bundle: The same, parsed.
        trust: The trust configuration of that Sigstore.

    Raises:
        BadSignature: The signature is invalid.
        Misconfigured: The library is not installed, or the configuration is invalid.
    """
    (leaf,) = _load(bundle.chain)
    identity = identity_of(leaf)
    issuer, payload = open_keyless(raw, leaf, identity=identity, trust=trust)
    if payload != bundle.sealed.payload:
        raise BadSignature("the bundle can be read in two ways", fix=_AGAIN)
    return OpenedBundle(payload, Signatory(issuer=issuer, identity=identity))


def load_authorities(pem: bytes) -> list[x509.Certificate]:
    """Read certificates in PEM.

    Raises:
        InvalidInput: There are no certificates.
    """
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise InvalidInput("no certificates in PEM", fix="name a file of certificates") from error


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the sha256 of a certificate: 64 hex digits."""
    return certificate.fingerprint(SHA256()).hex()


def identity_of(certificate: x509.Certificate) -> str:
    """Return the name in a certificate: its one alternative name, else its common name.

    Raises:
        BadSignature: It has no name, or several.
    """
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = [str(name.value) for name in extension.value]
    except x509.ExtensionNotFound:
        attributes = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        names = [str(name.value) for name in attributes]
    except _UNREADABLE as error:
        raise _unreadable() from error
    if len(names) != 1 or not names[0].isprintable() or not 0 < len(names[0]) <= 256:
        raise BadSignature("the certificate does not name one signer", fix=_CHAIN)
    return names[0]


def _held_up(
    chain: Sequence[x509.Certificate], *, at: datetime | None, roots: Sequence[x509.Certificate]
) -> tuple[PemKey, Signatory]:
    leaf, *above = chain
    trusted = list(roots) or [_own_root(chain)]
    builder = PolicyBuilder().store(Store(trusted)).time(at or leaf.not_valid_before_utc)
    policies = ExtensionPolicy.webpki_defaults_ca(), ExtensionPolicy.permit_all()
    builder = builder.extension_policies(ca_policy=policies[0], ee_policy=policies[1])
    verified = builder.build_client_verifier().verify(leaf, above)
    _check_signs(leaf)
    try:
        key = PemKey.of_certificate(leaf)
    except InvalidInput as error:
        raise BadSignature(error.message, fix=_AGAIN) from error
    ca = fingerprint(verified.chain[-1])
    return key, Signatory(keyid=key.keyid, ca=ca, identity=identity_of(leaf))


def _load(chain: Sequence[bytes]) -> list[x509.Certificate]:
    try:
        certificates = [x509.load_der_x509_certificate(raw) for raw in chain]
        for raw, each in zip(chain, certificates, strict=True):
            # Its end is the signature, in whole bytes: else a certificate had two spellings.
            if each.serial_number <= 0 or not raw.endswith(b"\0" + each.signature):
                raise _unreadable()
    except _UNREADABLE as error:
        raise _unreadable() from error
    return certificates


def _own_root(chain: Sequence[x509.Certificate]) -> x509.Certificate:
    last = chain[-1]
    if len(chain) < 2 or last.issuer != last.subject:
        raise BadSignature("its chain ends before the authority's own certificate", fix=_CHAIN)
    last.verify_directly_issued_by(last)
    return last


def _unreadable() -> BadSignature:
    return BadSignature("a certificate of the bundle cannot be read", fix=_AGAIN)


def _check_signs(leaf: x509.Certificate) -> None:
    """Refuse a certificate that is not meant for signing, as model-signing does."""
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
        if usage.value.digital_signature:
            return
    except x509.ExtensionNotFound:
        pass
    try:
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        if ExtendedKeyUsageOID.CODE_SIGNING in purposes.value:
            return
    except x509.ExtensionNotFound:
        pass
    raise BadSignature("the certificate is not for signing", fix=_CHAIN)
