"""A base's fingerprint: what its tensors are, whatever files, shards and metadata hold them."""

from collections.abc import Iterable
from dataclasses import dataclass

from deltareg.digest import Digest, merkle_root


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """One tensor by content.

    Attributes:
        name: Its name in the base's files.
        dtype: The safetensors dtype.
        shape: Its dimensions.
        digest: `blake3:` over dtype, shape and bytes (see `deltareg.digest.tensor_digest`).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    digest: Digest


def fingerprint(tensors: Iterable[TensorRecord]) -> Digest:
    """Give the exact root: the Merkle root over every (name, tensor digest).

    One file or six shards, any order, any metadata: the same root. Another value in one element,
    another dtype or another name: another root.
    """
    return merkle_root((record.name, record.digest) for record in tensors)
