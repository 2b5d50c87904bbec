"""What is stored and what was saved agree with each other, and with the bytes in the store."""

import shutil
import subprocess
import uuid

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.db.storage import uploads
from deltareg.db.storage.shares import Share
from deltareg.digest import Digest, sha256_of
from deltareg.errors import DiskFull, Forbidden, InvalidInput, NotFound
from deltareg.identity.manifest import Manifest, ManifestFile, Piece
from deltareg.identity.storage_map import Chunk, PackRef, StorageMap, StoredPiece
from deltareg.service.push.shares import measure
from deltareg.service.upkeep import settling
from deltareg.service.upkeep.counts import mend_counts
from deltareg.store import fresh_key
from tests.conftest import REPOSITORY
from tests.service import rows

SAMPLES = REPOSITORY / "tests" / "samples"
DELTAS = SAMPLES / "deltas" / "tinyllama"


def push_base(client):
    client.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")


def push(client, delta, line, base="tinyllama"):
    return client.push(DELTAS / delta, line, base=base).version


@pytest.fixture
def server(both_stacks):
    """Run a registry with a base, on each of both stacks."""
    both_stacks.step("base", lambda: push_base(both_stacks.client()))
    return both_stacks


@pytest.fixture
def local(local_registry):
    """Run a registry with a base, on SQLite and a folder."""
    local_registry.step("base", lambda: push_base(local_registry.client()))
    return local_registry


def in_store(server):
    """Add up the objects of the store itself; of a folder, its files as well."""
    size = sum(size for _, size in server.registry.store.keys("blobs/"))
    folder = server.folder / "blobs"
    if folder.is_dir():
        assert size == sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return size


def sums_up(figures):
    """Whether what is stored is the logical bytes, less what was saved, and framing."""
    saved = figures.saved_by_references + figures.saved_by_dedup + figures.saved_by_entropy
    return figures.pack_bytes == figures.logical_bytes - saved + figures.framing_bytes


def agreed(server):
    """Look at everything; check that all figures agree, and give the report."""
    client = server.client(("read",))
    report = client.storage.stats()
    store, parts = report.store, report.parts
    assert store is not None
    assert store.total_bytes == in_store(server)
    assert store.total_bytes == store.pack_bytes + store.garbage_bytes + store.upload_bytes
    assert store.pack_bytes == report.total.pack_bytes
    beside = sum((part.garbage_bytes or 0) + (part.upload_bytes or 0) for part in parts)
    assert store.total_bytes == sum(part.pack_bytes for part in parts) + beside
    assert sum(kind.pack_bytes for kind in report.kinds) == report.total.pack_bytes
    for part in parts:
        if part.of == "namespace":
            check_namespace(client, part)
    assert all(sums_up(figures) for figures in (report.total, *parts, *report.kinds))
    return report


def check_namespace(client, part):
    inside = client.storage.stats(part.name)
    assert inside.total.pack_bytes == part.pack_bytes
    assert sum(line.pack_bytes for line in inside.parts) == part.pack_bytes
    for line in inside.parts:
        versions = client.storage.stats(line.name)
        assert versions.total.model_dump() == {k: getattr(line, k) for k in FIGURES}
        assert all(sums_up(version) for version in versions.parts)
        assert sum(v.logical_bytes for v in versions.parts) == line.logical_bytes


FIGURES = (
    "versions",
    "bases",
    "logical_bytes",
    "pack_bytes",
    "manifest_bytes",
    "map_bytes",
    "ratio",
    "saved_by_references",
    "saved_by_dedup",
    "saved_by_entropy",
    "unchanged_bytes",
    "framing_bytes",
)


def test_the_figures_agree_with_the_store_through_the_life_of_versions(server):
    client = server.client()

    seen = [agreed(server)]
    for delta, line in (("full", "team/sft"), ("lora", "team/chat"), ("lora", "other/chat")):
        push(client, delta, line)
        seen.append(agreed(server))
    push(client, "lora", "team/again", base="team/sft:v1")
    seen.append(agreed(server))
    client.versions.delete("team/chat:v1")
    seen.append(agreed(server))
    client.storage.collect(dry_run=False, grace_s=0)
    seen.append(agreed(server))

    assert [report.total.versions for report in seen] == [0, 1, 2, 3, 4, 3, 3]
    assert [report.total.bases for report in seen] == [1, 1, 1, 1, 2, 2, 2]
    stored = [report.total.pack_bytes for report in seen]
    assert stored[:5] == sorted(set(stored[:5]))
    assert seen[6].store.garbage_bytes == 0
    assert {part.name for part in seen[6].parts} == {"bases", "team", "other"}


