"""A key pair in a file of its owner, mode 0600; an existing file is never overwritten."""

import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path

from deltareg.errors import InvalidInput, Misconfigured
from deltareg.signing.keys import SigningKey

_MOST_BYTES = 10_000


def read_key(path: Path) -> SigningKey:
    """Read a key pair.

    Raises:
        FileNotFoundError: There is no such file.
        Misconfigured: Other users can read it, or it is not a key.
    """
    pem = read_private(path)
    try:
        return SigningKey.of_pem(pem)
    except InvalidInput as error:
        raise Misconfigured(f"{path}: {error.message}", fix="name another file") from error


def read_private(path: Path) -> bytes:
    """Read a secret of this user.

    Raises:
        FileNotFoundError: There is no such file.
        Misconfigured: Other users can read it.
    """
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if os.name == "posix" and mode & 0o077:
            raise Misconfigured(
                f"others can read the key in {path} (mode {mode:03o})",
                fix=f"chmod 600 {path}, and make a new key if others use this machine",
            )
        return file.read(_MOST_BYTES)


def read_or_make_key(path: Path) -> tuple[SigningKey, bool]:
    """Read a key pair, or create it if there is none; return whether it was created.

    If several processes create one at the same time, all get the one that was stored.

    Raises:
        Misconfigured: Other users can read it, it is not a key, or it cannot be written.
    """
    try:
        return read_key(path), False
    except FileNotFoundError:
        pass
    key = SigningKey.generate()
    try:
        is_kept = write_key(path, key)
        return (key, True) if is_kept else (read_key(path), False)
    except OSError as error:
        raise Misconfigured(
            f"cannot keep a key in {path}: {error.strerror}", fix="name a file that can be written"
        ) from error


def write_key(path: Path, key: SigningKey) -> bool:
    """Write a key pair to a new file; return False and leave the file alone if it exists."""
    return write_new(path, key.pem())


def write_new(path: Path, pem: bytes) -> bool:
    """Write a secret to a new file, mode 0600; return False and leave the file alone if it exists."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    try:
        with suppress(FileExistsError):
            path.hardlink_to(draft)
            return True
        return False
    finally:
        draft.unlink()
