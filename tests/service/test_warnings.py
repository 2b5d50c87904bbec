"""A pass that warns: said wherever it is shown, and accepted by name on a protected channel."""

import pytest

from deltareg.errors import ApprovalDue, GatePending

WARNED = "library_agrees"
LINE = ("team/lora", "dev")


@pytest.fixture
def warned(registry_server):
    """Give a client of another person than the pusher, and a version whose verdict warns."""
    registry_server.line("lora").verify("team/lora:v1", again=True)
    registry_server.verified("team/lora:v1", warn=WARNED, again=True)
    return registry_server.client(("read", "promote", "admin"), principal="bob")


def protect(client, **more):
    policy = {"suites": ["smoke"], "protected": True, **more}
    client.channels.set_policy(*LINE, policy, reason="serves customers")


def rules(client, **asked):
    return [rule.rule for rule in client.gate("team/lora:v1", "dev", **asked).unmet]


def test_a_channel_that_is_not_protected_takes_it_and_says_so(warned):
    answer = warned.gate("team/lora:v1", "dev")

    assert answer.allowed
    assert any("pass with 1 warning" in rule.message for rule in answer.rules)
    assert warned.promote("team/lora:v1", "dev").accepted == []


def test_lists_and_what_is_shown_of_a_version_say_so(warned, registry_server):
    listed = {one.ref: one for one in warned.versions.list("team/lora").items}
    shown = warned.versions.show("team/lora:v1")

    assert (shown.verdict, shown.has_warnings) == ("pass", True)
    assert listed["team/lora:v1"].has_warnings

    registry_server.verified("team/lora:v1", again=True)

    assert not warned.versions.show("team/lora:v1").has_warnings


def test_a_protected_channel_asks_for_the_word(warned):
    protect(warned)

    with pytest.raises(GatePending, match="1 warning: library_agrees") as refused:
        warned.promote("team/lora:v1", "dev", reason="better")
    move = warned.promote("team/lora:v1", "dev", reason="better", accept_warnings=True)

    assert "--accept-warnings" in refused.value.fix
    assert move.accepted == [f"smoke/{WARNED}"]
    told = warned.audit.list(action="channel.promote").items[0]
    assert told.after["accepted_warnings"] == [f"smoke/{WARNED}"]
    assert (rules(warned), rules(warned, accept_warnings=True)) == (["warnings"], [])


def test_nobody_accepts_what_does_not_warn(warned, registry_server):
    registry_server.verified("team/lora:v1", again=True)
    protect(warned)

    move = warned.promote("team/lora:v1", "dev", reason="better", accept_warnings=True)

    assert move.accepted == []


def test_who_asks_for_approvals_accepts_and_a_new_warning_is_asked_about_anew(warned, registry_server):
    protect(warned, approvals=1)
    cyd = registry_server.client(("read", "approve"), principal="cyd")
    with pytest.raises(GatePending) as refused:
        warned.promote("team/lora:v1", "dev", reason="better")
    assert type(refused.value) is GatePending  # no request was opened for it
    with pytest.raises(ApprovalDue) as due:
        warned.promote("team/lora:v1", "dev", reason="better", accept_warnings=True)
    assert cyd.requests.show(due.value.request).accepted == [f"smoke/{WARNED}"]

    registry_server.verified("team/lora:v1", warn="spectral", again=True)
    held = cyd.requests.approve(due.value.request)

    assert (held.state, [rule.rule for rule in held.unmet]) == ("open", ["warnings"])
    moved = warned.promote("team/lora:v1", "dev", reason="better", accept_warnings=True)
    assert moved.accepted == ["smoke/spectral"]
    assert set(cyd.requests.show(due.value.request).accepted) >= {f"smoke/{WARNED}"}


def test_the_last_approval_moves_what_was_accepted(warned, registry_server):
    protect(warned, approvals=1)
    cyd = registry_server.client(("read", "approve"), principal="cyd")
    with pytest.raises(ApprovalDue) as due:
        warned.promote("team/lora:v1", "dev", reason="better", accept_warnings=True)

    assert cyd.requests.approve(due.value.request).state == "promoted"
    told = warned.audit.list(action="channel.promote").items[0]
    assert told.after["accepted_warnings"] == [f"smoke/{WARNED}"]
