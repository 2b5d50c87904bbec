"""`deltareg lock`, `sync` and `outdated` on the command line: statuses, and what is shown."""

import pytest

from tests.cli.steps import push


@pytest.fixture
def project(user, local_registry, tmp_path, monkeypatch):
    """Give a user in a project, whose line me/chat serves v1 on prod."""
    ref = push(user, "lora")
    local_registry.verified(ref)
    assert user("promote", ref, "--channel", "prod").status == 0
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_project_is_locked_synced_and_checked(user, project, local_registry):
    locked = user("lock", "me/chat@prod", "models/chat")
    planned = user("sync", "--dry-run")
    synced = user("sync", "--json")
    frozen = user("sync", "--frozen")

    assert (locked.status, planned.status, synced.status, frozen.status) == (0, 10, 0, 0)
    assert "me/chat:v1" in locked.out
    assert [item["step"] for item in synced.json["items"]] == ["fetched"]
    assert "kept" in frozen.out
    assert user("outdated").status == 0
    assert "says so already" in user("lock").err

    second = push(user, "lora_v2")
    local_registry.verified(second)
    user("promote", second, "--channel", "prod")
    behind = user("outdated", "--json")
    assert behind.status == 10
    assert [(item["standing"], item["served"]) for item in behind.json["items"]] == [("behind", second)]
    assert user("outdated", "-q").out.split() == ["models/chat"]
    assert user("lock").status == 0
    assert user("sync", "--frozen").status == 10, "the folder holds the former version"
    assert [item["step"] for item in user("sync", "--json").json["items"]] == ["replaced"]
    assert user("sync", "--frozen").status == 0


def test_slips_say_what_to_write(user, project):
    assert user("sync").status == 3
    assert "deltareg lock" in user("sync").err
    assert user("lock").status == 3
    assert user("lock", "me/chat").status == 2
    assert user("lock", "me/chat", "../beside").status == 2
    assert user("lock", "me/none", "models/x").status == 3
    assert "nothing was pulled to here" in user("outdated").out
