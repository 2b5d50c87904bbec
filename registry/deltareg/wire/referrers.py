"""Signatures and attestations of versions on the wire."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.messages import Answer, Reason, Request
from deltareg.words import ReferrerForm

MOST_CHARACTERS = 1 << 20


class ReferrerInfo(Answer):
    """A signature of a version's files, or an attestation about it, that holds.

    Who made it is named by a key (`keyid`), by an authority (`ca`, the sha256 of its certificate)
    and the name on the certificate that it gave (`identity`), or by an issuer of identities and an
    identity. `revoked` is why it does not count any more.
    """

    digest: str
    form: ReferrerForm
    predicate_type: str
    signed_by: str
    keyid: str = ""
    ca: str = ""
    issuer: str = ""
    identity: str = ""
    revoked: str = ""
    size_bytes: int
    created_at: str
    created_by: str


class ReferrerBody(ReferrerInfo):
    """The same as it was signed, with the public key that it holds for, if that came beside it."""

    ref: str
    body: str
    public: str = ""


class ReferrerAdd(Request):
    """A signature bundle of OpenSSF model-signing, or an in-toto attestation in an envelope.

    `public` is the public key that it holds for, in PEM, or the certificate of the authority where
    a bundle brings the signer's certificate and not that one.
    """

    form: ReferrerForm
    body: Annotated[str, Field(min_length=2, max_length=MOST_CHARACTERS)]
    public: Annotated[str, Field(max_length=10_000)] = ""


class SignerRevoke(Request):
    """Why nothing counts any more that a key, or an authority, has signed."""

    reason: Reason


class RevokedSigner(Answer):
    """A key, or the certificate of an authority, by its sha256: nothing counts that it signed."""

    keyid: str
    reason: str
    revoked_at: str
    revoked_by: str
