"""Encryption to age keys (https://age-encryption.org/v1), by the library pyrage, which is optional.

Whoever writes needs the public half alone; the private half stays with who may read.
"""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from io import BufferedIOBase
from pathlib import Path
from types import ModuleType
from uuid import UUID

from deltareg.errors import BadSignature, InvalidInput, Misconfigured
from deltareg.signing.key_file import read_private

_IN_MEMORY = 16 << 20
_STEP = 1 << 20
_ZEROS = 4  # how a mark begins, so that none is taken for a name that was drawn
_PLAIN = UUID("00000000-0000-4000-8000-000000000000")


@dataclass(frozen=True)
class AgeKeys:
    """Whom bytes are encrypted to, and what opens them; with neither, bytes stay as they are.

    Attributes:
        recipients: Public keys, `age1…`.
        identities: Private keys, `AGE-SECRET-KEY-1…`.
    """

    recipients: tuple[str, ...] = ()
    identities: tuple[str, ...] = field(default=(), repr=False)

    @property
    def mark(self) -> UUID:
        """Tells objects of these recipients from those of others, and from those that anybody reads."""
        if not self.recipients:
            return _PLAIN
        hashed = hashlib.sha256("\n".join(sorted(self.recipients)).encode()).digest()
        return UUID(bytes=bytes(_ZEROS) + hashed[_ZEROS:16], version=4)

    def encrypt(self, body: Iterable[bytes]) -> Iterator[bytes]:
        """Give bytes as they are to lie; only what is larger than 16 MiB takes room on the disk meanwhile."""
        if not self.recipients:
            yield from body
            return
        age = load_age()
        recipients = [_recipient(age, one) for one in self.recipients]
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
            with _Reader(iter(body)) as reader:
                age.encrypt_io(reader, file, recipients)
            file.seek(0)
            while step := file.read(_STEP):
                yield step

    def decrypt(self, body: Iterable[bytes], *, is_encrypted: bool) -> Iterator[bytes]:
        """Give bytes as they were.

        Raises:
            InvalidInput: They are encrypted, and no private key was named.
            BadSignature: None of the keys opens them, or they are not what was encrypted.
        """
        if not is_encrypted:
            yield from body
            return
        if not self.identities:
            raise InvalidInput("it is encrypted", fix="name the file of the private key: --identity FILE")
        age = load_age()
        identities = [age.x25519.Identity.from_str(one) for one in self.identities]
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
            try:
                with _Reader(iter(body)) as reader:
                    age.decrypt_io(reader, file, identities)
            except (age.DecryptError, OSError) as error:
                if isinstance(error, OSError) and error.errno is not None:  # of the disk, and not of the bytes
                    raise
                raise BadSignature(
                    f"it cannot be decrypted: {error}", fix="name the private key of a recipient: --identity FILE"
                ) from error
            file.seek(0)
            while step := file.read(_STEP):
                yield step


def is_mark(attempt: UUID) -> bool:
    """Whether the last part of an object's name is a mark, and no name that was drawn."""
    return not any(attempt.bytes[:_ZEROS])


def load_age() -> ModuleType:
    """Load the library.

    Raises:
        Misconfigured: It is not installed.
    """
    try:
        return import_module("pyrage")
    except ImportError as error:
        raise Misconfigured(
            "encryption needs pyrage, which is not installed", fix="pip install 'deltareg[backup]'"
        ) from error


def read_identities(path: Path) -> tuple[str, ...]:
    """Read private keys from a file as `age-keygen` writes it; others must not be able to read it.

    Raises:
        InvalidInput: There is no such file, or no key in it.
        Misconfigured: Others can read it, or pyrage is not installed.
    """
    try:
        lines = read_private(path).decode("utf-8", "replace").splitlines()
    except FileNotFoundError as error:
        raise InvalidInput(f"there is no file {path}", fix="age-keygen -o FILE writes one") from error
    found = tuple(line.strip() for line in lines if line.strip().startswith("AGE-SECRET-KEY-"))
    age = load_age()
    try:
        for one in found:
            age.x25519.Identity.from_str(one)
    except age.IdentityError as error:
        raise InvalidInput(f"{path}: a key in it is broken", fix="age-keygen -o FILE writes one") from error
    if not found:
        raise InvalidInput(f"{path} holds no age key", fix="age-keygen -o FILE writes one")
    return found


def check_recipients(recipients: Iterable[str]) -> tuple[str, ...]:
    """Refuse what is no public key.

    Raises:
        InvalidInput: One is not.
        Misconfigured: pyrage is not installed.
    """
    given = tuple(recipients)
    if given:
        age = load_age()
        for one in given:
            _recipient(age, one)
    return given


def _recipient(age: ModuleType, text: str) -> object:
    try:
        return age.x25519.Recipient.from_str(text)
    except (age.RecipientError, UnicodeEncodeError) as error:
        raise InvalidInput(f"no age recipient: {text[:80]!r}", fix="age-keygen prints it: age1…") from error


class _Reader(BufferedIOBase):
    """A stream of bytes as a file that is read once; what the stream raises leaves the block as it is."""

    def __init__(self, body: Iterator[bytes]) -> None:
        self._body, self._rest = body, b""
        self._error: Exception | None = None

    def __exit__(self, *_: object) -> None:
        """Raise what the stream raised, in place of what the library made of it."""
        if self._error is not None:
            raise self._error

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Read so many bytes at most; all that are left if negative."""
        wanted = None if size is None or size < 0 else size
        try:
            while wanted is None or not self._rest:
                self._rest += next(self._body)
        except StopIteration:
            pass
        except Exception as error:
            self._error = error
            raise
        taken = self._rest[:wanted]
        self._rest = self._rest[len(taken) :]
        return taken