def test_equal_bytes_count_for_the_oldest_version_that_is_left(local):
    client = local.client()
    push(client, "lora", "team/a")
    push(client, "lora", "team/b")
    first, second = (client.storage.stats(line).total for line in ("team/a", "team/b"))

    client.versions.delete("team/a:v1")
    left = client.storage.stats("team/b").total

    assert first.pack_bytes == left.pack_bytes > second.pack_bytes == 0
    assert second.saved_by_dedup == second.logical_bytes == left.logical_bytes
    assert (second.unchanged_bytes, left.saved_by_dedup) == (0, 0)


def test_nothing_is_shared_between_namespaces(local):
    client = local.client()
    push(client, "lora", "team/a")
    push(client, "lora", "other/a")

    one, other = (client.storage.stats(name).total for name in ("team", "other"))

    assert one.model_dump(exclude={"manifest_bytes"}) == other.model_dump(exclude={"manifest_bytes"})


def test_what_is_encoded_against_the_base_is_saved_by_references(local):
    client = local.client()
    push(client, "full", "team/sft", base=SAMPLES / "bases" / "tinyllama")

    found = client.storage.stats("team/sft:v1").total

    assert found.saved_by_references > found.saved_by_entropy > 0
    assert found.framing_bytes > 0
    assert found.ratio == pytest.approx(
        found.logical_bytes / (found.pack_bytes + found.manifest_bytes + found.map_bytes)
    )


def test_the_documents_are_counted_as_they_lie_in_the_database(server):
    client = server.client()
    push(client, "lora", "team/a")
    push(client, "full", "team/a")
    names = ("manifest", "storage_map")
    columns = [sa.type_coerce(table.c[name], sa.LargeBinary) for table in (t.versions, t.bases) for name in names]
    with read(server.registry.engine) as conn:
        stored = [conn.execute(sa.select(column)).scalars().all() for column in columns]

    of_line, of_all = (client.storage.stats(name).total for name in ("team/a", None))

    sizes = [sum(map(len, documents)) for documents in stored]
    assert [of_line.manifest_bytes, of_line.map_bytes] == sizes[:2]
    assert of_all.manifest_bytes == sizes[0] + sizes[2]
    assert of_all.map_bytes == sizes[1] + sizes[3]


def test_what_nobody_measured_is_measured_by_a_recount(server):
    client = server.client()
    push(client, "full", "team/sft")
    push(client, "lora", "team/chat", base="team/sft:v1")
    before = agreed(server)
    with write(server.registry.engine) as conn:
        conn.execute(sa.delete(t.version_shares))
        conn.execute(sa.delete(t.base_shares))

    mend_counts(server.registry.engine)
    again = agreed(server)

    assert again == before


def test_shares_go_with_the_packs(local):
    client = local.client()
    push(client, "lora", "team/a")
    client.versions.delete("team/a:v1")

    client.storage.collect(dry_run=False, grace_s=0)

    with read(local.registry.engine) as conn:
        assert conn.execute(sa.select(t.version_shares)).all() == []


def test_pushes_in_flight_and_their_leftovers_are_told_apart(server):
    engine, store = server.registry.engine, server.registry.store
    maker = rows.caller(engine)
    for data, state in ((b"open", "open"), (b"aborted!", "aborted")):
        upload_id = rows.upload(engine, maker)
        rows.send(engine, store, upload_id, data)
        with write(engine) as conn:
            key = fresh_key(sha256_of(b"writing"), attempt=uuid.uuid4())
            uploads.add_upload_pack(conn, upload_id, number=1, physical_key=key)
            if state == "aborted":
                uploads.close_upload(conn, upload_id, state=state)
            else:
                store.write(key, [b"is there, not yet noted"])

    report = agreed(server)

    assert report.store is not None
    assert report.store.upload_bytes == len(b"openis there, not yet noted")
    assert report.store.garbage_bytes == len(b"aborted!")
    assert {p.name: p.upload_bytes for p in report.parts} == {"bases": 0, "lab": report.store.upload_bytes}


def test_a_marked_pack_counts_until_its_object_is_gone(local):
    engine, store = local.registry.engine, local.registry.store
    client = local.client()
    push(client, "lora", "team/a")
    with write(engine) as conn:
        conn.execute(sa.delete(t.version_packs))
        conn.execute(sa.update(t.packs).where(t.packs.c.scope != "bases").values(state="deleting"))

    marked = agreed(local)
    with read(engine) as conn:
        gone = sa.select(t.packs.c.physical_key).where(t.packs.c.state == "deleting")
        for key in conn.execute(gone).scalars():
            store.delete(key)
    after = agreed(local)

    assert marked.store is not None
    assert after.store is not None
    assert marked.store.garbage_bytes > after.store.garbage_bytes == 0


