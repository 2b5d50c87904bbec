"""A channel that would change its base, on the command line: refused, shown, allowed by one word."""

import pytest

from tests.cli.steps import BASES, DELTAS, done, push
from tests.folders import naming_base

V2, PROD = "me/chat:v2", ("--channel", "prod")


@pytest.fixture
def moving(user, local_registry, tmp_path):
    """Give a user whose prod serves v1 on tinyllama, and whose v2 passed on another base."""
    local_registry.verified(push(user))
    done(user, "promote", "me/chat:v1", *PROD)
    done(user, "base", "push", BASES / "tinyllama_other", "other")
    done(user, "push", naming_base(DELTAS / "lora", "other", tmp_path / "lora"), "me/chat", "--base", "other")
    local_registry.verified(V2)
    return user


def test_without_the_word_it_is_refused_with_both_bases_and_the_command(moving):
    refused, tried = moving("promote", V2, *PROD), moving("promote", V2, *PROD, "--dry-run")
    checked = moving("gate", "check", V2, *PROD, "--json")

    assert (refused.status, tried.status, checked.status) == (13, 13, 13)
    assert "is for base other, and prod serves tinyllama: its hosts would need another base" in refused.err
    assert f"fix:   deltareg promote {V2} --channel prod --new-base" in refused.err
    assert "see:   deltareg explain new_base" in refused.err
    assert "base would change: tinyllama → other" in tried.out
    assert (checked.json["served_base"], checked.json["base"]) == ("tinyllama", "other")


def test_the_word_moves_it_and_the_way_back_is_one_command(moving):
    assert moving("gate", "check", V2, *PROD, "--new-base").status == 0
    moved = moving("promote", V2, *PROD, "--new-base")
    shown = moving("channel", "show", "me/chat", "prod")
    back = moving("rollback", "me/chat", *PROD, "-m", "too early")

    assert "tinyllama → other" in moved.out
    assert "hosts need tinyllama again: the channel serves other now" in shown.out
    assert back.status == 0
    assert "other → tinyllama" in back.out


def test_a_policy_and_a_folder_that_is_applied_may_allow_it(moving, tmp_path):
    folder = tmp_path / "declared" / "policies" / "me" / "chat"
    folder.mkdir(parents=True)
    (folder / "prod.yaml").write_text("suites: [smoke]\nnew_base: true\n")

    applied = moving("apply", "-f", tmp_path / "declared", "-m", "a channel for tries")

    assert applied.status == 0, applied.err
    assert "any new base" in moving("channel", "show", "me/chat", "prod").out
    assert moving("promote", V2, *PROD).status == 0


def test_what_explains_it_is_there(user):
    assert "promote(..., new_base=True)" in user("explain", "new_base").out


def test_a_rollback_that_goes_nowhere_is_told_in_words(moving):
    shown = moving("channel", "show", "me/chat", "prod").out
    refused = moving("rollback", "me/chat", *PROD, "-m", "x")

    assert "nothing to roll back to: v1 is the first that it serves" in shown
    assert refused.status == 3
    assert "serves v1, and nothing before it is left to go back to" in refused.err
