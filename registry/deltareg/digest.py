"""Content digests: `sha256:` over files, packs and manifests, `blake3:` over tensors.

A tensor digest covers dtype and shape as well as the bytes, so equal bytes with another shape are
another tensor (docs/design.md, Identity).
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, Self

from blake3 import blake3

from deltareg.errors import InvalidInput

Algorithm = Literal["sha256", "blake3"]
_PATTERN = re.compile(r"(sha256|blake3):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A digest with its algorithm, written `sha256:<64 hex>` or `blake3:<64 hex>`."""

    algorithm: Algorithm
    hex: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `algorithm:hex`.

        Raises:
            InvalidInput: The text is not exactly that, in lower case.
        """
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise InvalidInput(
                f"not a digest: {text[:80]!r}", fix="write sha256: or blake3: and 64 lower-case hex digits"
            )
        return cls("sha256" if match[1] == "sha256" else "blake3", match[2])

    def __str__(self) -> str:
        """Format it as on the wire."""
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        """The first twelve hex digits, for people."""
        return self.hex[:12]


class Hasher(Protocol):
    """The interface that the hash objects of hashlib and blake3 share."""

    def update(self, data: bytes | memoryview, /) -> object:
        """Add bytes."""
        ...

    def hexdigest(self) -> str:
        """The digest of all bytes so far, in lower-case hex."""
        ...


def sha256_of(data: bytes | memoryview) -> Digest:
    """Return the digest of bytes in memory."""
    return Digest("sha256", hashlib.sha256(data).hexdigest())


def sha256_over(chunks: Iterable[bytes | memoryview]) -> Digest:
    """Return the digest of a stream, holding one chunk at a time."""
    hasher = hashlib.sha256()
    for chunk in chunks:
        hasher.update(chunk)
    return Digest("sha256", hasher.hexdigest())


def tensor_digest(dtype: str, shape: Iterable[int], chunks: Iterable[bytes | memoryview]) -> Digest:
    r"""Return the digest of a tensor: blake3 over `tensor\0 dtype \0 rank dims bytes`.

    Args:
        dtype: The safetensors name, `F32`, `BF16`, ….
        shape: The dimensions; rank is one byte, each dimension eight, little-endian.
        chunks: The tensor's bytes in row-major, little-endian order.
    """
    hasher = open_tensor_hasher(dtype, shape)
    for chunk in chunks:
        hasher.update(chunk)
    return Digest("blake3", hasher.hexdigest())


def open_tensor_hasher(dtype: str, shape: Iterable[int]) -> Hasher:
    """Start the digest of a tensor whose bytes come later; `tensor_digest` says what it covers."""
    dims = tuple(shape)
    hasher = blake3(b"tensor\0" + dtype.encode("ascii") + b"\0" + bytes([len(dims)]))
    hasher.update(b"".join(dim.to_bytes(8, "little") for dim in dims))
    return hasher


def merkle_root(leaves: Iterable[tuple[str, Digest]]) -> Digest:
    r"""Return the root of a binary Merkle tree over (name, digest) pairs sorted by name.

    A leaf is blake3(`leaf\0` name `\0` digest); a node is blake3(`node\0` left right); an odd node
    moves up unchanged. The root of no leaves is blake3(`empty\0`).
    """
    level = [
        blake3(b"leaf\0" + name.encode() + b"\0" + bytes.fromhex(digest.hex)).digest()
        for name, digest in sorted(leaves)
    ]
    if not level:
        return Digest("blake3", blake3(b"empty\0").hexdigest())
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        above = [blake3(b"node\0" + left + right).digest() for left, right in pairs]
        level = above + level[len(above) * 2 :]
    return Digest("blake3", level[0].hex())
