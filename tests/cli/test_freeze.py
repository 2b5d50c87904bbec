"""Freezing a channel on the command line: statuses, and what is shown."""

import pytest

from tests.cli.steps import push

PROD = ("me/chat", "prod")


@pytest.fixture
def promoted(user, local_registry):
    """Give a user whose line me/chat has v1, verified and on prod."""
    ref = push(user)
    local_registry.verified(ref)
    assert user("promote", ref, "--channel", "prod").status == 0
    return user


def test_a_freeze_refuses_moves_and_is_shown(promoted):
    frozen = promoted("channel", "freeze", *PROD, "--until", "2099-01-02T03:04:05Z", "-m", "release week")
    refused = promoted("promote", "me/chat:v1", "--channel", "prod")
    checked = promoted("gate", "check", "me/chat:v1", "--channel", "prod")

    assert (frozen.status, refused.status, checked.status) == (0, 13, 13)
    assert frozen.out.splitlines()[0] == "me/chat@prod is frozen; it serves v1"
    assert "until 2099-01-02T03:04:05Z: release week" in refused.err
    assert "deltareg channel unfreeze me/chat prod -m REASON" in refused.err
    assert promoted("rollback", "me/chat", "--channel", "prod").status == 13
    for line in (("show", *PROD), ("ls", "me/chat"), ("history", *PROD)):
        shown = promoted("channel", *line).out
        assert "2099-01-02T03:04:05Z" in shown, line
        assert "release week" in shown, line


def test_unfreeze_lets_it_move(promoted):
    promoted("channel", "freeze", "me/chat@prod", "-m", "release week")

    ended = promoted("channel", "unfreeze", "me/chat@prod", "-m", "done", "--json")

    assert list(ended.json)[1:7] == ["channel", "revision", "kind", "version", "digest", "previous"]
    assert (ended.json["kind"], ended.json["version"]) == ("unfreeze", 1)
    assert "frozen" not in promoted("channel", "show", *PROD).out.replace("unfrozen", "")
    assert promoted("channel", "unfreeze", *PROD, "-m", "again").status == 5


def test_a_reason_and_a_time_to_come_are_asked_for(promoted):
    assert promoted("channel", "freeze", *PROD).status == 2
    assert promoted("channel", "freeze", *PROD, "-m", "").status == 2
    assert promoted("channel", "freeze", *PROD, "-m", "x", "--until", "2020-01-01").status == 2
    assert promoted("channel", "freeze", "me/chat", "absent", "-m", "x").status == 3


def test_the_list_of_lines_shows_what_is_frozen(promoted):
    promoted("channel", "freeze", *PROD, "-m", "release week")

    assert "prod v1 (frozen)" in promoted("ls").out
    promoted("channel", "unfreeze", *PROD, "-m", "done")
    assert "(frozen)" not in promoted("ls").out
