"""What stands in the answers: headers, ranges, and who is told what."""

import hashlib
import re
from contextlib import contextmanager

import pytest
from fastapi.routing import iter_route_contexts

from deltareg.api.hub import sending
from deltareg.api.hub.routes import router
from deltareg.client import Client
from tests.hub.conftest import FULL, LORA, LORA_2, member

FILE = "/team/full/resolve/v1/model-00003-of-00004.safetensors"
RAW = (FULL / "model-00003-of-00004.safetensors").read_bytes()
SIZE = len(RAW)
BAD_TOKEN = "Invalid credentials in Authorization header"


@pytest.fixture(scope="module")
def reader(shelf):
    return member(shelf, "reader")


@pytest.fixture
def get(shelf, reader, ask):
    return lambda path, **given: ask(shelf, path, **{"token": reader} | given)


def test_a_file_comes_with_what_clients_want_of_it(get):
    head, body = get(FILE, method="HEAD"), get(FILE)
    commit = get("/api/models/team/full/revision/v1").json()["sha"]

    tag = f'"{hashlib.sha256(RAW).hexdigest()}"'
    for answer in (head, body):
        assert answer.status_code == 200
        assert answer.headers["ETag"] == answer.headers["X-Linked-ETag"] == tag
        assert answer.headers["X-Repo-Commit"] == commit
        assert answer.headers["Content-Length"] == answer.headers["X-Linked-Size"] == str(SIZE)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not {"Location", "X-Xet-Hash", "Content-Encoding"} & set(answer.headers)
    assert (head.content, body.content) == (b"", RAW)
    assert re.fullmatch("[0-9a-f]{40}", commit)


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-", 100, SIZE),
        ("bytes=-9", SIZE - 9, SIZE),
        ("bytes=5-999999999", 5, SIZE),
        (f"bytes={SIZE - 1}-{SIZE}", SIZE - 1, SIZE),
    ],
)
def test_a_range_of_it(get, asked, begin, end):
    answer = get(FILE, headers={"Range": asked})

    assert answer.status_code == 206
    assert answer.content == RAW[begin:end]
    assert answer.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{SIZE}"


def test_a_range_that_lies_behind_it_or_is_of_something_else(get):
    behind = get(FILE, headers={"Range": f"bytes={SIZE}-"})
    other = get(FILE, headers={"Range": "bytes=5-9", "If-Range": '"other"'})
    several = get(FILE, headers={"Range": "bytes=5-9,20-30"})

    assert (behind.status_code, behind.headers["Content-Range"]) == (416, f"bytes */{SIZE}")
    assert [other.status_code, several.status_code] == [200, 200]


@pytest.mark.parametrize("revision", ["v1", "prod~1", "prod%231", "refs%2Ftags%2Fv1"])
def test_revisions_come_with_their_special_letters_escaped(get, revision):
    told = get(f"/api/models/team/lora/revision/{revision}").json()

    assert told["sha"] == get("/api/models/team/lora/revision/v1").json()["sha"]


def test_a_digest_may_be_written_in_part(shelf, get):
    digest = shelf.client(("read",)).show("team/lora:v1").digest

    found = {
        get(f"/api/models/team/lora/revision/{text}").json()["sha"]
        for text in (digest.replace(":", "%3A"), digest[7:47], digest[7:14], digest[:18])
    }

    assert found == {digest[7:47]}
    assert get(f"/api/models/team/lora/revision/{digest[7:13]}").status_code == 404


def test_a_folder_of_a_tree(get):
    def entries(path):
        return get(f"/api/models/team/lora/tree/v1{path}").json()

    tops = {each["path"]: each["type"] for each in entries("")}

    assert tops == {path.name: "file" for path in LORA.iterdir()}
    missing = get("/api/models/team/lora/tree/v1/additional_chat_templates?recursive=false")
    assert (missing.status_code, missing.headers["X-Error-Code"]) == (404, "EntryNotFound")


def test_absence_of_a_file_may_be_kept_by_its_commit(get):
    answer = get("/team/lora/resolve/v1/tokenizer.json", method="HEAD")

    assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert answer.headers["X-Repo-Commit"] == get("/api/models/team/lora/revision/v1").json()["sha"]
    assert "it has adapter_config.json" in answer.headers["X-Error-Message"]


