"""The Merkle tree of RFC 6962: hashes, roots, proofs of inclusion and of consistency.

A leaf is hashed with a zero byte before it, a node with a one, so that neither passes for the
other. A stored tree keeps the hashes of its leaves (level 0) and of every complete subtree of 256
leaves (level 1), 65,536 (level 2) and so on: any node is computed from at most 128 of them,
whatever the size of the tree.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Self

from deltareg.errors import IntegrityFailure

HASH_BYTES = 32
EMPTY = sha256(b"").digest()
_BITS = 8  # of a level: 256 hashes make one of the next

Read = Callable[[int, int, int], Sequence[bytes]]
"""Gives the hashes of a level from one number to another (exclusive)."""
Node = tuple[int, int, bytes]
"""A hash that is kept: level, number, the hash."""


def leaf_hash(data: bytes) -> bytes:
    """Hash a leaf (RFC 6962, 2.1)."""
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash a node over its two children (RFC 6962, 2.1)."""
    return sha256(b"\1" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: enough to compute its root and to append."""

    def __init__(self) -> None:
        """Start with the empty tree."""
        self.size = 0
        self._peaks: list[bytes] = []  # of the complete subtrees from the left, the largest first

    @classmethod
    def of(cls, read: Read, size: int) -> Self:
        """Build the right edge of a stored tree."""
        frontier = cls()
        frontier.size = size
        begin = 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                frontier._peaks.append(_complete(read, level, begin >> level))
                begin += 1 << level
        return frontier

    @classmethod
    def with_peaks(cls, size: int, peaks: Sequence[bytes]) -> Self:
        """Build the right edge of a tree of a size from its `peaks`.

        Raises:
            ValueError: A tree of this size has another number of them.
        """
        if size.bit_count() != len(peaks):
            raise ValueError(f"{len(peaks)} peaks of a tree of {size} leaves")
        frontier = cls()
        frontier.size, frontier._peaks = size, list(peaks)
        return frontier

    @property
    def peaks(self) -> list[bytes]:
        """The roots of the complete subtrees from the left, the largest first."""
        return list(self._peaks)

    def add(self, leaf: bytes) -> list[Node]:
        """Append a leaf's hash; return the newly completed nodes, which must be stored."""
        done: list[Node] = []
        level, number, node = 0, self.size, leaf
        while number & 1:
            node = node_hash(self._peaks.pop(), node)
            level, number = level + 1, number >> 1
            if level % _BITS == 0:
                done.append((level // _BITS, number, node))
        self._peaks.append(node)
        self.size += 1
        return done

    def root(self) -> bytes:
        """Return the root of the current tree."""
        if not self._peaks:
            return EMPTY
        *rest, root = self._peaks
        for peak in reversed(rest):
            root = node_hash(peak, root)
        return root


def inclusion_proof(read: Read, position: int, size: int) -> list[bytes]:
    """Build the proof that a leaf is in a tree of a size (RFC 6962, 2.1.1)."""
    proof: list[bytes] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if position < middle:
            proof.append(_range(read, middle, stop))
            stop = middle
        else:
            proof.append(_range(read, start, middle))
            start = middle
    return proof[::-1]


def consistency_proof(read: Read, old: int, new: int) -> list[bytes]:
    """Build the proof that a tree of a size is the beginning of a larger one (RFC 6962, 2.1.2)."""
    if not 0 < old < new:
        return []
    proof: list[bytes] = []
    start, stop, is_whole = 0, new, True
    while old != stop:
        middle = start + _split(stop - start)
        if old <= middle:
            proof.append(_range(read, middle, stop))
            stop = middle
        else:
            proof.append(_range(read, start, middle))
            start, is_whole = middle, False
    if not is_whole:
        proof.append(_range(read, start, stop))
    return proof[::-1]


def check_inclusion(leaf: bytes, position: int, size: int, proof: Sequence[bytes], *, root: bytes) -> None:
    """Check a proof of inclusion against a root (RFC 9162, 2.1.3.2).

    Raises:
        IntegrityFailure: The leaf is not at that position of that tree.
    """
    number, last, computed = position, size - 1, leaf
    is_right = 0 <= position < size
    for each in proof:
        is_right = is_right and last > 0
        if number & 1 or number == last:
            computed = node_hash(each, computed)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            computed = node_hash(computed, each)
        number, last = number >> 1, last >> 1
    if not is_right or last or computed != root:
        raise IntegrityFailure("the row is not in the log that the checkpoint signs")


def check_consistency(old: int, new: int, proof: Sequence[bytes], *, old_root: bytes, new_root: bytes) -> None:
    """Check a proof of consistency against two roots (RFC 9162, 2.1.4.2).

    Raises:
        IntegrityFailure: The smaller tree is not the beginning of the larger one.
    """
    if old in {0, new}:
        if proof or (old and old_root != new_root):
            raise _inconsistent()
        return
    if not 0 < old < new or not proof:
        raise _inconsistent()
    steps = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if _compute_roots(steps, old - 1, new - 1) != (old_root, new_root):
        raise _inconsistent()


def _compute_roots(steps: Sequence[bytes], number: int, last: int) -> tuple[bytes, bytes]:
    """Compute the roots of the older and the newer tree from the steps of a proof."""
    while number & 1:
        number, last = number >> 1, last >> 1
    before = after = steps[0]
    for each in steps[1:]:
        if last == 0:
            raise _inconsistent()
        if number & 1 or number == last:
            before, after = node_hash(each, before), node_hash(each, after)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            after = node_hash(after, each)
        number, last = number >> 1, last >> 1
    if last:
        raise _inconsistent()
    return before, after


def _inconsistent() -> IntegrityFailure:
    return IntegrityFailure("the newer log does not begin with the older one")


def _split(size: int) -> int:
    """Return the largest power of two below a size of at least 2."""
    return 1 << (size - 1).bit_length() - 1


def _range(read: Read, start: int, stop: int) -> bytes:
    """Hash the leaves of a part that a tree was split into; its start fits its size."""
    size = stop - start
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return _complete(read, level, start >> level)
    middle = start + _split(size)
    return node_hash(_range(read, start, middle), _range(read, middle, stop))


def _complete(read: Read, level: int, number: int) -> bytes:
    """Hash a complete subtree of 2^level leaves from the nearest stored hashes below it."""
    kept_level, bits = divmod(level, _BITS)
    hashes = list(read(kept_level, number << bits, (number + 1) << bits))
    if len(hashes) != 1 << bits:
        raise IntegrityFailure("hashes of the log are missing in the database", fix="deltareg audit verify")
    while len(hashes) > 1:
        hashes = [node_hash(*pair) for pair in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]
