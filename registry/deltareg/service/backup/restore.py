"""Restoring a backup into an empty database and an empty store.

The objects come first, each hashed as it is copied. Then all rows in one transaction: until it is committed
there is no registry. A restore that is killed before goes on where it was; after it, fsck looks at all.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import cast

import sqlalchemy as sa

from deltareg.db.session import create_engine, read, with_retry
from deltareg.db.tables import event_head, hub_areas, hub_staged
from deltareg.db.upkeep.collection import expire_uploads
from deltareg.db.upkeep.holds import begin_restore, end_restore, is_restoring
from deltareg.db.upkeep.table_rows import (
    broken_references,
    clear_tables,
    continue_numbers,
    is_unused,
    load_rows,
    loading,
)
from deltareg.documents.json_values import parse_json
from deltareg.errors import BlobMissing, Conflict, IntegrityFailure
from deltareg.service.backup.archive import Archive
from deltareg.service.backup.manifest import BackupCatalog, BackupManifest, BackupTotals
from deltareg.service.backup.segments import ANOTHER
from deltareg.service.backup.take import THREADS
from deltareg.service.backup.verify import blob_entries, open_catalog, read_whole, table_rows
from deltareg.service.upkeep.fsck import FsckOutcome, check
from deltareg.store import BlobStore

_EVER_US = 100 * 365 * 86_400 * 1_000_000


@dataclass(frozen=True)
class RestoreTarget:
    """Where a backup is restored to.

    Attributes:
        url: The database.
        store: The store.
        migrate: Brings the database to a revision of the schema.
        keep_keys: Stores the server's keys, by name, before there is a registry; none if the backup has none.
    """

    url: str | sa.URL
    store: BlobStore
    migrate: Callable[[str], None]
    keep_keys: Callable[[Mapping[str, bytes]], None]


def restore_backup(
    archive: Archive, manifest: BackupManifest, target: RestoreTarget, report: Callable[[str], None]
) -> tuple[BackupTotals, FsckOutcome]:
    """Restore a backup; return what came, and what fsck finds in it.

    Raises:
        Conflict: The database or the store is not empty.
        IntegrityFailure: Something of the backup is missing, or another thing than it was.
    """
    engine = create_engine(target.url, connections=0)
    try:
        with read(engine) as conn:
            has_rows = is_restoring(conn, manifest.name)
        if not (has_rows or is_unused(engine)):
            raise Conflict("the database is not empty", fix="name an empty one: a backup is never laid over a registry")
        archive.look()
        catalog = open_catalog(archive, manifest)
        entries = [entry for entry in blob_entries(archive, manifest, catalog) if entry[1] not in catalog.lacking]
        there = _check_store(target.store, {key for _, key, _ in entries})
        report(f"objects: {len(entries):,}, of which {len(there):,} are there")
        moved = _copy_blobs(archive, manifest, target.store, entries, there)
        target.keep_keys(_read_keys(archive, manifest, catalog))
        if not has_rows:
            target.migrate(catalog.revision)
            _load(archive, manifest, catalog, target.url, report)
        target.migrate("head")
        with_retry(engine, _close_what_was_open)
        findings = check(engine, target.store, read_data=False)
        with_retry(engine, end_restore)
    finally:
        engine.dispose()
    sizes = {digest: size for digest, _, size in entries}
    totals = BackupTotals(manifest.name, manifest.rows, len(sizes), sum(sizes.values()), *moved, catalog.lacking)
    return totals, findings


def _check_store(store: BlobStore, wanted: set[str]) -> set[str]:
    """Return which objects a killed restore has brought; refuse a store that has others."""
    there = {key for key, _ in store.keys("blobs/")}
    if there - wanted:
        raise Conflict(
            f"the store is not empty: {min(there - wanted)} is not of this backup",
            fix="name an empty one: a backup is never laid over a registry",
        )
    return there


def _copy_blobs(
    archive: Archive,
    manifest: BackupManifest,
    store: BlobStore,
    entries: Sequence[tuple[str, str, int]],
    there: set[str],
) -> tuple[int, int]:
    def copy(entry: tuple[str, str, int]) -> int:
        digest, key, _ = entry
        try:
            if key not in there:
                return store.write(key, archive.get_checked(digest, manifest))
            _check_object(store, digest, key)
        except BlobMissing as error:
            raise IntegrityFailure(f"object {digest} of the backup is missing", fix=ANOTHER) from error
        return 0

    with ThreadPoolExecutor(THREADS) as pool:
        try:
            sizes = [size for size in pool.map(copy, entries) if size]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return len(sizes), sum(sizes)


def _check_object(store: BlobStore, digest: str, key: str) -> None:
    """Hold what a killed restore has brought against its digest."""
    hashed = sha256()
    for chunk in store.read(key):
        hashed.update(chunk)
    if hashed.hexdigest() != digest:
        raise IntegrityFailure(f"{key} is there and does not hash to its digest", fix="name an empty store")


def _read_keys(archive: Archive, manifest: BackupManifest, catalog: BackupCatalog) -> dict[str, bytes]:
    if not catalog.keys:
        return {}
    found = cast("dict[str, str]", parse_json(read_whole(archive, manifest, catalog.keys)))
    return {name: base64.b64decode(text) for name, text in found.items()}


def _load(
    archive: Archive, manifest: BackupManifest, catalog: BackupCatalog, url: str | sa.URL, report: Callable[[str], None]
) -> None:
    """Load all rows, or none."""
    layouts = [table.layout for table in catalog.tables]
    with loading(url) as conn:
        clear_tables(conn, layouts)
        count = 0
        for table in catalog.tables:
            count += load_rows(conn, table.layout, table_rows(archive, manifest, table))
        continue_numbers(conn, layouts)
        begin_restore(conn, manifest.name)
        broken = broken_references(conn)
        if broken:
            raise IntegrityFailure(f"rows of {', '.join(broken)} refer to rows that are not there", fix=ANOTHER)
    report(f"rows: {count:,}")


def _close_what_was_open(conn: sa.Connection) -> None:
    """End what went on when the backup was taken: its pushes begin again, its bytes were not copied."""
    expire_uploads(conn, idle_us=-_EVER_US)
    conn.execute(sa.delete(hub_areas))
    lost = sa.or_(hub_staged.c.state == "receiving", hub_staged.c.area != "")
    conn.execute(sa.update(hub_staged).where(lost).values(state="gone"))
    conn.execute(sa.update(event_head).values(holder=None, held_until=0))
