"""Signed notes: a text with signatures below it, the format of log checkpoints.

The format is https://github.com/C2SP/C2SP/blob/main/signed-note.md, with Ed25519. Signatures by
unknown keys are ignored, as the format requires: they may belong to witnesses.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from deltareg.errors import BadSignature
from deltareg.signing.keys import PublicKey, SigningKey

_ED25519 = b"\x01"
_HASH_BYTES, _MOST_BYTES, _MOST_SIGNATURES = 4, 1 << 20, 16
_LINE = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]")
_FIX = "get it again from where it was made; what it signs is not to be relied on"


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A note with a valid signature.

    Attributes:
        text: The signed text, with its last newline.
        key: The key that signed it.
    """

    text: str
    key: PublicKey


def sign_note(text: str, key: SigningKey, *, name: str) -> str:
    """Sign a text of whole lines under a name; return the note.

    Args:
        text: The text to sign; it ends with a newline.
        key: The key.
        name: The name of the signer: no space and no plus sign.
    """
    signature = key_hash(name, key.public) + key.sign(text.encode())
    return f"{text}\n\u2014 {name} {base64.b64encode(signature).decode()}\n"


def open_note(note: str, keys: Iterable[PublicKey], *, name: str) -> OpenedNote:
    """Return the text that one of the keys signed under a name.

    Raises:
        BadSignature: None did, the signature is invalid, or it is not a note.
    """
    text, lines = _parts(note)
    keys_by_hash = {key_hash(name, key): key for key in keys}
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            raise BadSignature("it is no signed note: a line below it is no signature", fix=_FIX)
        signature = _decode_base64(match[2])
        key = keys_by_hash.get(signature[:_HASH_BYTES]) if match[1] == name else None
        if key is not None:
            if not key.verifies(signature[_HASH_BYTES:], text.encode()):
                raise BadSignature(f"the signature below the note of {name} is wrong", fix=_FIX)
            return OpenedNote(text, key)
    raise BadSignature(
        f"no key that is trusted here signed the note of {name[:80]}",
        fix="deltareg worker keys; if the server has a new key: deltareg worker keys --pin",
    )


def key_hash(name: str, key: PublicKey) -> bytes:
    """Return the four bytes by which a note names a key."""
    return sha256(name.encode() + b"\n" + _ED25519 + key.raw).digest()[:_HASH_BYTES]


def _parts(note: str) -> tuple[str, list[str]]:
    text, blank, below = note.rpartition("\n\n")
    if not blank or not below.endswith("\n") or len(note) > _MOST_BYTES or _CONTROL.search(note):
        raise BadSignature("it is no signed note", fix=_FIX)
    lines = below[:-1].split("\n")
    if len(lines) > _MOST_SIGNATURES:
        raise BadSignature(f"a note with {len(lines)} signatures", fix=_FIX)
    return f"{text}\n", lines


def _decode_base64(text: str) -> bytes:
    """Decode base64 in its canonical spelling."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadSignature("a signature below the note is not in base64", fix=_FIX) from error
    if base64.b64encode(decoded).decode() != text:
        raise BadSignature("a signature below the note has another spelling", fix=_FIX)
    return decoded
