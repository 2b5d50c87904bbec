"""Resolving: one answer whatever the way to it, and never one that does not hold any more."""

import itertools
import threading
from contextlib import contextmanager

import httpx
import pytest

from deltareg.api.app import create_app
from deltareg.db.session import create_engine, read
from deltareg.refs import Ref
from deltareg.service.authority.grants import grants_of
from deltareg.service.describe import describe_versions
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import find_version
from deltareg.wire import API, VersionDetail, VersionInfo
from tests.fixtures.registries import serving

LINE = "team/lora"
REFS = [LINE, f"{LINE}:v1", f"{LINE}:v2", f"{LINE}@prod", f"{LINE}@prod#1", f"{LINE}@prod~1", f"{LINE}@dev"]


@pytest.fixture
def served(both_databases):
    """Have two versions, both on `prod` one after the other, the first on `dev` still."""
    client = both_databases.line("lora", "lora_v2")
    client.promote(f"{LINE}:v1", "dev")
    return both_databases


@contextmanager
def replica(server):
    """Run another server over the same database and store, and give a client for its address."""
    engine = create_engine(server.registry.engine.url)
    with (
        serving(create_app(Registry(engine, server.registry.store))) as url,
        httpx.Client(base_url=url + API, timeout=30) as http,
    ):
        yield http
    engine.dispose()


READER = Caller("reader", 1, None, grants_of(["read"]))


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def resolve(http, ref, **asked):
    return http.get("/resolve", params={"ref": ref, **asked})


@pytest.mark.parametrize("bare", ["newest", "prod"])
def test_every_way_to_a_version_shows_what_lists_show(served, bare):
    http = served.http(served.token("read"))
    with read(served.registry.engine) as conn:
        for ref in REFS:
            row = find_version(conn, READER, Ref.parse(ref), bare=bare)
            shown = describe_versions(conn, [row])[0]

            whole = VersionDetail.model_validate(resolve(http, ref, bare=bare).json())
            slim = VersionInfo.model_validate(resolve(http, ref, bare=bare, slim=True).json())

            assert slim == shown
            assert VersionInfo.model_validate(whole.model_dump()) == shown
            assert (whole.tensors > 0, whole.stack) == (True, ["tinyllama"])
            assert whole.files


def test_revocation_and_verdict_are_those_of_now(served):
    http, client = served.http(served.token("read")), served.client()
    before = resolve(http, f"{LINE}@prod").json()

    client.versions.revoke(f"{LINE}:v2", reason="leaks", even_if_served=True)
    after = resolve(http, f"{LINE}@prod").json()

    assert (before["verdict"], before["revocation"]) == ("pass", None)
    assert after["is_revoked"]
    assert (after["revocation"]["actor"], after["revocation"]["reason"]) == ("ada", "leaks")


def test_a_channel_that_one_server_moved_is_moved_for_the_other_at_once(served):
    client, token = served.client(), served.token("read")
    with replica(served) as http:
        for version in (1, 2, 1, 2):
            client.rollback(LINE, "prod", version=version)
            found = http.get("/resolve", params={"ref": f"{LINE}@prod"}, headers=bearer(token))

            assert found.json()["version"] == version


def test_nobody_sees_a_channel_go_back_while_it_moves(served):
    client, token = served.client(), served.token("read")
    moves, is_done = itertools.cycle((1, 2)), threading.Event()
    seen: list[tuple[int, int]] = []

    def watch(http):
        while not is_done.is_set():
            before = revision(http, token)
            found = http.get("/resolve", params={"ref": f"{LINE}@prod"}, headers=bearer(token))
            after = revision(http, token)
            if before == after:  # nothing moved meanwhile, so there is one right answer
                seen.append((before, found.json()["version"]))

    with replica(served) as http:
        watching = threading.Thread(target=watch, args=(http,))
        watching.start()
        served_by = {}
        for _ in range(12):
            version = next(moves)
            served_by[client.rollback(LINE, "prod", version=version).revision] = version
        is_done.set()
        watching.join()

    assert seen
    assert all(version == served_by.get(number, version) for number, version in seen)


def test_a_token_that_one_server_revoked_is_nobodys_at_the_other_at_once(served):
    admin = served.client()
    with replica(served) as http:
        for _ in range(3):
            token = served.token("read", principal="bob")
            token_id = http.get("/whoami", headers=bearer(token)).json()["token_id"]
            first = http.get("/resolve", params={"ref": f"{LINE}@prod"}, headers=bearer(token))

            admin.tokens.revoke(token_id)
            then = http.get("/resolve", params={"ref": f"{LINE}@prod"}, headers=bearer(token))
            kept = bearer(token) | {"If-None-Match": first.headers["ETag"]}

            assert (first.status_code, then.status_code) == (200, 401)
            status = http.get("/resolve", params={"ref": f"{LINE}@prod"}, headers=kept).status_code
            assert status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer drg_pat_x_y"},
        {"Authorization": f"Bearer drg_pat_{'a' * 43}_000000"},
    ],
)
def test_nobody_resolves_without_a_token(shared_registry, headers):
    with httpx.Client(base_url=shared_registry.url + API, headers=headers) as http:
        found = resolve(http, f"{LINE}@prod")

    assert found.status_code == 401
    assert found.json()["code"] == "unauthenticated"
    assert found.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, "query.ref: Field required"),
        ({"ref": LINE, "bare": "oldest"}, "query.bare: Input should be 'newest' or 'prod'"),
        ({"ref": LINE, "slim": "perhaps"}, "query.slim: Input should be a valid boolean"),
    ],
)
def test_what_cannot_be_read_of_a_question_is_told(shared_registry, asked, told):
    found = shared_registry.http(shared_registry.token("read")).get("/resolve", params=asked)

    assert found.status_code == 422
    assert found.json()["code"] == "invalid_input"
    assert found.json()["detail"].startswith(told)


def test_a_token_that_may_not_read_resolves_nothing(shared_registry):
    http = shared_registry.http(shared_registry.token("serve"))

    assert resolve(http, f"{LINE}@prod").status_code == 403
    assert resolve(http, f"{LINE}@prod", slim=True).status_code == 403


def revision(http, token):
    path = f"/deltas/{LINE}/channels/prod"
    return int(http.get(path, headers=bearer(token)).json()["revision"])
