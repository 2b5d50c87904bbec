"""Secrets that have to be read again, sealed under a key that is stored apart from them.

AES-256-GCM (NIST SP 800-38D) with a nonce of 96 random bits; the purpose of a secret is
authenticated with it, so that one cannot replace another. A box may have several keys, while one takes
the place of another: the first seals, each of them opens.
"""

import base64
import hashlib
import os
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from deltareg.errors import Misconfigured
from deltareg.signing.key_file import read_private, write_new

_KEY_BYTES, _NONCE_BYTES, _NAME_BYTES = 32, 12, 4


class SecretBox:
    """Seals and opens secrets; its representation shows only the name of its key."""

    def __init__(self, key: bytes, *more: bytes) -> None:
        """Use keys of 32 bytes each; the first seals."""
        self._ciphers = {_name(each): AESGCM(each) for each in (key, *more)}
        self._name = _name(key)

    @classmethod
    def generate(cls) -> tuple[Self, bytes]:
        """Create a box with a new key; return it and the text that stores the key."""
        key = AESGCM.generate_key(8 * _KEY_BYTES)
        return cls(key), base64.b64encode(key) + b"\n"

    @classmethod
    def of_text(cls, text: bytes) -> Self:
        """Read the text that stores keys, one a line.

        Raises:
            ValueError: There is none, or a line is not a key.
        """
        try:
            keys = [base64.b64decode(line.strip(), validate=True) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise ValueError("no base64") from error
        if not keys or any(len(key) != _KEY_BYTES for key in keys):
            raise ValueError("another length")
        return cls(*keys)

    def __repr__(self) -> str:
        """Show the name of the key."""
        return f"SecretBox({self.name})"

    @property
    def name(self) -> str:
        """The name of the key: 8 hex digits."""
        return self._name.hex()

    def seal(self, secret: str, about: str) -> bytes:
        """Seal a secret for a purpose."""
        nonce = os.urandom(_NONCE_BYTES)
        return self._name + nonce + self._ciphers[self._name].encrypt(nonce, secret.encode(), about.encode())

    def is_under_first(self, sealed: bytes) -> bool:
        """Whether bytes are sealed under the key that seals now."""
        return sealed[:_NAME_BYTES] == self._name

    def open(self, sealed: bytes, about: str) -> str:
        """Open a secret that was sealed for the same purpose.

        Raises:
            Misconfigured: It was sealed under another key, or for another purpose.
        """
        name, rest = sealed[:_NAME_BYTES], sealed[_NAME_BYTES:]
        try:
            opened = self._ciphers[name].decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], about.encode())
        except (InvalidTag, KeyError, ValueError) as error:
            raise Misconfigured(
                f"sealed under the key {name.hex()}, and this server has {self.name}",
                fix="let DELTAREG_WEBHOOK_KEY name the same key on all servers, or rotate",
            ) from error
        return opened.decode()


def _name(key: bytes) -> bytes:
    return hashlib.sha256(b"deltareg secret box" + key).digest()[:_NAME_BYTES]


def read_or_make_box(path: Path) -> SecretBox:
    """Read the key in a file, or create it if there is none; concurrent callers get the same key.

    Raises:
        Misconfigured: Other users can read it, it is not a key, or it cannot be written.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    box, text = SecretBox.generate()
    try:
        return box if write_new(path, text) else _read(path)
    except OSError as error:
        raise Misconfigured(
            f"cannot keep a key in {path}: {error.strerror}", fix="name a file that can be written"
        ) from error


def _read(path: Path) -> SecretBox:
    try:
        return SecretBox.of_text(read_private(path))
    except ValueError as error:
        raise Misconfigured(
            f"{path} holds no key of 32 bytes in base64, one a line",
            fix=f"restore it from a backup, or: openssl rand -base64 32 > {path}",
        ) from error
