"""Policies and waivers on the command line."""

import pytest

from tests.cli.steps import push

POLICY = """\
suites:
  - {suite: smoke, max_age: 30d}
kinds: [ia3]
approvals: 1
freeze:
  - {from: 2000-01-01T00:00:00Z, to: 2100-01-01T00:00:00Z, reason: always}
"""


@pytest.fixture
def verified(user, local_registry):
    """Give a user who has pushed me/chat:v1, which is verified."""
    local_registry.verified(push(user))
    return user


def test_a_policy_is_set_from_a_file_shown_and_explained(verified, tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    where = ("channel", "policy")

    trial = verified(*where, "set", "me/chat", "prod", str(file), "--dry-run")
    done = verified(*where, "set", "me/chat", "prod", str(file), "-m", "audit")
    again = verified(*where, "set", "me/chat", "prod", str(file))
    got = verified(*where, "get", "me/chat", "prod")
    explained = verified(*where, "explain", "me/chat:v1", "--channel", "prod")
    checked = verified("gate", "check", "me/chat:v1", "--channel", "prod", "--json")
    refused = verified("promote", "me/chat:v1", "--channel", "prod")

    assert [trial.status, done.status, again.status, got.status] == [0, 0, 0, 0]
    assert "policy would be replaced" in trial.out
    assert "  + kinds:" in done.out
    assert "nothing to do" in again.out
    file.write_text(got.out)
    assert "nothing to do" in verified(*where, "set", "me/chat", "prod", str(file)).out
    assert explained.status == 0
    assert "smoke: pass" in explained.out
    assert "0 of 1 approvals" in explained.out
    assert (checked.status, refused.status) == (13, 13)
    assert [rule["rule"] for rule in checked.json["unmet"]] == ["frozen", "kind", "approvals"]
    for rule in checked.json["unmet"]:
        assert rule["message"] in " ".join(explained.out.split())
    assert "3 unmet rules" in refused.err
    assert "frozen: a freeze window until 2100-01-01T00:00:00Z: always" in verified("channel", "ls", "me/chat").out
    assert "1 approval" in verified("channel", "show", "me/chat", "prod").out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("approvals: 1\nfreeze:\n  - {from: noon, to: night}\n", "line 3: freeze[0].from: is no"),
        ("suites: [smoke]\nevidense: exact\n", "line 2: evidense: there is no such key"),
        ("suites: [smoke", "no valid YAML at line"),
        ("a: &x 1\nb: *x\n", "an alias"),
        ("- smoke\n", "a policy is a mapping"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(user, tmp_path, text, message):
    file = tmp_path / "policy.yaml"
    file.write_text(text)

    refused = user("channel", "policy", "set", "me/chat", "prod", str(file))

    assert refused.status == 2
    assert message in refused.err


def test_a_waiver_is_given_shown_and_ended(user, local_registry):
    push(user)
    failed = local_registry.verified("me/chat:v1", verdict="fail", fail="deterministic")
    other = local_registry.client(("read", "promote"), principal="bob")
    named = ("--check", "deterministic", "--channel", "prod")

    own = user("verdict", "waive", failed.id, *named, "-m", "x")
    other.verdicts.waive(failed.id, "deterministic", channel="prod", reason="known")
    shown = user("verdict", "show", failed.id)
    listed = user("verdict", "ls", "me/chat:v1")

    assert own.status == 4
    assert "waived" in shown.out
    assert "by bob: known" in shown.out
    assert "deterministic (waived)" in listed.out
    assert user("gate", "check", "me/chat:v1", "--channel", "prod").status == 0
    assert user("verdict", "unwaive", failed.id, "--check", "deterministic").status == 0
    assert user("gate", "check", "me/chat:v1", "--channel", "prod").status == 8
