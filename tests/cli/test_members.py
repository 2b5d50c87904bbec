"""Roles, namespaces and their explanations on the command line."""

import pytest

from deltareg.host.token_files import write_token
from deltareg.wire import TokenCreate


@pytest.fixture
def team(user):
    """Own the namespace `team`, and know bo, who has a token and no role."""
    assert user("namespace", "create", "team", "--visibility", "private").status == 0
    user("token", "create", "--for", "bo", "--scope", "read", "--scope", "push", "-q")
    return user


def test_a_role_is_given_listed_and_taken_away(team):
    given = team("member", "add", "team", "bo", "--role", "pusher", "--json").json
    listed = team("member", "ls", "team", "--json").json["items"]
    gone = team("member", "rm", "team", "bo", "--json")
    again = team("member", "rm", "team", "bo")

    assert (given["principal"], given["rights"]) == ("bo", ["push", "read"])
    assert [(item["principal"], item["role"]) for item in listed] == [("ana", "owner"), ("bo", "pusher")]
    assert gone.status == 0
    assert again.status == 3
    assert "deltareg member ls team" in again.err


def test_access_is_explained_and_the_command_that_it_names_gives_it(team):
    before = team("access", "explain", "bo", "push", "team/chat")
    command = before.out.split("deltareg member add ")[1].split()
    team("member", "add", *command)
    after = team("access", "explain", "bo", "push", "team/chat", "-q")

    assert "no" in before.out.split()
    assert after.out.strip() == "yes"


def test_who_has_no_role_in_a_private_namespace_does_not_find_it(team, local_registry):
    with local_registry.client() as admin:
        body = TokenCreate(principal="bo", scopes=["read", "push"], everywhere=False)
        token = admin.tokens.create(body).token
    write_token(local_registry.url, token)

    hidden, absent = team("namespace", "show", "team"), team("namespace", "show", "none")
    refused = team("member", "add", "team", "bo", "--role", "owner")

    assert (hidden.status, absent.status) == (3, 3)
    assert hidden.err.replace("team", "none") == absent.err
    assert refused.status == 4


def test_what_is_visible_is_changed_and_shown(team):
    changed = team("namespace", "visibility", "team", "internal", "--json").json
    shown = team("namespace", "ls")

    assert changed["visibility"] == "internal"
    assert "team" in shown.out
    assert "ana" in shown.out


def test_a_token_says_what_its_principal_lacks(team):
    told = team("token", "create", "--for", "bo", "--scope", "promote")
    wide = team("token", "create", "--for", "bo", "--scope", "promote", "--everywhere")
    within = team("token", "create", "--for", "bo", "--scope", "push", "--namespace", "team", "--json")

    assert "bo holds no role yet for promote" in told.err
    assert "holds no role" not in wide.err
    assert within.json["namespaces"] == ["team"]


def test_a_review_lists_what_reaches_a_namespace(team):
    rows = team("access", "review", "team", "--json").json["items"]

    assert ("ana", "owner", "team") in {
        (row["member"]["principal"], row["member"]["role"], row["member"]["namespace"]) for row in rows
    }
    assert any("wide: admin of everything" in row["findings"] for row in rows)


@pytest.mark.parametrize(
    "line",
    [
        ("member", "add", "team", "--role", "reader"),
        ("member", "add", "team", "bo", "--role", "reader", "--everywhere"),
        ("member", "ls"),
        ("member", "add", "team", "bo", "--role", "king"),
    ],
)
def test_a_line_that_says_too_little_or_too_much_is_refused(team, line):
    assert team(*line).status == 2
