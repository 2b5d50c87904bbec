"""Verifying a backup: every object is read and hashed, every row counted."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from deltareg.db.upkeep.table_rows import Value
from deltareg.errors import BlobMissing, DeltaregError, IntegrityFailure
from deltareg.service.backup.archive import Archive
from deltareg.service.backup.manifest import BackupCatalog, BackupManifest, BackupTotals, CatalogTable, read_catalog
from deltareg.service.backup.needs import needs_of, pack_needs, read_needs
from deltareg.service.backup.segments import ANOTHER, read_segment
from deltareg.service.backup.take import THREADS


def verify_backup(archive: Archive, manifest: BackupManifest, report: Callable[[str], None]) -> BackupTotals:
    """Read all of a backup.

    Raises:
        IntegrityFailure: Something is missing, or another thing than it was.
    """
    archive.look()
    catalog = open_catalog(archive, manifest)
    rows = 0
    for table in catalog.tables:
        rows += sum(1 for _ in table_rows(archive, manifest, table))
    report(f"rows: {rows:,} are whole")
    entries = blob_entries(archive, manifest, catalog)
    broken: list[str] = []
    with ThreadPoolExecutor(THREADS) as pool:
        digests = sorted({digest for digest, key, _ in entries if key not in catalog.lacking})
        for error in pool.map(partial(_problem_of, archive, manifest), digests):
            broken += [error] if error else []
    if catalog.keys:
        read_whole(archive, manifest, catalog.keys)
    if manifest.needs:
        needs = needs_of(catalog, ((digest, key) for digest, key, _ in entries))
        if read_needs(archive, manifest) != pack_needs([manifest.catalog, *needs]):
            raise IntegrityFailure(f"backup {manifest.name} does not say rightly what it needs", fix=ANOTHER)
    if broken:
        raise IntegrityFailure(f"{len(broken)} objects of backup {manifest.name} are broken: {broken[0]}", fix=ANOTHER)
    report(f"objects: {len(digests):,} are whole")
    sizes = {digest: size for digest, _, size in entries}
    return BackupTotals(
        manifest.name, rows, len(sizes), sum(sizes.values()), len(digests), sum(sizes.values()), catalog.lacking
    )


def open_catalog(archive: Archive, manifest: BackupManifest) -> BackupCatalog:
    """Read the catalog of a backup, and see that all that it names is there.

    Raises:
        IntegrityFailure: It is not what was signed, or parts are missing.
    """
    catalog = read_catalog(read_whole(archive, manifest, manifest.catalog))
    check_there(archive, manifest, needs_of(catalog, ()))
    entries = blob_entries(archive, manifest, catalog)
    check_there(archive, manifest, needs_of(catalog, ((digest, key) for digest, key, _ in entries)))
    return catalog


def check_there(archive: Archive, manifest: BackupManifest, digests: list[str]) -> None:
    """Refuse a backup of which objects are missing.

    Raises:
        IntegrityFailure: Some are.
    """
    missing = sorted({digest for digest in digests if not archive.has(digest, manifest.mark)})
    if missing:
        raise IntegrityFailure(
            f"{len(missing)} objects of backup {manifest.name} are missing, the first is {missing[0]}", fix=ANOTHER
        )


def read_whole(archive: Archive, manifest: BackupManifest, digest: str) -> bytes:
    """Return a small object.

    Raises:
        IntegrityFailure: It is missing, or another one than it was.
    """
    try:
        raw = b"".join(archive.get(digest, manifest))
    except BlobMissing as error:
        raise IntegrityFailure(f"object {digest} of the backup is missing", fix=ANOTHER) from error
    if hashlib.sha256(raw).hexdigest() != digest:
        raise IntegrityFailure(f"object {digest} of the backup is another one than it was", fix=ANOTHER)
    return raw


def table_rows(archive: Archive, manifest: BackupManifest, table: CatalogTable) -> Iterator[list[Value]]:
    """Give the rows of a table.

    Raises:
        IntegrityFailure: A segment is missing or another one than it was, or there are more or fewer rows.
    """
    count = 0
    for digest in table.segments:
        rows = read_segment(b"".join(archive.get(digest, manifest)), digest)
        count += len(rows)
        yield from rows
    if count != table.rows:
        raise IntegrityFailure(f"{table.name} has {count} rows in the backup, and had {table.rows}", fix=ANOTHER)


def blob_entries(archive: Archive, manifest: BackupManifest, catalog: BackupCatalog) -> list[tuple[str, str, int]]:
    """List the objects of the registry's store: sha256, physical key, bytes."""
    entries: list[tuple[str, str, int]] = []
    for segment in catalog.blobs:
        for digest, key, size in read_segment(b"".join(archive.get(segment, manifest)), segment):
            entries.append((str(digest), str(key), int(size or 0)))
    return entries


def _problem_of(archive: Archive, manifest: BackupManifest, digest: str) -> str:
    try:
        for _ in archive.get_checked(digest, manifest):
            pass
    except DeltaregError as error:
        return error.message
    return ""
