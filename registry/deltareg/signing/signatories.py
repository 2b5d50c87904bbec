"""Who signed a delta, by its signature, and whose signatures are required.

A signature is by a key, by the holder of an authority's certificate, or, keyless, by an identity
that an OpenID Connect issuer vouched for. A requirement names one of the three.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.errors import InvalidInput

_HEX = re.compile(r"[0-9a-f]{64}")
_SHOWN = 12
_EXAMPLE = "write {key: KEYID}, {ca: FINGERPRINT, identity: NAME} or {issuer: URL, identity: NAME}"


@dataclass(frozen=True, slots=True)
class Signatory:
    """The signer of a document.

    Attributes:
        keyid: The key; empty if it was made for one signature.
        ca: The sha256 of the authority's certificate above the signer's; empty without one.
        issuer: The issuer that vouched for the identity; empty if none did.
        identity: The name in the certificate; empty without one.
    """

    keyid: str = ""
    ca: str = ""
    issuer: str = ""
    identity: str = ""

    @property
    def description(self) -> str:
        """The signer in words."""
        if self.issuer:
            return f"{self.identity}, by {self.issuer}"
        if self.ca:
            return f"{self.identity}, by authority {self.ca[:_SHOWN]}"
        return f"key {self.keyid[:_SHOWN]}"


@dataclass(frozen=True, slots=True)
class WantedSigner:
    """A required signer: a key, or an identity of an authority or an issuer.

    Attributes:
        key: A keyid.
        ca: The sha256 of an authority's certificate; any identity will do if none is named.
        issuer: An issuer of identities.
        identity: The name that the certificate must have.
    """

    key: str = ""
    ca: str = ""
    issuer: str = ""
    identity: str = ""

    @classmethod
    def of_fields(cls, fields: Mapping[str, object]) -> "WantedSigner":
        """Parse a required signer from a policy or a command line.

        Raises:
            InvalidInput: It names none of the three, or more than one.
        """
        texts = {name: value for name, value in fields.items() if isinstance(value, str) and value}
        if len(texts) != len(fields) or set(texts) - {"key", "ca", "issuer", "identity"}:
            raise InvalidInput("it has other fields than a signer has", fix=_EXAMPLE)
        signer = cls(**texts)
        if [bool(signer.key), bool(signer.ca), bool(signer.issuer)].count(True) != 1:
            raise InvalidInput("it names no signer, or more than one", fix=_EXAMPLE)
        if bool(signer.issuer) > bool(signer.identity) or (signer.key and signer.identity):
            raise InvalidInput("an issuer goes with an identity, and a key with none", fix=_EXAMPLE)
        for digest in (signer.key, signer.ca):
            if digest and not _HEX.fullmatch(digest):
                raise InvalidInput(
                    f"no key or fingerprint: {digest[:70]!r}",
                    fix="write 64 hex digits, as `deltareg signature key FILE` prints them",
                )
        return signer

    def fields(self) -> dict[str, str]:
        """Write it as `of_fields` reads it."""
        values = {"key": self.key, "ca": self.ca, "issuer": self.issuer, "identity": self.identity}
        return {name: value for name, value in values.items() if value}

    def is_met_by(self, signatory: Signatory) -> bool:
        """Whether a signer meets this requirement."""
        if self.key:
            return signatory.keyid == self.key
        is_named = signatory.identity == self.identity or not (self.identity or self.issuer)
        is_vouched = (self.ca, self.issuer) == (signatory.ca, signatory.issuer)
        return is_vouched and is_named

    @property
    def description(self) -> str:
        """The required signer in words."""
        if self.issuer:
            return f"{self.identity}, by {self.issuer}"
        if self.ca:
            return f"{self.identity or 'anybody'}, by authority {self.ca[:_SHOWN]}"
        return f"key {self.key[:_SHOWN]}"
