"""Deleting old backups, and the objects that no other one needs.

First what says that there is such a backup, then its objects: killed in between, it leaves objects that nothing
names, as a killed backup does, and the next run deletes both. No private key is needed.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from deltareg.db.sql.clock import US_PER_S
from deltareg.errors import Conflict, IntegrityFailure
from deltareg.service.backup.archive import Archive
from deltareg.service.backup.manifest import BackupManifest
from deltareg.service.backup.needs import BEGIN_BYTES, OPEN, read_needs
from deltareg.service.backup.place_hold import LEASE_S, while_pruning
from deltareg.service.backup.take import THREADS
from deltareg.signing.age_keys import is_mark
from deltareg.store import parse_key

_DAY_US = 86_400 * US_PER_S
_AT_ONCE = 64
Beginnings = dict[str, set[bytes]]
"""How the digests of objects begin, by their mark."""


@dataclass(frozen=True, slots=True)
class PruneTotals:
    """What pruning left and took.

    Attributes:
        kept: The names of the backups that are left, the oldest first.
        gone: The names of those that went, or would go.
        objects: How many objects went with them, those of killed backups as well.
        objects_bytes: Their bytes.
    """

    kept: tuple[str, ...]
    gone: tuple[str, ...]
    objects: int
    objects_bytes: int


def prune(
    archive: Archive, *, keep_days: int, is_dry: bool, report: Callable[[str], None], lease_s: float = LEASE_S
) -> PruneTotals:
    """Delete the backups that are so much older than the newest good one.

    Good is one that has all its objects, and all those of the registry. While none is taken, none goes.

    Args:
        archive: Where they are.
        keep_days: How many days before the newest good one are kept.
        is_dry: Only say what would go.
        report: Called with a line now and then.
        lease_s: For how long the hold of a killed process is heeded.

    Raises:
        Conflict: Backups are taken there all the time, or one does not say what it needs.
        IntegrityFailure: None is good, or one cannot be read. Nothing was deleted.
    """
    store = archive.store
    with while_pruning(store, report, lease_s=lease_s) as check_hold:
        there = [entry for entry in store.keys("blobs/") if is_mark(parse_key(entry[0]).attempt)]
        backups = archive.all()
        since_us = _newest_good(archive, [one for _, one in backups], there).taken_us - keep_days * _DAY_US
        kept = [one for _, one in backups if one.taken_us >= since_us]
        going = [(name, one) for name, one in backups if one.taken_us < since_us]
        needed = _gather_needs(archive, kept)
        unneeded = [(key, size) for key, size in there if not _is_in(needed, key)]
        if not is_dry:
            report(f"backups: {len(going):,} go, and {len(unneeded):,} objects")
            check_hold()
            for name, _ in going:
                store.delete(name)
            with ThreadPoolExecutor(THREADS) as pool:
                for at in range(0, len(unneeded), _AT_ONCE):
                    check_hold()
                    list(pool.map(store.delete, [key for key, _ in unneeded[at : at + _AT_ONCE]]))
    return PruneTotals(
        tuple(one.name for one in kept),
        tuple(one.name for _, one in going),
        len(unneeded),
        sum(size for _, size in unneeded),
    )


def _newest_good(
    archive: Archive, backups: Sequence[BackupManifest], there: Iterable[tuple[str, int]]
) -> BackupManifest:
    """Find the backup that ages are counted from."""
    present: Beginnings = {}
    for key, _ in there:
        mark, begin = _split(key)
        present.setdefault(mark, set()).add(begin)
    for one in reversed(backups):
        if one.taken_us > time.time() * US_PER_S + _DAY_US:
            raise Conflict(f"backup {one.name} is of the future", fix="set the clocks of this host and of the database")
        if not one.lacking and _beginnings(read_needs(archive, one)) <= present.get(one.mark, set()):
            return one
    raise IntegrityFailure(
        "no backup there has all of its objects", fix="take one that ends with 0; until then none is deleted"
    )


def _gather_needs(archive: Archive, kept: Sequence[BackupManifest]) -> Beginnings:
    needed: Beginnings = {str(OPEN.mark): {bytes.fromhex(one.needs)[:BEGIN_BYTES] for one in kept}}
    with ThreadPoolExecutor(THREADS) as pool:
        for one, raw in zip(kept, pool.map(partial(read_needs, archive), kept), strict=True):
            needed.setdefault(one.mark, set()).update(_beginnings(raw))
    return needed


def _beginnings(raw: bytes) -> set[bytes]:
    return {raw[at : at + BEGIN_BYTES] for at in range(0, len(raw), BEGIN_BYTES)}


def _is_in(found: Beginnings, key: str) -> bool:
    mark, begin = _split(key)
    return begin in found.get(mark, ())


def _split(key: str) -> tuple[str, bytes]:
    parsed = parse_key(key)
    return str(parsed.attempt), bytes.fromhex(parsed.digest.hex)[:BEGIN_BYTES]