def test_a_body_says_what_is_wrong_once(get):
    body = get("/api/models/team/lora/revision/none").json()

    assert body["error"].startswith("team/lora has no channel 'none'\nfix: ")
    assert body["errors"] == []
    assert (body["code"], body["status"]) == ("not_found", 404)


def routes():
    return sorted(
        (method, context.path) for context in iter_route_contexts(router.routes) for method in context.methods or ()
    )


@pytest.mark.parametrize("token", [None, "hf_somebodys", "drg_pat_none_000000"])
def test_nothing_is_told_to_nobody(shelf, ask, token):
    names = {"ns": "team", "name": "lora", "revision": "v1", "path": "adapter_config.json", "folder": "x"}
    assert len(routes()) > 15

    for method, route in routes():
        path = route.replace(":path", "").format(**names)
        answer = ask(shelf, path, token=token, method=method)
        assert answer.status_code == 401, path
        assert answer.headers["X-Error-Message"] == BAD_TOKEN
        assert "deltareg token create --for me" in answer.headers["X-HF-Warning"]


def test_what_is_private_reads_like_what_never_was(shelf, get):
    owner = shelf.token("read", principal="owner")
    assert get("/api/models/den/secret/revision/v1", token=owner).status_code == 200

    for path in ("/api/models/{}", "/api/models/{}/tree/v1", "/{}/resolve/v1/adapter_config.json"):
        told = []
        for repository in ("den/secret", "den/none", "nowhere/none"):
            answer = get(path.format(repository))
            assert answer.status_code == 404
            # Only who asks whether there is one is told that there is none: others have a cache.
            assert answer.headers.get("X-Error-Code") == ("RepoNotFound" if path == "/api/models/{}" else None)
            told.append(answer.json()["error"].replace(repository, "R"))
        assert len(set(told)) == 1


def test_who_may_know_of_a_delta_and_not_read_it_is_told_so(get, shelf):
    pusher = member(shelf, "only-push", "push", also_read=False)
    with Client(shelf._config(shelf.admin_token)) as admin:
        admin.members.add("only-push", "pusher", namespace="team")

    answer = get("/api/models/team/lora", token=pusher)

    assert answer.status_code == 403
    assert answer.headers["X-Error-Message"].startswith("this token of only-push does not allow")


def test_paths_are_asked_about_by_a_form_or_by_json(get):
    path, wanted = "/api/models/team/lora/paths-info/v2", ["adapter_config.json", "none"]

    form = get(path, method="POST", data={"paths": wanted, "expand": "true"}).json()
    json = get(path, method="POST", json={"paths": wanted, "expand": True}).json()
    junk = [get(path, method="POST", content=raw).json() for raw in (b"", b"\xff&&=", b"paths")]

    assert form == json
    assert [each["path"] for each in form] == ["adapter_config.json"]
    assert form[0]["lfs"]["oid"] == hashlib.sha256((LORA_2 / "adapter_config.json").read_bytes()).hexdigest()
    assert junk == [[], [], []]


def test_a_path_that_is_no_text_is_refused(shelf, ask):
    token = member(shelf, "trainer", "push")
    body = b'{"files": [{"path": "\\ud800.json", "size": 1}]}'

    answer = ask(shelf, "/api/models/trainer/odd/preupload/main", token=token, method="POST", content=body)

    assert answer.status_code == 422
    assert "no text" in answer.json()["error"]


@contextmanager
def with_state(server, **values):
    """Let a server be made otherwise for a while."""
    state = server.app.state.server
    before = {name: getattr(state, name) for name in values}
    for name, value in values.items():
        setattr(state, name, value)
    yield
    for name, value in before.items():
        setattr(state, name, value)


def test_main_may_be_the_newest_for_all(shelf, get):
    before = get("/api/models/team/full")

    with with_state(shelf, hub_main="newest"):
        after = get("/api/models/team/full")

    assert (before.status_code, before.headers["X-Error-Code"]) == (404, "RevisionNotFound")
    assert after.json()["sha"] == get("/api/models/team/full/revision/v1").json()["sha"]


