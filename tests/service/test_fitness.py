"""What a channel serves may become unfit: whoever looks at the channel is told, and an event is."""

import pytest

from deltareg.errors import Blocked, GateFailed

LINE, PROD = "team/lora", ("team/lora", "prod")
V1, V2 = f"{LINE}:v1", f"{LINE}:v2"


@pytest.fixture
def two(registry_server):
    """Promote v1 and v2 of a line to `prod`, one after the other."""
    return registry_server.line("lora", "lora_v2")


def unfit(client, channel="prod"):
    return [(why.rule, why.message) for why in client.channels.show(LINE, channel).unfit]


def events(client):
    return [
        (row.subject, row.after["version"], row.after["because"])
        for row in client.audit.list(action="channel.unfit").items
    ]


def test_a_served_version_that_fails_is_unfit_where_its_suite_is_asked(two, registry_server):
    two.channels.set_policy(LINE, "dev", {"smoke": False})
    two.promote(V2, "dev")
    assert unfit(two) == []

    verdict = registry_server.verified(V2, verdict="fail", again=True)
    registry_server.verified(V2, verdict="fail", again=True)

    assert unfit(two) == [("failed", f"{V2} failed suite smoke: effect")]
    assert unfit(two, "dev") == []
    assert events(two) == [(f"{LINE}@prod", 2, f"{V2} failed suite smoke, verdict {verdict.id}")], (
        "once, where it came about, and not where nobody asks"
    )
    assert {c.channel: len(c.unfit) for c in two.channels.list(LINE).items} == {"dev": 0, "staging": 0, "prod": 1}


def test_a_waived_failure_leaves_it_fit_on_that_channel_alone(two, registry_server):
    two.promote(V2, "staging")
    verdict = registry_server.verified(V2, verdict="fail", fail="deterministic", again=True)
    bob = registry_server.client(principal="bob")

    bob.verdicts.waive(verdict.id, "deterministic", channel="prod", reason="known")

    assert unfit(two) == []
    assert [rule for rule, _ in unfit(two, "staging")] == ["failed"]
    shown = {c.channel: [w.channel for w in c.waivers] for c in two.channels.list(LINE).items}
    assert shown == {"dev": [], "staging": [], "prod": ["prod"]}


def test_a_served_version_that_is_revoked_is_unfit(two):
    two.versions.revoke(V2, reason="wrong data", even_if_served=True)

    ((rule, message),) = unfit(two)
    assert (rule, message.partition(" at ")[0]) == ("revoked", f"{V2} was revoked by maker")
    assert events(two) == [(f"{LINE}@prod", 2, f"{V2} was revoked: wrong data")]


def test_a_merge_of_a_revoked_version_is_made_no_more_and_served_no_more(two, registry_server):
    merged = two.merge([(V1, 0.5), (V2, 0.5)], "team/merged").pushed.version.ref
    registry_server.verified(merged)
    two.promote(merged, "prod")

    two.versions.revoke(V1, reason="wrong data")

    told = rf"{merged} is merged from {V1}, which was revoked by maker at .*: wrong data"
    with pytest.raises(Blocked, match=told):
        two.promote(merged, "dev")
    with pytest.raises(Blocked, match=f"{V1} is revoked, and nothing is merged from it"):
        two.merge([(V1, 0.7), (V2, 0.3)], "team/other")
    why = two.channels.show("team/merged", "prod").unfit
    assert [(one.rule, one.message.partition(", which")[0]) for one in why] == [
        ("revoked", f"{merged} is merged from {V1}")
    ]
    assert events(two) == [("team/merged@prod", 1, f"{V1} was revoked: wrong data")]
    two.versions.unrevoke(V1, reason="it was the right one")
    assert two.promote(merged, "dev").version == 1


def test_what_was_only_trained_from_a_revoked_version_goes_on(two, registry_server, pushes):
    child = pushes(two, parents=[V1])
    registry_server.verified(child)

    two.versions.revoke(V1, reason="wrong data")

    assert two.promote(child, "dev").version == 3


@pytest.fixture
def pushes():
    from tests.fixtures.registries import SAMPLES

    def push(client, **how):
        path = SAMPLES / "deltas" / "tinyllama" / "full"
        return client.push(path, LINE, base="tinyllama", **how).version.ref

    return push


def test_a_rollback_to_what_fails_now_takes_broken_glass(two, registry_server):
    registry_server.verified(V1, verdict="fail", again=True)

    with pytest.raises(GateFailed, match="v1 failed suite smoke: effect, and it would be") as no:
        two.rollback(*PROD)
    (light,) = [one for one in two.channels.readiness(*PROD).lights if one.name == "verdict"]
    assert "deltareg verdict show" in no.value.fix
    assert "--version vN" in no.value.fix
    assert light.light == "no"
    assert light.message.startswith(f"{V1} failed suite smoke: effect")

    breaker = registry_server.client(("read", "promote", "break-glass"), principal="bob")
    assert breaker.rollback(*PROD, break_glass=True, reason="worse is served").version == 1


SUITES = [f"name: {name}\nabout: x\nchecks:\n  - effect\n" for name in ("mine", "wide")]


def test_a_rollback_verifies_again_by_all_that_the_channel_asks_for(two, registry_server):
    http = registry_server.http(registry_server.admin_token)
    for document in SUITES:
        assert http.post("/suites", json={"document": document}).status_code == 200
    two.channels.set_policy(*PROD, {"suites": ["mine", "wide"]})

    move = two.rollback(*PROD)

    runs = [two.runs.show(run) for run in move.verify_runs]
    assert [(run.suite, run.ref, run.state) for run in runs] == [
        (name, V1, "queued") for name in ("smoke", "mine", "wide")
    ]
    assert move.verify_run == move.verify_runs[0]
