"""Backups: whole beside pushes, restored into either database, and refused where anything is wrong."""

import threading

import pytest
import sqlalchemy as sa

import deltareg_migrations
from deltareg.db.session import create_engine, read, write
from deltareg.db.tables import backup_holds, packs
from deltareg.db.upkeep.table_rows import all_layouts, read_rows
from deltareg.errors import BadSignature, BlobMissing, Conflict, IntegrityFailure, InvalidInput, Misconfigured, NotFound
from deltareg.service.backup.archive import Archive
from deltareg.service.backup.hold import holding
from deltareg.service.backup.restore import RestoreTarget, restore_backup
from deltareg.service.backup.segments import cut_segments, read_segment
from deltareg.service.backup.take import take_backup
from deltareg.service.backup.verify import verify_backup
from deltareg.service.upkeep import collect
from deltareg.service.upkeep.settling import settle_storage
from deltareg.signing.keys import SigningKey
from deltareg.store import open_store, parse_key
from tests.fixtures.databases import BOTH
from tests.fixtures.registries import SAMPLES, running

KEY = SigningKey.of_seed(b"b" * 32)
KEYS = {"server-key": KEY.pem()}
VOLATILE = {"backup_holds"}


def quiet(_line):
    pass


def take(server, archive, report=quiet):
    return take_backup(server.registry.engine, server.registry.store, archive, signer=KEY, keys=KEYS, report=report)


def restored(archive, url, folder, kept=None):
    store = open_store(folder.as_uri())
    keep = {}.update if kept is None else kept.update
    target = RestoreTarget(url, store, lambda revision: deltareg_migrations.upgrade(url, revision=revision), keep)
    return restore_backup(archive, archive.find(), target, quiet)


def all_rows(engine):
    with read(engine) as conn:
        return {layout.name: sorted(map(repr, read_rows(conn, layout))) for layout in all_layouts()}


@pytest.fixture
def place(tmp_path):
    return open_store((tmp_path / "backups").as_uri())


@pytest.fixture
def archive(place):
    return Archive(place)


@pytest.fixture
def server(registry_server):
    registry_server.line("lora", "lora_v2")
    return registry_server


@pytest.fixture
def local(local_registry):
    local_registry.line("lora", "lora_v2")
    return local_registry


def object_files(tmp_path):
    """List the objects that a restore reads: all but what tells who prunes what is needed."""
    needs = {one.needs for _, one in Archive(open_store((tmp_path / "backups").as_uri())).all()}
    found = sorted((tmp_path / "backups" / "blobs").glob("*/*"))
    return [path for path in found if path.parent.name not in needs]


@pytest.mark.parametrize("other", [BOTH[0], pytest.param("postgresql", marks=[pytest.mark.postgres, pytest.mark.soak])])
def test_a_restored_registry_has_every_row_and_every_byte(server, archive, other, tmp_path, request):
    url = request.getfixturevalue(f"empty_{other}_url").replace("registry.db", "restored.db")
    client = server.client()
    before = client.pull("team/lora:v2", tmp_path / "before")
    settle_storage(server.registry.engine)  # as the check of what was restored does
    taken = take(server, archive)
    rows = all_rows(server.registry.engine)

    done, checked = restored(archive, url, tmp_path / "restored")

    engine = create_engine(url)
    assert all_rows(engine) == rows
    assert checked.findings == ()
    assert (done.rows, done.blobs, done.blob_bytes) == (taken.rows, taken.blobs, taken.blob_bytes)
    engine.dispose()
    with running(url, (tmp_path / "restored").as_uri(), tmp_path) as again:
        pulled = again.client().pull("team/lora:v2", tmp_path / "after")
        pushed = again.client().push(SAMPLES / "deltas" / "tinyllama" / "full", "team/new", base="tinyllama")
    assert contents(tmp_path / "after") == contents(tmp_path / "before")
    assert (pulled.digest, pushed.version.ref) == (before.digest, "team/new:v1")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.soak
