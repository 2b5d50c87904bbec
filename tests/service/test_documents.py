"""Where documents lie: once for a version or base, none with an upload that is closed."""

import json

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.service import collect
from deltareg.store.memory import MemoryStore
from tests.api.forger import prepare
from tests.conftest import REPOSITORY
from tests.service import rows

SAMPLES = REPOSITORY / "tests" / "samples"


@pytest.fixture
def server(registry_server):
    """Run a registry with a base, on each of both stacks."""
    registry_server.client().push_base(SAMPLES / "bases" / "tinyllama", "tinyllama")
    return registry_server


@pytest.fixture
def http(server):
    return server.http(server.client().config.token)


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
        assert http.put(
            f"/uploads/{upload}/packs/{number}", content=data, headers=digest
        ).is_success
    return upload, {"storage_map": json.dumps(push.storage)}


def test_completing_a_push_again_gives_the_same_version(server, http):
    upload, body = opened(server, http)
    first = http.post(f"/uploads/{upload}:complete", json=body).json()["version"]
    server.client().delete_version(first["ref"])

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
