"""Ed25519 keys: signing pairs, and public keys as people write them and statements name them.

A key is named by its `keyid`, which securesystemslib computes over the public key. That library and
`cryptography` sign; there is no cryptography of our own.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from securesystemslib.signer import (
    CryptoSigner,  # pyright: ignore[reportPrivateImportUsage]  # its door, unmarked
    SSlibKey,  # pyright: ignore[reportPrivateImportUsage]
)

from deltareg.errors import InvalidInput

_TEXT = re.compile(r"ed25519:([0-9a-f]{64})")
_HOST = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_EXAMPLE = "ed25519: and 64 hex digits, as `deltareg-worker key` writes it"


@dataclass(frozen=True)
class PublicKey:
    """A public key.

    Attributes:
        raw: Its 32 bytes.
    """

    raw: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a key as it is written: `ed25519:` and 64 hex digits.

        Raises:
            InvalidInput: It is not such a key.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise InvalidInput(f"no public key: {text.strip()[:40]!r}", fix=f"write {_EXAMPLE}")
        return cls(bytes.fromhex(match[1]))

    def __str__(self) -> str:
        """Format it as `parse` reads it."""
        return f"ed25519:{self.raw.hex()}"

    @cached_property
    def verifier(self) -> SSlibKey:
        """The key as securesystemslib verifies with it."""
        return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(self.raw))

    @property
    def keyid(self) -> str:
        """Its name in statements and lists: 64 hex digits."""
        return self.verifier.keyid

    def pem(self) -> str:
        """Write it as people's keys are written: SubjectPublicKeyInfo in PEM."""
        key = Ed25519PublicKey.from_public_bytes(self.raw)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether a signature over bytes was made by the corresponding private key."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, data)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A key pair that signs; its representation shows only the public half."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = PublicKey(private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> Self:
        """Generate a new pair."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def of_seed(cls, seed: bytes) -> Self:
        """Derive the pair from 32 bytes, always the same; for tests and for keys stored elsewhere."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def of_pem(cls, pem: bytes) -> Self:
        """Read a pair from PKCS#8 in PEM, without a passphrase.

        Raises:
            InvalidInput: It is not a key, or one of another algorithm.
        """
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm, InternalError) as error:
            raise _no_key() from error
        if not isinstance(private, Ed25519PrivateKey):
            raise _no_key()
        return cls(private)

    def __repr__(self) -> str:
        """Show the public half."""
        return f"SigningKey({self.public})"

    @property
    def keyid(self) -> str:
        """Its name."""
        return self.public.keyid

    def sign(self, data: bytes) -> bytes:
        """Sign bytes; return the 64 bytes of the signature."""
        return self._private.sign(data)

    @cached_property
    def signer(self) -> CryptoSigner:
        """The key as securesystemslib signs with it."""
        return CryptoSigner(self._private)

    def pem(self) -> bytes:
        """Encode the pair as PKCS#8 in PEM; this is the secret."""
        return self.signer.private_bytes


@dataclass(frozen=True)
class KeyText:
    """A public key with its host, as people write it to enrol it.

    Attributes:
        key: The key.
        host: The machine that holds the private key; empty if unknown.
    """

    key: PublicKey
    host: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `ed25519:…`, or `ed25519:…@host`.

        Raises:
            InvalidInput: It has neither form.
        """
        key, _, host = text.strip().partition("@")
        return cls(PublicKey.parse(key), parse_host(host) if host else "")

    def __str__(self) -> str:
        """Format it as `parse` reads it."""
        return f"{self.key}@{self.host}" if self.host else str(self.key)


def parse_host(text: str) -> str:
    """Check the name of a host.

    Raises:
        InvalidInput: It is not a host name.
    """
    if not _HOST.fullmatch(text):
        raise InvalidInput(
            f"no name of a host: {text[:40]!r}", fix="write lower-case letters, digits, dots and hyphens, at most 64"
        )
    return text


def _no_key() -> InvalidInput:
    return InvalidInput("no Ed25519 key in PEM (PKCS#8, without a passphrase)", fix="make one anew")
