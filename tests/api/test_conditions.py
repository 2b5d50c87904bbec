"""Conditional requests: tags on reads, `If-Match` on moves."""

import pytest

from tests.fixtures.registries import SCOPES

PROD = "/deltas/team/lora/channels/prod"
TAGGED = ["/bases/tinyllama", "/deltas/team/lora/versions/1", PROD, "/resolve?ref=team/lora"]


@pytest.fixture
def http(shared_registry):
    return shared_registry.http(shared_registry.token(*SCOPES))


@pytest.mark.parametrize("path", TAGGED)
def test_a_read_that_is_known_already_has_no_body(http, path):
    tag = http.get(path).headers["ETag"]

    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        answer = http.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == tag
    assert http.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    assert tag.startswith('"'), "a weak tag cannot be sent with If-Match"


def test_a_move_needs_a_tag(http):
    for tag in (None, "", "*", '"r"', "r1", '"r1', '"x1"', 'W/"r1"', '"r99999999999"'):
        headers = {} if tag is None else {"If-Match": tag}
        answer = http.post(f"{PROD}/revisions", json={"kind": "rollback"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (428, "precondition_required"), tag


def test_a_move_with_an_old_tag_is_stale(http):
    answer = http.post(f"{PROD}/revisions", json={"kind": "promote", "version": 1}, headers={"If-Match": '"r0"'})

    assert (answer.status_code, answer.json()["code"]) == (412, "stale_revision")


def test_the_tag_of_a_read_is_what_a_move_takes(local_registry, two_versions):
    http = local_registry.http(local_registry.token(*SCOPES))
    tag = http.get(PROD).headers["ETag"]

    moved = http.post(f"{PROD}/revisions", json={"kind": "rollback"}, headers={"If-Match": tag})

    assert (moved.status_code, moved.json()["version"]) == (200, 1)


def test_the_tag_changes_with_all_that_is_shown(local_registry, two_versions):
    http = local_registry.http(local_registry.token(*SCOPES))
    two_versions.rollback("team/lora", "prod")
    tag = http.get(PROD).headers["ETag"]

    two_versions.channels.clear_quarantine("team/lora", "prod", 2, reason="tried again")

    answer = http.get(PROD, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.json()["quarantined"]) == (200, [])


@pytest.fixture
def two_versions(local_registry):
    """Promote two versions of a line, one after the other."""
    return local_registry.line("lora", "lora_v2")
