"""Tags are labels: put on by a client, a revision from then on, and never in the way of other names."""

import json

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from tests.hub.conftest import member


@pytest.fixture
def line(hub):
    """Give a registry with `team/lora:v1` and `:v2`, and the api of who owns it."""
    hub.line("lora", "lora_v2")
    return hub, HfApi(endpoint=hub.url, token=hub.token("read", "push", principal="maker"))


def tags(api):
    return {ref.name: ref.target_commit for ref in api.list_repo_refs("team/lora").tags}


def test_a_tag_is_a_label_and_a_revision(line):
    hub, api = line
    by_reader = HfApi(endpoint=hub.url, token=member(hub, "reader"))
    first = api.model_info("team/lora", revision="v1").sha

    api.create_tag("team/lora", tag="best", revision="v1")

    assert hub.client().show("team/lora:v1").labels == {"best": ""}
    assert tags(api)["best"] == first
    assert by_reader.model_info("team/lora", revision="best").sha == first
    assert by_reader.model_info("team/lora", revision="refs/tags/best").sha == first
    api.delete_tag("team/lora", tag="best")
    assert hub.client().show("team/lora:v1").labels == {}
    with pytest.raises(RevisionNotFoundError, match="has no channel 'best'"):
        by_reader.model_info("team/lora", revision="best")


def test_a_label_that_somebody_else_put_on_is_a_tag_of_the_newest_that_has_it(line):
    hub, api = line
    with hub.client() as client:
        for version in (1, 2):
            client.versions.label(f"team/lora:v{version}", {"best": "", "lang": "py"})

    assert tags(api)["best"] == api.model_info("team/lora", revision="v2").sha
    assert "lang" not in tags(api)
    with pytest.raises(HfHubHTTPError, match="best is on team/lora:v2 already"):
        api.create_tag("team/lora", tag="best", revision="v1")
    api.create_tag("team/lora", tag="best", revision="v1", exist_ok=True)
    api.delete_tag("team/lora", tag="best")
    assert {*tags(api)} == {"v1", "v2"}


@pytest.mark.parametrize(
    ("tag", "told"),
    [
        ("v3", "v3 is the name of a version"),
        ("sha256:abc", "is the name of a version"),
        ("main", "main is a channel of team/lora"),
        ("prod", "deltareg promote team/lora:vN --channel prod"),
        ("a b", "cannot be a tag"),
        ("a=b", "cannot be a tag"),
        ('a"b', "cannot be a tag"),
        ("\x00", "cannot be a tag"),
        ("\ud800", "cannot be a tag"),
        ("x" * 300, "cannot be a tag"),
    ],
)
def test_a_name_of_something_else_is_no_tag(shelf, ask, tag, told):
    token = shelf.token("read", "push", principal="owner")

    body = json.dumps({"tag": tag})  # in ASCII, as clients of before 1.0 write it
    answer = ask(shelf, "/api/models/team/lora/tag/v1", token=token, method="POST", content=body)

    assert answer.status_code == 422
    assert told in answer.json()["error"]


def test_what_a_version_is_called_is_there_already(shelf):
    api = HfApi(endpoint=shelf.url, token=shelf.token("read", "push", principal="owner"))

    api.create_tag("team/lora", tag="v1", revision="v1", exist_ok=True)

    with pytest.raises(HfHubHTTPError, match="team/lora:v1 is called v1 already"):
        api.create_tag("team/lora", tag="v1", revision="v1")


def test_a_channel_comes_before_a_label_of_its_name(line):
    hub, api = line
    with hub.client() as client:
        client.versions.label("team/lora:v1", {"prod": ""})

    assert api.model_info("team/lora", revision="prod").sha == api.model_info("team/lora", revision="v2").sha
    assert "prod" not in tags(api)


def test_who_only_reads_puts_no_tag_on(shelf, ask):
    reader = member(shelf, "reader")

    answers = [
        ask(shelf, "/api/models/team/lora/tag/v1", token=reader, method="POST", json={"tag": "mine"}),
        ask(shelf, "/api/models/team/lora/tag/mine", token=reader, method="DELETE"),
        ask(shelf, "/api/models/den/secret/tag/v1", token=reader, method="POST", json={"tag": "mine"}),
        ask(shelf, "/api/models/den/none/tag/v1", token=reader, method="POST", json={"tag": "mine"}),
    ]

    assert [answer.status_code for answer in answers] == [403] * 4
    assert len({answer.json()["error"].replace("secret", "none") for answer in answers[2:]}) == 1