@pytest.mark.skipif(shutil.which("du") is None, reason="needs du")
def test_the_sum_is_what_du_says_of_the_files(local):
    client = local.client()
    push(client, "full", "team/sft")
    push(client, "lora", "team/chat")
    client.versions.delete("team/chat:v1")
    blobs = local.folder / "blobs"

    found = client.storage.stats().store

    command = ["find", str(blobs), "-type", "f", "-exec", "du", "--apparent-size", "-b", "{}", "+"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert found is not None
    assert found.total_bytes == sum(int(line.split()[0]) for line in told.splitlines())


def test_the_largest_parts_are_listed_and_the_others_are_one_row(local):
    client = local.client()
    for name in ("lora", "lora_v2", "full"):
        push(client, name, f"team/{name.replace('_', '-')}")

    report = client.storage.stats("team", limit=1)

    assert [(part.of, part.name) for part in report.parts] == [("line", "team/full"), ("rest", "2")]
    assert sum(part.pack_bytes for part in report.parts) == report.total.pack_bytes


def test_of_a_line_the_largest_versions_are_listed_and_the_others_are_one_row(local):
    client = local.client()
    for delta in ("lora_qv", "lora", "full"):
        push(client, delta, "team/a")

    every, two = (client.storage.stats("team/a", limit=limit) for limit in (50, 2))

    assert [part.name for part in every.parts] == ["team/a:v3", "team/a:v2", "team/a:v1"]
    assert [(part.of, part.name) for part in two.parts] == [
        ("version", "team/a:v3"),
        ("version", "team/a:v2"),
        ("rest", "1"),
    ]
    assert two.parts[2].pack_bytes == every.parts[2].pack_bytes
    assert two.parts[2].logical_bytes == every.parts[2].logical_bytes
    assert two.total == every.total


def test_an_empty_registry_has_figures(local_registry):
    report = local_registry.client().storage.stats()

    assert report.total.ratio is None
    assert report.store is not None
    assert (report.store.total_bytes, report.parts, report.kinds) == (0, [], [])


@pytest.mark.parametrize(
    ("of", "error"),
    [
        ("nobody", NotFound),
        ("team/none", NotFound),
        ("team/a:v9", NotFound),
        ("team/a:v1", NotFound),
        ("No Namespace", InvalidInput),
        ("team/a/b/c", InvalidInput),
    ],
)
def test_what_is_not_there_is_named(local, of, error):
    client = local.client()
    push(client, "lora", "team/a")
    client.versions.delete("team/a:v1")

    with pytest.raises(error):
        client.storage.stats(of)


def test_one_part_can_be_asked_for(local):
    answer = local.http(local.token("read")).get("/stats/storage", params={"namespace": "team", "line": "team/a"})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


def test_figures_are_told_where_nothing_can_be_written(local, monkeypatch):
    client = local.client()
    push(client, "lora", "team/a")
    before = client.storage.stats("team/a").total

    def fail(_engine):
        raise DiskFull("the disk of the database is full")

    monkeypatch.setattr(settling, "settle_some_storage", fail)
    push(client, "lora_qv", "team/b")

    assert client.storage.stats("team/a").total == before


def test_reading_is_enough_and_needed(local):
    local.client(("read",)).storage.stats()

    with pytest.raises(Forbidden):
        local.client(("push",)).storage.stats()


def piece(name, chunks, *, reference=None):
    return StoredPiece(Digest("blake3", name * 64), reference, chunks)


def test_pieces_that_only_serve_others_and_places_that_come_twice_have_no_share():
    one, two = (Digest("sha256", name * 64) for name in "12")
    chunks = (Chunk(one, 8, 30, 4, 100, 0), Chunk(two, 8, 60, 2, 100, 0))
    own = piece("a", chunks, reference=Digest("blake3", "c" * 64))
    twin = piece("b", chunks[1:])
    link = piece("c", (Chunk(two, 68, 50, 0, 100, 0),))
    storage = StorageMap((PackRef(one, 100), PackRef(two, 200)), {p.digest: p for p in (own, twin, link)})
    files = tuple(
        ManifestFile(name, len(name), Digest("sha256", "0" * 64), Piece(p.digest, "U8", (9,), 9), False)
        for name, p in (("a", own), ("b", twin))
    )

    found = measure(Manifest("lora", "", False, None, {}, (), files), storage)

    assert found == {
        str(one): Share(referenced_bytes=100, referenced_payload=30),
        str(two): Share(alone_bytes=100, alone_payload=60),
    }
