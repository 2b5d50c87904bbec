"""A base's fingerprint: a digest of its tensors, independent of files, shards and metadata."""

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
    """Return the exact root: the Merkle root over every (name, tensor digest).

    The root does not depend on shards, order or metadata. It changes with the value of any element,
    with a dtype or with a name.
    """
    return merkle_root((record.name, record.digest) for record in tensors)
