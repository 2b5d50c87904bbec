"""The wrapper of the library `sigstore`, for bundles signed without a long-lived key.

Only these need it, so it is an extra. No network is used if the trust configuration of the Sigstore
is a file.
"""

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ObjectIdentifier

from deltareg.errors import BadSignature, Misconfigured

INSTALL: Final = "pip install 'deltareg[sign]'"
_ISSUER = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
"""Fulcio's extension that names the issuer; what it holds is the text itself."""


def open_keyless(raw: bytes, leaf: x509.Certificate, *, identity: str, trust: Path) -> tuple[str, bytes]:
    """Return the issuer that vouched for an identity, and the signed payload.

    Raises:
        BadSignature: The signature is invalid.
        Misconfigured: The library is not installed, or the configuration is invalid.
    """
    try:
        from sigstore.errors import Error
        from sigstore.models import Bundle, ClientTrustConfig
        from sigstore.verify import Verifier
        from sigstore.verify.policy import Identity
    except ImportError as error:
        raise Misconfigured("what a Sigstore witnessed needs its library", fix=INSTALL) from error
    try:
        config = ClientTrustConfig.from_json(trust.read_text(encoding="utf-8"))
        verifier = Verifier(trusted_root=config.trusted_root)
    except (OSError, ValueError, Error) as error:
        raise Misconfigured(
            f"{trust} is no trust configuration of a Sigstore: {str(error)[:160]}",
            fix="get it from who runs that Sigstore; see docs/howto/sign-deltas.md",
        ) from error
    issuer = _issuer(leaf)
    try:
        bundle = Bundle.from_json(raw)
        _, payload = verifier.verify_dsse(bundle, Identity(identity=identity, issuer=issuer))
    except (Error, ValueError) as error:
        raise BadSignature(
            f"that Sigstore has not witnessed it: {str(error)[:160]}", fix="get it again; do not use what it is about"
        ) from error
    return issuer, payload


def _issuer(leaf: x509.Certificate) -> str:
    try:
        extension = leaf.extensions.get_extension_for_oid(_ISSUER).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise BadSignature("the certificate names no issuer", fix="sign it with a Sigstore again") from error
    raw = extension.value if isinstance(extension, x509.UnrecognizedExtension) else b""
    return raw.decode("utf-8", "replace")