def test_the_next_backup_sends_what_is_new(server, archive, place):
    take(server, archive)
    server.client().push(SAMPLES / "deltas" / "tinyllama" / "full", "team/new", base="tinyllama")

    first_names = dict(place.keys()).keys()
    again = Archive(place)
    take(server, again)

    sent = dict(place.keys()).keys() - first_names
    with read(server.registry.engine) as conn:
        newest = conn.execute(sa.select(packs.c.physical_key).order_by(packs.c.id.desc()).limit(1)).scalar_one()
    assert parse_key(newest).digest.hex in {parse_key(key).digest.hex for key in sent}
    assert len(again.sent) == len(sent) < len(first_names)
    assert verify_backup(again, again.find(), quiet).blobs > 0


def test_collection_deletes_nothing_while_a_backup_runs(server, archive, tmp_path):
    client, registry = server.client(), server.registry
    client.push(SAMPLES / "deltas" / "tinyllama" / "full", "team/new", base="tinyllama")
    deleted_at = []

    def delete_and_collect(line):
        if line.startswith("objects"):  # its rows are read, its objects are not
            client.versions.delete("team/new:v1")
            freed = collect.run(registry.engine, registry.store, grace_s=0, keep_forms_s=0)
            deleted_at.append(freed.objects)

    taken = take(server, archive, delete_and_collect)
    freed = collect.run(registry.engine, registry.store, grace_s=0, keep_forms_s=0)

    assert deleted_at == [0]
    assert freed.objects > 0
    assert not taken.lacking
    _, checked = restored(archive, f"sqlite:///{tmp_path / 'restored.db'}", tmp_path / "restored")
    assert checked.findings == ()


@pytest.mark.soak
def test_a_backup_that_was_out_of_touch_is_none(server, archive):
    def lapse(line):
        if line.startswith("objects"):
            with write(server.registry.engine) as conn:
                conn.execute(sa.update(backup_holds).values(held_until=0))

    with pytest.raises(Conflict, match="out of touch"):
        take(server, archive, lapse)

    with pytest.raises(NotFound):
        archive.find()


def test_a_hold_is_renewed_and_ends(engine):

    def held():
        with read(engine) as conn:
            return conn.execute(sa.select(backup_holds.c.held_until)).scalars().all()

    with holding(engine, renew_s=0.01) as check_hold:
        (first,) = held()
        for _ in range(1_000):
            if held()[0] > first:
                break
            threading.Event().wait(0.01)
        assert held()[0] > first
        check_hold()

    assert held() == []


@pytest.mark.soak
def test_what_is_not_whole_is_said_and_the_rest_is_backed_up(server, archive, tmp_path):
    with read(server.registry.engine) as conn:
        key = conn.execute(sa.select(packs.c.physical_key).order_by(packs.c.id.desc())).scalars().first()
    server.registry.store.delete(key)

    taken = take(server, archive)
    done, checked = restored(archive, f"sqlite:///{tmp_path / 'restored.db'}", tmp_path / "restored")

    assert set(taken.lacking) == {key}
    assert set(done.lacking) == {key}
    assert [finding.kind for finding in checked.findings] == ["missing"]


@pytest.mark.soak
@pytest.mark.parametrize("harm", ["cut", "gone", "flipped"])
def test_a_damaged_backup_opens_no_registry(local, archive, tmp_path, harm):
    take(local, archive)
    url = f"sqlite:///{tmp_path / 'restored.db'}"
    for number, path in enumerate(object_files(tmp_path)):
        raw = path.read_bytes()
        path.chmod(0o600)
        if harm == "gone":
            path.unlink()
        else:
            path.write_bytes(raw[:-1] if harm == "cut" else bytes([raw[0] ^ 1]) + raw[1:])

        with pytest.raises((IntegrityFailure, BlobMissing)):
            verify_backup(archive, archive.find(), quiet)
        with pytest.raises((IntegrityFailure, BlobMissing)):
            restored(archive, url, tmp_path / f"restored-{number}")
        assert not is_open(url)
        path.write_bytes(raw)

    assert restored(archive, url, tmp_path / "restored")[1].findings == ()


def is_open(url):
    engine = create_engine(url)
    with read(engine) as conn:
        has_rows = (
            sa.inspect(conn).has_table("principals") and conn.execute(sa.text("SELECT 1 FROM principals")).first()
        )
    engine.dispose()
    return bool(has_rows)


