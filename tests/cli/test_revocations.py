"""Revoking a version on the command line: statuses, what is shown, and who is warned."""

import pytest

from tests.cli.steps import push


@pytest.fixture
def promoted(user, local_registry):
    """Give a user whose line me/chat has v1 and v2, both verified, and v2 on prod after v1."""
    for delta in ("lora", "lora_v2"):
        ref = push(user, delta)
        local_registry.verified(ref)
        assert user("promote", ref, "--channel", "prod").status == 0
    return user


def test_a_revoked_version_is_refused_and_shown(promoted):
    revoked = promoted("revoke", "me/chat:v1", "-m", "wrong data")
    refused = promoted("promote", "me/chat:v1", "--channel", "dev")
    dry = promoted("gate", "check", "me/chat:v1", "--channel", "dev")

    assert (revoked.status, refused.status, dry.status) == (0, 13, 13)
    assert "me/chat:v1 was revoked by" in refused.err
    assert "wrong data" in refused.err
    assert "deltareg unrevoke me/chat:v1 -m REASON" in refused.err
    assert "wrong data" in promoted("show", "me/chat:v1").out
    assert "revoked" in promoted("ls", "me/chat").out
    assert "revoke" in promoted("log", "me/chat").out


def test_unrevoke_lets_the_gate_judge_again(promoted):
    promoted("revoke", "me/chat:v1", "-m", "wrong data")

    ended = promoted("unrevoke", "me/chat:v1", "-m", "the right data", "--json")

    assert (ended.status, ended.json["is_revoked"]) == (0, False)
    assert promoted("promote", "me/chat:v1", "--channel", "dev").status == 0


def test_what_is_served_needs_the_option(promoted, tmp_path):
    refused = promoted("revoke", "me/chat:v2", "-m", "wrong data")
    revoked = promoted("revoke", "me/chat:v2", "-m", "wrong data", "--even-if-served", "--json")
    pulled = promoted("pull", "me/chat", "--to", tmp_path / "served")
    scripted = promoted("pull", "me/chat", "--json")

    assert refused.status == 5
    assert "deltareg rollback me/chat --channel prod" in refused.err
    assert revoked.json["revocation"]["reason"] == "wrong data"
    assert pulled.status == 0
    assert "warning: me/chat:v2 was revoked by" in pulled.err
    assert scripted.json["revocation"]["reason"] == "wrong data"
    assert "v2 (revoked)" in promoted("channel", "ls", "me/chat").out
    assert "v2 (revoked)" in promoted("channel", "show", "me/chat", "prod").out


def test_a_reason_and_one_version_are_asked_for(promoted):
    assert promoted("revoke", "me/chat:v1").status == 2
    assert promoted("revoke", "me/chat", "-m", "x").status == 2
    assert promoted("unrevoke", "me/chat:v9", "-m", "x").status == 3
