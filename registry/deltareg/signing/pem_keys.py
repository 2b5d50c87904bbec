"""Public keys of people and pipelines, in PEM, as OpenSSF model-signing names them.

A key is named by the sha256 of its PEM (`keyid`), which is the hint in a signature bundle.
securesystemslib and `cryptography` verify; there is no cryptography of our own.
"""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Self

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.signer import SSlibKey  # pyright: ignore[reportPrivateImportUsage]  # its door, unmarked

from deltareg.errors import InvalidInput

MOST_CHARACTERS = 10_000
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_LEAST_RSA_BITS = 2048
_FIX = "name its public half: openssl pkey -in KEY -pubout -out KEY.pub"


@dataclass(frozen=True)
class PemKey:
    """A public key.

    Attributes:
        pem: Its SubjectPublicKeyInfo in PEM, spelled as `cryptography` writes it.
    """

    pem: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a public key in PEM: on a NIST curve, Ed25519, or RSA of at least 2048 bits.

        Raises:
            InvalidInput: It is not such a key.
        """
        if "PRIVATE KEY" in text:
            raise InvalidInput("that is a private key, which stays where it is", fix=_FIX)
        try:
            key = load_pem_public_key(text[:MOST_CHARACTERS].encode())
        except (ValueError, UnsupportedAlgorithm, InternalError) as error:
            raise InvalidInput("no public key in PEM", fix=_FIX) from error
        return cls._of(key)

    @classmethod
    def of_certificate(cls, certificate: x509.Certificate) -> Self:
        """Return the key in a certificate.

        Raises:
            InvalidInput: It is of an unknown kind.
        """
        try:
            return cls._of(certificate.public_key())
        except (ValueError, UnsupportedAlgorithm, InternalError) as error:
            raise InvalidInput("the certificate has no key that is known here", fix=_FIX) from error

    @classmethod
    def _of(cls, key: object) -> Self:
        match key:
            case ec.EllipticCurvePublicKey() if key.curve.name in _CURVES:
                pass
            case rsa.RSAPublicKey() if key.key_size >= _LEAST_RSA_BITS:
                pass
            case ed25519.Ed25519PublicKey():
                pass
            case _:
                raise InvalidInput(
                    "a key of a kind that nothing is signed with here",
                    fix="take one on the curve P-256: deltareg signature key FILE",
                )
        return cls(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())

    @cached_property
    def keyid(self) -> str:
        """Its name: 64 hex digits."""
        return sha256(self.pem.encode()).hexdigest()

    @cached_property
    def verifier(self) -> SSlibKey:
        """The key as securesystemslib verifies with it."""
        return SSlibKey.from_crypto(load_pem_public_key(self.pem.encode()), keyid=self.keyid)

    @property
    def is_elliptic(self) -> bool:
        """Whether model-signing supports keys of this kind."""
        return self.verifier.keytype == "ecdsa"