@pytest.mark.soak
def test_a_manifest_that_was_changed_is_refused(local, archive, tmp_path):
    take(local, archive)
    (path,) = (tmp_path / "backups" / "log" / "backups").iterdir()
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b'"sig":"', b'"sig":"AA'))

    with pytest.raises(IntegrityFailure, match="newest backup"):
        archive.find()


@pytest.mark.soak
def test_a_registry_is_never_laid_over_another(local, archive, tmp_path):
    take(local, archive)
    url = f"sqlite:///{tmp_path / 'restored.db'}"
    restored(archive, url, tmp_path / "restored")

    with pytest.raises(Conflict, match="database is not empty"):
        restored(archive, url, tmp_path / "elsewhere")
    other = open_store((tmp_path / "other").as_uri())
    other.write(f"blobs/{'a' * 64}/00000000-0000-4000-8000-000000000001", [b"x"])
    with pytest.raises(Conflict, match="store is not empty"):
        restored(archive, f"sqlite:///{tmp_path / 'third.db'}", tmp_path / "other")


@pytest.mark.soak
def test_only_the_private_key_opens_an_encrypted_backup(local, place, tmp_path):
    age = pytest.importorskip("pyrage", reason="needs pyrage: pip install 'deltareg[backup]'")
    from deltareg.signing.age_keys import AgeKeys

    pair, other = age.x25519.Identity.generate(), age.x25519.Identity.generate()
    take(local, Archive(place, AgeKeys((str(pair.to_public()),))))
    url, kept = f"sqlite:///{tmp_path / 'restored.db'}", dict[str, bytes]()

    for keys, error in ((AgeKeys(), InvalidInput), (AgeKeys((), (str(other),)), BadSignature)):
        with pytest.raises(error):
            restored(Archive(place, keys), url, tmp_path / "restored")
    opening = Archive(place, AgeKeys((), (str(pair),)))
    _, checked = restored(opening, url, tmp_path / "restored", kept)

    assert checked.findings == ()
    assert kept == KEYS
    assert all(b"tinyllama" not in path.read_bytes() for path in object_files(tmp_path))


def test_a_schema_of_a_later_release_is_not_backed_up_in_part(sqlite_engine, archive, tmp_path):
    with write(sqlite_engine) as conn:
        conn.execute(sa.text("UPDATE alembic_version SET version_num = 'later'"))

    with pytest.raises(Misconfigured, match="schema later"):
        take_backup(sqlite_engine, open_store((tmp_path / "s").as_uri()), archive, signer=KEY, keys=KEYS, report=quiet)


def test_what_a_stream_raises_leaves_encryption_as_it_is():
    age = pytest.importorskip("pyrage", reason="needs pyrage: pip install 'deltareg[backup]'")
    from deltareg.signing.age_keys import AgeKeys

    pair = age.x25519.Identity.generate()
    keys = AgeKeys((str(pair.to_public()),), (str(pair),))

    def broken(parts):
        yield from parts
        raise IntegrityFailure("what lies there is another thing")

    sealed = b"".join(keys.encrypt([b"a" * 100_000, b"", b"b" * 70_000]))
    opened = b"".join(keys.decrypt([sealed[:10], sealed[10:]], is_encrypted=True))
    assert opened == b"a" * 100_000 + b"b" * 70_000
    for made in (keys.encrypt(broken([b"a"])), keys.decrypt(broken([sealed[:-3]]), is_encrypted=True)):
        with pytest.raises(IntegrityFailure, match="another thing"):
            list(made)
    with pytest.raises(BadSignature):
        list(keys.decrypt([sealed[:-3]], is_encrypted=True))


def test_a_segment_changes_where_a_row_does_and_nowhere_else():
    rows = [[number, "x" * 20, None, b"\x00\xff", 1.5, True] for number in range(6_000)]
    whole = list(cut_segments(rows))
    changed = [*rows[:3_000], [3_000, "new", None, b"", 0.1, False], *rows[3_000:]]

    digests = {segment.digest for segment in whole}
    again = [segment for segment in cut_segments(changed) if segment.digest not in digests]

    assert len(again) <= 2 <= len(whole)
    assert [row for segment in whole for row in read_segment(segment.frame, segment.digest)] == rows
