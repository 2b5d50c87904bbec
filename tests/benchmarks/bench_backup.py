"""How long a backup, the next one and a restore take, for a registry that `make fill` made.

    python -m tests.benchmarks.bench_backup build/scale build/backup [--database postgresql+psycopg://…] [--write-docs]

The objects of such a registry are links with made-up digests, so a backup reads and hashes each and leaves
it out. Objects are timed by themselves: as many, of 20 kB each, copied into an archive and out of it.
"""

import argparse
import hashlib
import os
import resource
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import deltareg_migrations
from deltareg.db.session import create_engine
from deltareg.digest import Digest
from deltareg.service.backup import restore, take
from deltareg.service.backup.archive import Archive
from deltareg.service.backup.manifest import BackupManifest
from deltareg.service.backup.verify import verify_backup
from deltareg.signing.keys import SigningKey
from deltareg.store import fresh_key, open_store
from tests.benchmarks import page

KEY = SigningKey.of_seed(b"b" * 32)
_OBJECT_BYTES = 20_000
_LINES = [f"{'':36}{'s':>8}{'CPU s':>8}{'peak MiB':>10}"]


@contextmanager
def timed(what):
    began, cpu = time.perf_counter(), time.process_time()
    yield
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    tell(f"{what:36}{time.perf_counter() - began:>8.1f}{time.process_time() - cpu:>8.1f}{peak_mib:>10}")


def tell(line):
    _LINES.append(line)
    print(line, flush=True)


def migrate(url, revision):
    deltareg_migrations.upgrade(url, revision=revision)


def back_up(scale, place, name):
    engine = create_engine(f"sqlite:///{scale / 'registry.db'}")
    archive = Archive(open_store((place / "rows").as_uri()))
    with timed(name):
        done = take.take_backup(
            engine, open_store((scale / "blobs").as_uri()), archive, signer=KEY, keys={}, report=lambda _line: None
        )
    tell(f"  {done.rows:,} rows, {done.moved:,} objects written, {done.moved_bytes / 1e6:,.1f} MB")


def restore_rows(place, urls):
    archive = Archive(open_store((place / "rows").as_uri()))
    for url in urls:
        target = restore.RestoreTarget(
            url, open_store((place / f"store-{uuid4().hex[:6]}").as_uri()), partial(migrate, url), lambda _keys: None
        )
        with timed(f"restore of rows into {url.partition(':')[0]}"):
            restore.restore_backup(archive, archive.find(), target, lambda _line: None)
    with timed("verify"):
        verify_backup(archive, archive.find(), lambda _line: None)


def objects(place, count):
    source, target = (open_store((place / name).as_uri()) for name in ("from", "to"))
    archive = Archive(open_store((place / "objects").as_uri()))
    index = []
    for _ in range(count):
        data = os.urandom(_OBJECT_BYTES)
        digest = hashlib.sha256(data).hexdigest()
        key = fresh_key(Digest("sha256", digest), attempt=uuid4())
        source.write(key, [data])
        index.append((digest, key, len(data), ""))
    with timed(f"backup of {count:,} objects"):
        take._copy_blobs(source, archive, index, lambda _line: None)
    manifest = BackupManifest(
        format=1,
        taken_us=0,
        release="",
        signed_by="",
        mark=str(archive.keys.mark),
        is_encrypted=False,
        catalog="",
        rows=0,
        blobs=count,
        blob_bytes=0,
        lacking=0,
    )
    entries = [(digest, key, size) for digest, key, size, _ in index]
    with timed(f"restore of {count:,} objects"):
        restore._copy_blobs(archive, manifest, target, entries, set())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scale", type=Path)
    parser.add_argument("place", type=Path)
    parser.add_argument("--database", default="", help="an empty PostgreSQL database to restore into as well")
    parser.add_argument("--objects", type=int, default=100_000)
    page.add_option(parser)
    options = parser.parse_args()
    scale, place = options.scale.resolve(), options.place.resolve()
    if not place.exists():  # what is there was backed up by a run before
        place.mkdir(parents=True)
        back_up(scale, place, "backup")
    urls = [options.database] if options.database else [f"sqlite:///{place / 'restored.db'}"]
    restore_rows(place, urls)
    objects(place, options.objects)
    back_up(scale, place, "the next backup")
    page.write_docs(options, "backup", "\n".join(_LINES))


if __name__ == "__main__":
    main()
