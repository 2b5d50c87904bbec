"""Taking a backup beside pushes: rows in one snapshot, then the objects that they name.

An object is in the store before a row names it, and while the backup holds collection back it stays there. So
whatever the snapshot names can be copied after it, for as long as that takes. A backup that is killed has
written no manifest; run again, it takes a new snapshot and sends what is not there yet.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

import deltareg
from deltareg.db import HEAD
from deltareg.db.session import schema_head
from deltareg.db.sql.clock import read_clock
from deltareg.db.tables import hub_staged, packs
from deltareg.db.upkeep.table_rows import Value, all_layouts, long_read, read_rows
from deltareg.errors import BlobMissing, Conflict, IntegrityFailure, Misconfigured
from deltareg.service.backup.archive import Archive
from deltareg.service.backup.hold import holding
from deltareg.service.backup.manifest import BackupCatalog, BackupManifest, BackupTotals, CatalogTable, sign_manifest
from deltareg.service.backup.needs import needs_of, put_needs
from deltareg.service.backup.place_hold import while_taking
from deltareg.service.backup.segments import cut_segments
from deltareg.signing.keys import SigningKey
from deltareg.store import BlobStore, parse_key

THREADS = 8


def take_backup(
    engine: sa.Engine,
    store: BlobStore,
    archive: Archive,
    *,
    signer: SigningKey,
    keys: Mapping[str, bytes],
    report: Callable[[str], None],
) -> BackupTotals:
    """Back a registry up into an archive; pushes, promotions and deletions go on meanwhile.

    Args:
        engine: The database.
        store: The registry's store.
        archive: Where to.
        signer: The server's key, which signs the backup.
        keys: The server's secret files by name; they are taken along only where the archive is encrypted.
        report: Called with a line now and then.

    Raises:
        Conflict: It was out of touch with database or archive, so objects may be missing. Run it again.
        Misconfigured: The schema is of a later release, which has columns that this one would leave out.
        StoreUnavailable: A store does not answer. Run it again.
    """
    with while_taking(archive.store, report) as check_place, holding(engine) as check_hold:
        archive.look()
        with long_read(engine) as conn:
            taken_us, revision = read_clock(conn), _check_revision(engine)
            tables = list(_copy_tables(conn, archive))
            index = _read_index(conn)
        report(f"rows: {sum(table.rows for table in tables):,}")
        blobs = tuple(_put_segments(archive, ((digest, key, size) for digest, key, size, _ in index))[0])
        lacking = _copy_blobs(store, archive, index, report)
        catalog = BackupCatalog(
            revision=revision,
            tables=tuple(tables),
            blobs=blobs,
            lacking=lacking,
            keys=_put_keys(archive, keys) if archive.keys.recipients else "",
        )
        raw = catalog.model_dump_json().encode()
        digest = hashlib.sha256(raw).hexdigest()
        archive.put(digest, [raw])
        needs = put_needs(archive, [digest, *needs_of(catalog, ((one, key) for one, key, _, _ in index))])
        manifest = BackupManifest(
            format=1,
            taken_us=taken_us,
            release=deltareg.__version__,
            signed_by=str(signer.public),
            mark=str(archive.keys.mark),
            is_encrypted=bool(archive.keys.recipients),
            catalog=digest,
            rows=sum(table.rows for table in tables),
            blobs=len({entry[0] for entry in index}),
            blob_bytes=sum({entry[0]: entry[2] for entry in index}.values()),
            lacking=len(lacking),
            needs=needs,
        )
        check_hold()
        check_place()
        name = archive.add_manifest(manifest, sign_manifest(manifest, signer))
        try:
            check_place()
        except Conflict:  # this process stood still in between
            archive.store.delete(name)
            raise
    return BackupTotals(
        manifest.name, manifest.rows, manifest.blobs, manifest.blob_bytes, len(archive.sent), sum(archive.sent), lacking
    )


def _check_revision(engine: sa.Engine) -> str:
    revision = schema_head(engine)
    if revision != HEAD:
        raise Misconfigured(
            f"the database has schema {revision}, and this release knows all of {HEAD}",
            fix="take the backup with the release that migrated it",
        )
    return revision


def _copy_tables(conn: sa.Connection, archive: Archive) -> Iterator[CatalogTable]:
    for layout in all_layouts():
        segments, rows = _put_segments(archive, read_rows(conn, layout))
        yield CatalogTable(
            name=layout.name, columns=layout.columns, key=layout.key, rows=rows, segments=tuple(segments)
        )


def _put_segments(archive: Archive, rows: Iterable[Sequence[Value]]) -> tuple[list[str], int]:
    digests: list[str] = []
    count = 0
    for segment in cut_segments(rows):
        archive.put(segment.digest, [segment.frame])
        digests.append(segment.digest)
        count += segment.rows
    return digests, count


def _read_index(conn: sa.Connection) -> list[tuple[str, str, int, str]]:
    """List the objects that a registry consists of: sha256, key, bytes, and what is known to be wrong with it.

    What open uploads have sent is left out: the registry that is restored has them no more, and their pushes
    begin again.
    """
    live = sa.select(packs.c.physical_key, packs.c.size_bytes, packs.c.bad_why).where(packs.c.state == "live")
    staged = sa.select(hub_staged.c.physical_key, hub_staged.c.size_bytes, sa.null()).where(
        hub_staged.c.state == "here", hub_staged.c.area == ""
    )
    rows = [*conn.execute(live), *conn.execute(staged)]
    return sorted((parse_key(key).digest.hex, key, size, why or "") for key, size, why in rows)


def _copy_blobs(
    store: BlobStore, archive: Archive, index: Sequence[tuple[str, str, int, str]], report: Callable[[str], None]
) -> dict[str, str]:
    """Copy objects; return those that the store does not have whole, with what was found."""
    wanted: dict[str, list[tuple[str, int, str]]] = {}
    for digest, key, size, why in index:
        wanted.setdefault(digest, []).append((key, size, why))
    missing = [(digest, places) for digest, places in wanted.items() if not archive.has(digest)]
    lacking: dict[str, str] = {}

    def copy(one: tuple[str, list[tuple[str, int, str]]]) -> dict[str, str]:
        return _copy_blob(store, archive, *one)

    report(f"objects: {len(wanted):,}, of which {len(missing):,} are sent")
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for found in pool.map(copy, missing):
                lacking.update(found)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return lacking


def _copy_blob(store: BlobStore, archive: Archive, digest: str, places: list[tuple[str, int, str]]) -> dict[str, str]:
    """Copy an object from the first place that has it whole."""
    lacking: dict[str, str] = {}
    for key, _, why in places:
        try:
            archive.put(digest, _read_checked(store, key, digest))
        except (BlobMissing, IntegrityFailure) as error:
            lacking[key] = why or error.message
        else:
            return {}
    return lacking


def _read_checked(store: BlobStore, key: str, digest: str) -> Iterator[bytes]:
    hashed = hashlib.sha256()
    for chunk in store.read(key):
        hashed.update(chunk)
        yield chunk
    if hashed.hexdigest() != digest:
        raise IntegrityFailure(f"{key} does not hash to its digest")


def _put_keys(archive: Archive, keys: Mapping[str, bytes]) -> str:
    raw = json.dumps({name: base64.b64encode(keys[name]).decode() for name in sorted(keys)}).encode()
    digest = hashlib.sha256(raw).hexdigest()
    archive.put(digest, [raw])
    return digest
