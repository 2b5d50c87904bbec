"""What is accepted as signed about a version: parsed, verified, and checked against its manifest.

Trust is not decided here. That a key signed is a fact; whose key it is and whether that is enough
is decided by the policy of a channel and by whoever pulls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deltareg.errors import BadSignature, InvalidInput
from deltareg.identity.manifest import Manifest
from deltareg.signing.attested import check_about, read_attested
from deltareg.signing.bundles import Bundle, is_bundle, read_bundle, read_sealed
from deltareg.signing.opening import (
    Authority,
    OpenedBundle,
    VerificationMaterial,
    open_by_chain,
    open_by_key,
    open_by_sigstore,
    open_sealed,
    read_beside,
)
from deltareg.signing.signatories import Signatory
from deltareg.signing.signed_files import PREDICATE, check_files, read_signed_files
from deltareg.words import ReferrerForm

_NO_SIGSTORE = (
    "set DELTAREG_SIGSTORE_TRUST to the trust configuration of the Sigstore that you trust, or"
    " sign with a key: deltareg push PATH NS/NAME --sign KEY"
)


@dataclass(frozen=True, slots=True)
class VerifiedReferrer:
    """The result of verifying something that was signed.

    Attributes:
        signatory: Who signed it.
        predicate_type: The type of its statement.
        public: The public key that verifies it, if it does not contain its own.
    """

    signatory: Signatory
    predicate_type: str
    public: str


def take_signed(
    form: ReferrerForm, raw: bytes, public: str, manifest: Manifest, *, at: datetime, trust: Path | None
) -> VerifiedReferrer:
    """Verify a signature of a version's files, or an attestation about it.

    Args:
        form: Which of the two it is.
        raw: Its bytes, as received.
        public: The public key in PEM, or the authority's certificate that a chain lacks; empty
            where the bundle contains everything.
        manifest: The manifest of the version.
        at: The current time, at which certificates must be valid.
        trust: The trust configuration of the accepted Sigstore; None for none.

    Raises:
        BadSignature: The signature is invalid, or is about something else.
        InvalidInput: A key is missing or malformed, or a Sigstore is needed and none is configured.
    """
    beside = read_beside(public)
    opened = _open(raw, beside, at=at, trust=trust)
    files = {file.path: file.digest.hex for file in manifest.files}
    if form == "signature":
        if not is_bundle(raw):
            raise BadSignature("a signature comes in a bundle", fix="deltareg signature add --help")
        check_files(read_signed_files(opened.payload), files, what="the version")
        return VerifiedReferrer(opened.signatory, PREDICATE, beside.pem)
    attested = read_attested(opened.payload)
    weights = [file.path for file in manifest.files if file.is_tensors]
    check_about(attested, manifest.digest.hex, files, weights=weights)
    return VerifiedReferrer(opened.signatory, attested.predicate_type, beside.pem)


def _open(raw: bytes, beside: VerificationMaterial, *, at: datetime, trust: Path | None) -> OpenedBundle:
    key = beside.key
    if not is_bundle(raw):
        if key is None:
            raise _no_key()
        return OpenedBundle(open_sealed(read_sealed(raw), key), Signatory(keyid=key.keyid))
    bundle = read_bundle(raw)
    if bundle.hint:
        if key is None:
            raise _no_key()
        return open_by_key(bundle, key)
    if key is not None:
        raise InvalidInput("it brings its own certificates", fix="leave --key out")
    return _open_certified(raw, bundle, beside.authorities, at=at, trust=trust)


def _open_certified(
    raw: bytes, bundle: Bundle, authorities: Sequence[Authority], *, at: datetime, trust: Path | None
) -> OpenedBundle:
    if not bundle.is_keyless:
        return open_by_chain(bundle, at=at, roots=authorities)
    if trust is None:
        raise InvalidInput("this registry trusts no Sigstore", fix=_NO_SIGSTORE)
    return open_by_sigstore(raw, bundle, trust)


def _no_key() -> InvalidInput:
    return InvalidInput("what a key signed is verified with its public half", fix="name it: --key KEY.pub")