def test_what_is_public_is_read_by_anybody_where_that_is_allowed(shelf, ask):
    path = "/team/lora/resolve/v1/adapter_model.safetensors"

    with with_state(shelf, anonymous_reading=True):
        before, nobody = ask(shelf, "/api/models/team/lora"), ask(shelf, "/api/whoami-v2")
        with Client(shelf._config(shelf.admin_token)) as admin:
            admin.namespaces.change("team", visibility="public")
            told, file = ask(shelf, "/api/models/team/lora"), ask(shelf, path)
            admin.namespaces.change("team", visibility="internal")

    assert before.status_code == 404
    assert "read without a token" in before.json()["error"]
    assert told.json()["private"] is False
    assert file.content == (LORA / "adapter_model.safetensors").read_bytes()
    assert nobody.status_code == 401


def test_nothing_of_this_is_there_unless_it_is_asked_for(shared_registry, ask):
    token = shared_registry.token("read")

    for path in ("/api/models/team/lora", "/team/lora/resolve/v1/adapter_config.json"):
        assert ask(shared_registry, path, token=token).status_code == 404


def test_a_base_with_a_name_of_one_part_is_asked_for_as_any(get):
    told, allowed = get("/api/models/tinyllama"), get("/api/models/tinyllama/auth-check")
    refs = get("/api/models/tinyllama/refs").json()

    assert allowed.json() == told.json()
    assert [each["targetCommit"] for each in refs["branches"]] == [told.json()["sha"]]


def test_a_delta_may_be_called_as_a_word_of_an_address(shelf, get):
    with shelf.client() as client:
        for name in ("refs", "auth-check"):
            client.push(LORA, f"words/{name}", base="tinyllama")

            told = get(f"/api/models/words/{name}/revision/v1").json()
            assert get(f"/api/models/words/{name}", token=shelf.admin_token).json() == told


@pytest.mark.parametrize(
    "text",
    [
        "%ff",
        "%F0%9F%98%80",
        "a@b",
        "%2e%2e",
        "x" * 300,
        "v0",
        "sha256%3Aff",
        "%20",
        "a%2Fb",
        "prod%23x",
        "1.2.3%40prod",
        "%5Cud800",
        "%25",
    ],
)
def test_odd_text_is_found_nowhere(get, text):
    for path in (
        f"/api/models/{text}",
        f"/api/models/team/{text}",
        f"/api/models/{text}/lora",
        f"/api/models/team/lora/revision/{text}",
        f"/api/models/org/Tiny-Llama/revision/{text}",
        f"/api/models/team/lora/tree/v1/{text}",
        f"/team/lora/resolve/v1/{text}",
        f"/team/lora/resolve/{text}/adapter_config.json",
        f"/{text}/resolve/main/config.json",
    ):
        answer = get(path)
        assert answer.status_code == 404, (path, answer.text)
        assert get(path, method="HEAD").status_code in {404, 405}


def test_who_comes_when_all_places_are_taken_is_asked_to_come_again(shelf, get, monkeypatch):
    monkeypatch.setattr(sending, "_PLACES", 0)
    monkeypatch.setattr(sending, "_PATIENCE_S", 0.05)

    with with_state(shelf, hub_places=sending.SendPool(1)):
        answer = get(FILE)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "sends as many files as it can" in answer.json()["error"]
    assert get(FILE).content == RAW


def test_a_file_that_is_read_is_a_pull_and_a_look_at_its_headers_none(shelf, ask):
    token, path = member(shelf, "puller"), "/team/lora/resolve/v1/adapter_config.json"
    with Client(shelf._config(shelf.admin_token)) as admin:
        ask(shelf, path, token=token, method="HEAD")
        before = admin.versions.pulls("team/lora:v1")
        ask(shelf, path, token=token)
        after = admin.versions.pulls("team/lora:v1")

    assert "puller" not in {each.principal for each in before.by}
    assert "puller" in {each.principal for each in after.by}
    assert after.pulls == before.pulls + 1
