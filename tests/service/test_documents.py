"""Where documents lie: once for a version or base, none with an upload that is closed."""

import json

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.db.sql.document import pack_document, pack_map
from deltareg.service.upkeep import collect, fsck
from deltareg.store.memory import MemoryStore
from tests.api.forger import prepare
from tests.conftest import REPOSITORY
from tests.e2e.test_data_path import same_files
from tests.service import rows

SAMPLES = REPOSITORY / "tests" / "samples"
LORA = SAMPLES / "deltas" / "tinyllama" / "lora"


@pytest.fixture
def server(registry_server):
    """Run a registry with a base, on each of both stacks."""
    registry_server.client().bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
    return registry_server


@pytest.fixture
def http(server):
    return server.http(server.client().config.token)


def unread(engine, table, name):
    """Give what a column of documents holds, as it lies there."""
    with read(engine) as conn:
        return list(conn.execute(sa.select(sa.type_coerce(table.c[name], sa.LargeBinary))).scalars())


def left_behind(engine, state="complete"):
    """Give the manifests of uploads of a state."""
    with read(engine) as conn:
        query = sa.select(t.uploads.c.manifest).where(t.uploads.c.state == state)
        return list(conn.execute(query).scalars())


def opened(server, http, target="team/forged"):
    """Send all that a push sends but for the end: its upload and its storage map."""
    push = prepare(server.client())
    push.target = target
    body = {"subject": "delta", "target": target, "manifest": json.dumps(push.manifest)}
    upload = http.post("/uploads", json=body).json()["id"]
    for number, data in enumerate(push.packs):
        digest = {"X-Content-Digest": push.storage["packs"][number][0]}
        assert http.put(f"/uploads/{upload}/packs/{number}", content=data, headers=digest).is_success
    return upload, {"storage_map": json.dumps(push.storage)}


def test_a_version_and_a_base_have_each_document_once_and_compressed(server, http):
    server.client().push(LORA, "team/lora", base="tinyllama")

    for path, table in (("/deltas/team/lora/versions/1", t.versions), ("/bases/tinyllama", t.bases)):
        manifest, storage = (http.get(f"{path}/{name}").content for name in ("manifest", "storage"))
        engine = server.registry.engine
        assert unread(engine, table, "manifest") == [pack_document(manifest)]
        assert unread(engine, table, "storage_map") == [pack_map(storage, manifest)]
        assert len(pack_document(manifest)) < len(manifest) / 2
    assert left_behind(server.registry.engine) == [None, None]


def test_completing_a_push_again_gives_the_same_version(server, http):
    upload, body = opened(server, http)
    first = http.post(f"/uploads/{upload}:complete", json=body).json()["version"]
    server.client().versions.delete(first["ref"])

    again = http.post(f"/uploads/{upload}:complete", json=body)

    assert left_behind(server.registry.engine) == [None, None]
    assert again.is_success
    assert again.json()["version"]["ref"] == first["ref"]


def test_completing_a_base_again_gives_the_same_base(server, http):
    with read(server.registry.engine) as conn:
        upload = conn.execute(sa.select(t.uploads.c.id)).scalar_one()
    storage = http.get("/bases/tinyllama/storage").text

    answers = [
        http.post(f"/uploads/{upload}:complete-base", json={"storage_map": storage}),
        http.post(f"/uploads/{upload}:register-base"),
    ]

    shown = http.get("/bases/tinyllama").json()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert {answer.json()["manifest_digest"] for answer in answers} == {shown["manifest_digest"]}
    assert not any(answer.json()["created"] for answer in answers)


def test_an_upload_that_was_given_up_has_no_manifest_and_cannot_be_completed(server, http):
    upload, body = opened(server, http)
    assert http.delete(f"/uploads/{upload}").status_code == 204

    answer = http.post(f"/uploads/{upload}:complete", json=body)

    assert left_behind(server.registry.engine, "aborted") == [None]
    assert (answer.status_code, answer.json()["code"]) == (409, "upload_closed")


def test_collection_leaves_no_manifest_with_closed_uploads(engine):
    store, maker = MemoryStore(), rows.caller(engine)
    for state in ("complete", "aborted"):
        upload_id = rows.upload(engine, maker)
        with write(engine) as conn:  # as the release before left them
            of_it = t.uploads.c.id == upload_id
            conn.execute(sa.update(t.uploads).where(of_it).values(state=state))
    rows.upload(engine, maker)

    collect.run(engine, store, grace_s=3600)
    kept = left_behind(engine, "open")
    collect.run(engine, store, grace_s=0)

    assert kept == [b"{}"]
    assert left_behind(engine) == left_behind(engine, "aborted") == [None]
    assert left_behind(engine, "expired") == [None]


def test_versions_and_bases_from_before_are_served_checked_and_counted(server, http, tmp_path):
    client, engine = server.client(), server.registry.engine
    client.push(LORA, "team/lora", base="tinyllama")
    raw = {}
    for path, table in (("/deltas/team/lora/versions/1", t.versions), ("/bases/tinyllama", t.bases)):
        manifest, storage = (http.get(f"{path}/{name}").content for name in ("manifest", "storage"))
        as_it_is = sa.literal(manifest, sa.LargeBinary)
        with write(engine) as conn:
            conn.execute(sa.update(table).values(manifest=as_it_is, storage_map=storage))
        raw[table.name] = [len(manifest), len(storage)]

    total = client.storage.stats("team/lora:v1").total

    assert [total.manifest_bytes, total.map_bytes] == raw["versions"]
    assert fsck.check(engine, server.registry.store, read_data=True).findings == ()
    client.pull("team/lora:v1", tmp_path / "out")
    assert same_files(LORA, tmp_path / "out")


@pytest.mark.parametrize(("column", "kind"), [("manifest", "manifest"), ("storage_map", "map")])
def test_a_damaged_document_is_named_by_fsck_and_refused_when_read(local_registry, column, kind):
    client, engine = local_registry.client(), local_registry.registry.engine
    client.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
    client.push(LORA, "team/lora", base="tinyllama")
    (stored,) = unread(engine, t.versions, column)
    damaged = sa.literal(stored[:-9] + bytes(9), sa.LargeBinary)
    with write(engine) as conn:
        conn.execute(sa.update(t.versions).values({column: damaged}))

    findings = fsck.check(engine, local_registry.registry.store, read_data=False).findings
    path = "manifest" if kind == "manifest" else "storage"
    answer = local_registry.http(client.config.token).get(f"/deltas/team/lora/versions/1/{path}")

    assert [(f.kind, f.subject) for f in findings] == [(kind, "team/lora:v1")]
    assert answer.json()["code"] == "digest"
