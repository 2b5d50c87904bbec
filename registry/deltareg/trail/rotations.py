"""How a server's key follows another: a row of the log that the old key signed.

Whoever trusts the old key trusts the new one for that row, if it is in the log. So a client that was
away goes from key to key by itself, and a server that only says that it has another key is not
believed: neither without the old key's signature, nor with a statement that is not in the log.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from deltareg.documents.json_values import is_object
from deltareg.errors import BadSignature, IntegrityFailure, InvalidInput
from deltareg.signing.keys import PublicKey
from deltareg.trail.checkpoint import Checkpoint
from deltareg.trail.leaves import hash_of
from deltareg.trail.merkle import check_inclusion
from deltareg.trail.statements import check_change

ROTATION: Final = "key.rotate"
_SERVER: Final = "server"


@dataclass(frozen=True, slots=True)
class RotationProof:
    """A row that tells of a rotation, with the proof that it is in the log.

    Attributes:
        position: Its position in the log, counted from 0.
        leaf: The row as it is hashed.
        statement: What the old key signed about it; empty if the old key was lost.
        hashes: The proof that it is in the log.
    """

    position: int
    leaf: Mapping[str, object]
    statement: str
    hashes: tuple[bytes, ...]


def new_key_in(leaf: Mapping[str, object]) -> PublicKey | None:
    """Return the key of servers that a row puts in the place of another; None if it is not about that."""
    after = leaf.get("after")
    if leaf.get("action") != ROTATION or not is_object(after) or after.get("role") != _SERVER:
        return None
    try:
        key = PublicKey.parse(str(after.get("key")))
    except InvalidInput:
        return None
    return key if leaf.get("subject") == f"key/{key.keyid}" else None


class ServerKeyChain:
    """The keys of servers that are trusted, as rotations add to them in the order of the log.

    Attributes:
        keys: The trusted keys.
        found: Those among them that a rotation added.
    """

    def __init__(self, keys: Iterable[PublicKey], *, revoked: Iterable[PublicKey] = ()) -> None:
        """Begin with trusted keys; revoked ones vouch for nothing, and nothing vouches for them."""
        self.keys = list(keys)
        self.found: list[PublicKey] = []
        self._ended = {key.keyid for key in revoked}
        self._replaced: set[str] = set()

    def take(self, leaf: Mapping[str, object], signer: PublicKey) -> bool:
        """Read a rotation that a key signed; return whether the new key is trusted for it.

        A key vouches for one other, the first: who has stolen it later begins no second chain.
        """
        new, before = new_key_in(leaf), leaf.get("before")
        is_former = is_object(before) and before.get("keyid") == signer.keyid
        if new is None or not is_former or signer not in self.keys:
            return False
        if {signer.keyid, new.keyid} & self._ended or signer.keyid in self._replaced:
            return False
        self._replaced.add(signer.keyid)
        if new not in self.keys:
            self.keys.append(new)
            self.found.append(new)
        return True


def follow_rotations(chain: ServerKeyChain, rotations: Iterable[RotationProof], head: Checkpoint) -> None:
    """Add the keys that trusted keys vouch for, one after another, in the log that a checkpoint signs.

    A rotation that does not hold leads nowhere, and is passed over.

    Args:
        chain: The trusted keys.
        rotations: Rotations, oldest first.
        head: The log's head, whoever signed it: the caller has to see that one of the keys did.
    """
    for rotation in rotations:
        try:
            signer = check_change(rotation.statement.encode(), rotation.leaf, chain.keys)
            check_inclusion(hash_of(rotation.leaf), rotation.position, head.size, rotation.hashes, root=head.root)
        except (BadSignature, IntegrityFailure):
            continue
        chain.take(rotation.leaf, signer)
