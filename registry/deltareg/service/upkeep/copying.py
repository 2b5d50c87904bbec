"""Copying to the second store what it lacks, a part of the keys at a time.

Two listings are compared, so nothing is written down about what was copied, and whatever the copy lost
comes again. An object is copied only if it is what its key says. Nothing is deleted there: a store that
loses objects must not take its copy with it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from deltareg.errors import BlobMissing, Conflict, IntegrityFailure
from deltareg.store import BlobStore, parse_key

PARTS: Final = 256
"""Into how many parts keys are divided, by the first two digits of their digest."""


@dataclass(slots=True)
class CopyCount:
    """What a step did: objects and bytes copied, objects that are damaged, and whether some of the part are left."""

    copied: int = 0
    size_bytes: int = 0
    damaged: int = 0
    is_over: bool = True


def copy_part(first: BlobStore, second: BlobStore, part: int, *, most_bytes: int) -> CopyCount:
    """Copy objects of a part that the second store does not have.

    Args:
        first: The store.
        second: Its copy.
        part: Which part of the keys, from 0 to 255.
        most_bytes: After how many bytes to stop.

    Raises:
        StoreUnavailable: One of the two does not answer.
        DiskFull: The second has no room.
    """
    prefix, count = f"blobs/{part:02x}", CopyCount()
    there = dict(second.keys(prefix))
    for key, size in first.keys(prefix):
        if there.get(key) == size:
            continue
        if count.size_bytes >= most_bytes:
            count.is_over = False
            return count
        try:
            if key in there:  # a copy of another length is none
                second.delete(key)
            second.write(key, _whole(first.read(key), key))
        except (BlobMissing, Conflict):  # collected meanwhile, or another server copies as well
            continue
        except IntegrityFailure:
            count.damaged += 1
            continue
        count.copied, count.size_bytes = count.copied + 1, count.size_bytes + size
    return count


def _whole(chunks: Iterator[bytes], key: str) -> Iterator[bytes]:
    """Pass bytes on, and raise at their end if they are not what the key says."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != parse_key(key).digest.hex:
        raise IntegrityFailure(f"{key} is damaged, and is not copied", fix="deltareg fsck --read-data --repair")
