"""What a client asks of privacy, which belongs to the namespace; and the interface switched off."""

import sys

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from deltareg.api.settings import ServerSettings
from tests.hub.conftest import LORA, member


@pytest.fixture
def api(hub):
    hub.line("lora")
    return HfApi(endpoint=hub.url, token=hub.token("read", "push", principal="maker"))


def test_a_new_namespace_is_private_before_anything_is_in_it(hub, api, ask):
    made = api.create_repo("own/mine", private=True)
    api.create_repo("own/mine", private=True, exist_ok=True)

    assert made.repo_id == "own/mine"
    assert ask(hub, "/api/models?author=own", token=member(hub, "reader")).json() == []
    with hub.client() as admin:
        assert admin.namespaces.show("own").visibility == "private"


def test_in_one_that_others_read_nothing_is_private(hub, api):
    with pytest.raises(HfHubHTTPError, match="deltareg namespace visibility team private"):
        api.create_repo("team/other", private=True)
    with pytest.raises(HfHubHTTPError, match="team is internal: others read all in it"):
        api.create_repo("team/lora", private=True, exist_ok=True)
    with pytest.raises(HfHubHTTPError, match="deltareg namespace visibility team public"):
        api.update_repo_settings("team/lora", private=False)
    with pytest.raises(HfHubHTTPError, match="nothing is gated here"):
        api.update_repo_settings("team/lora", gated="manual")

    with hub.client() as admin:
        assert admin.namespaces.show("team").visibility == "internal"


def test_what_is_private_is_told_as_it_is(hub, api):
    """Whoever has a token reads what is internal, so that nobody is to take it for private."""
    api.create_repo("own/mine", private=True)
    api.create_repo("other/ours")

    told = {name: api.repo_info(name).private for name in ("own/mine", "other/ours", "team/lora")}

    assert told == {"own/mine": True, "other/ours": False, "team/lora": False}
    assert [model.private for model in api.list_models(author="team")] == [False]


def test_who_is_alone_in_a_namespace_changes_its_visibility(hub, api):
    owner = HfApi(endpoint=hub.url, token=hub.token("read", "push", "admin", principal="maker"))

    owner.update_repo_settings("team/lora", private=True)
    is_private = api.repo_info("team/lora", revision="v1").private
    with pytest.raises(HfHubHTTPError, match="deltareg namespace visibility team public"):
        api.update_repo_settings("team/lora", private=False)
    owner.update_repo_settings("team/lora", private=False)

    assert is_private
    with hub.client() as admin:
        assert admin.namespaces.show("team").visibility == "public"


def test_what_is_not_alone_in_its_namespace_stays_as_visible_as_that(shelf):
    owner = HfApi(endpoint=shelf.url, token=shelf.admin_token)

    with pytest.raises(HfHubHTTPError, match="team is internal: others read all in it"):
        owner.update_repo_settings("team/lora", private=True)
    with pytest.raises(HfHubHTTPError, match="deltareg namespace visibility team public, which is for all"):
        owner.update_repo_settings("team/lora", private=False)


def test_what_is_there_keeps_its_visibility_when_it_is_created_again(hub, api):
    api.create_repo("own/mine", private=True)

    api.create_repo("own/mine", private=False, exist_ok=True)
    api.create_repo("own/mine", exist_ok=True)

    assert api.repo_info("own/mine").private


def test_settings_that_hold_already_are_accepted(hub, api):
    api.create_repo("own/mine", private=True)

    api.update_repo_settings("own/mine", private=True, gated=False)


def test_a_namespace_that_one_may_not_see_reads_as_one_that_is_taken_by_nobody(shelf, ask):
    stranger = member(shelf, "stranger", "push")
    answers = [
        ask(shelf, "/api/repos/create", token=stranger, method="POST", json={"name": "den/x", "private": private})
        for private in (None, False, True)
    ]

    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.json()["error"] for answer in answers}) == 1
    assert "visib" not in answers[0].text


def test_a_visibility_that_nothing_here_has_is_refused(shelf, ask):
    token = shelf.token("read", "push", principal="owner")

    answer = ask(shelf, "/api/repos/create", token=token, method="POST", json={"name": "a/b", "visibility": "secret"})

    assert (answer.status_code, answer.json()["fix"]) == (422, "say private or public")


def test_servers_answer_clients_of_the_hub_unless_that_is_switched_off(monkeypatch):
    before = ServerSettings().hub

    monkeypatch.setenv("DELTAREG_HUB", "false")

    assert (before, ServerSettings().hub) == (True, False)


@pytest.mark.slow
def test_one_that_was_told_nothing_answers(processes, ask):
    up = processes.api(command=(sys.executable, "-m", "deltareg.api", "up", "--workers", "0")).start()

    answer = ask(up, "/api/models")

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
def test_one_that_is_switched_off_says_so_and_what_to_do(shared_registry, ask, method):
    paths = ("/api/models", "/api/models/team/lora/commit/main", "/api/repos/create", "/api/whoami-v2")

    for path in (*paths, "/api/validate-yaml", "/team/lora/resolve/main/config.json"):
        answer = ask(shared_registry, path, method=method)
        words = answer.headers["X-Error-Message"] if method == "HEAD" else answer.json()["error"]
        assert answer.status_code == 404
        assert "DELTAREG_HUB=false" in words
        assert "deltareg push PATH NS/NAME" in words


def test_front_matter_is_looked_at_without_a_token(shelf, ask):
    def warnings(content):
        body = {"content": content, "repoType": "model"}
        answer = ask(shelf, "/api/validate-yaml", method="POST", json=body)
        assert (answer.status_code, answer.json()["errors"]) == (200, [])
        return [each["message"] for each in answer.json()["warnings"]]

    assert warnings("# no front matter\n") == []
    assert warnings("---\nlicense: mit\n---\n# T\n") == []
    assert len(warnings("---\nlicense: [mit\n---\n# T\n")) == 1
    assert "an alias" in warnings("---\na: &x [1]\nb: *x\n---\n")[0]
    assert ask(shelf, "/api/validate-yaml", method="POST", content=b"\xff").status_code == 422


def test_a_file_that_is_there_already_is_not_sent_again(shelf, ask):
    token, path = member(shelf, "reader"), f"/team/lora/resolve/v1/{next(LORA.iterdir()).name}"
    tag = ask(shelf, path, token=token).headers["ETag"]

    for method in ("GET", "HEAD"):
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = ask(shelf, path, token=token, method=method, headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
        other = ask(shelf, path, token=token, method=method, headers={"If-None-Match": '"other"'})
        assert other.status_code == 200


def test_a_copy_of_what_another_delta_has_is_refused(shelf, ask):
    """A digest is no right: of other lines nobody copies what they only know the digest of."""
    token = shelf.token("read", "push", principal="owner")
    oid = ask(shelf, "/team/full/resolve/v1/config.json", token=token).headers["ETag"].strip('"')
    line = b'{"key": "lfsFile", "value": {"path": "b.json", "algo": "sha256", "oid": "%s"}}' % oid.encode()

    answer = ask(shelf, "/api/models/team/lora/commit/main", token=token, method="POST", content=line)

    assert answer.status_code == 422
    assert "no version of team/lora has a file with the sha256" in answer.json()["error"]
