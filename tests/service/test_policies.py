"""Policies of channels: set by who has seen them, held against every promotion, and explained."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.db.sql.clock import now_us
from deltareg.errors import Blocked, Forbidden, GatePending, InvalidInput, NotFound
from deltareg.wire import LeaseRequest
from tests.fixtures.registries import report
from tests.service import rows

PROD = ("team/lora", "prod")
V2 = "team/lora:v2"
ALWAYS = [{"from": "2000-01-01", "to": "2100-01-01", "zone": "UTC", "reason": "fair"}]


@pytest.fixture
def two(registry_server):
    """Promote v1 and v2 of a line to `prod`, one after the other."""
    return registry_server.line("lora", "lora_v2")


def unmet(client, ref, channel="dev"):
    return [rule.rule for rule in client.gate(ref, channel).unmet]


def test_a_policy_is_replaced_whole_and_audited(two):
    fresh = two.channels.policy(*PROD)
    trial = two.channels.set_policy(*PROD, {"approvals": 1}, dry_run=True)
    change = two.channels.set_policy(*PROD, {"kinds": ["lora"], "rollback": {"days": 9}}, reason="audit")

    assert fresh.policy == {"suites": ["smoke"]}
    assert (trial.is_changed, trial.after["approvals"]) == (True, 1)
    assert change.before == fresh.policy
    assert change.after == {"suites": ["smoke"], "kinds": ["lora"], "rollback": {"revisions": 5, "days": 9}}
    assert two.channels.policy(*PROD).digest == change.digest != fresh.digest
    assert not two.channels.set_policy(*PROD, change.after).is_changed
    (row,) = two.audit.list(action="channel.policy").items
    assert (row.before, row.after["reason"]) == ({"policy": fresh.policy}, "audit")
    assert two.channels.show(*PROD).policy == change.after


def test_whoever_promotes_does_not_decide_what_that_takes(two, registry_server):
    promoter = registry_server.client(("read", "push", "promote"), principal="pro")

    with pytest.raises(Forbidden):
        promoter.channels.set_policy(*PROD, {})


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"suites": ["smok"]}, "suites: there is no suite 'smok'"),
        ({"kinds": ["lore"]}, r"kinds\[0\]: does not know 'lore'"),
        ({"bases": ["tinylama"]}, r"bases\[0\]: there is no base 'tinylama'"),
        ({"aprovals": 1}, "aprovals: there is no such key"),
        ({"protected": True}, "takes a reason"),
    ],
)
def test_a_slip_of_the_pen_is_refused(two, policy, message):
    with pytest.raises(InvalidInput, match=message) as refused:
        two.channels.set_policy(*PROD, policy)

    assert refused.value.fix
    assert two.channels.policy(*PROD).policy == {"suites": ["smoke"]}


def test_a_policy_that_somebody_else_replaced_is_not_overwritten(two, registry_server):
    http = registry_server.http(registry_server.admin_token)
    path = "/deltas/team/lora/channels/prod/policy"
    tag = http.get(path).headers["ETag"]
    two.channels.set_policy(*PROD, {"approvals": 1})

    late = http.put(path, json={"policy": {}}, headers={"If-Match": tag})
    blind = http.put(path, json={"policy": {}})
    missing = http.get("/deltas/team/lora/channels/none/policy")

    assert (late.status_code, blind.status_code, missing.status_code) == (412, 428, 404)
    assert two.channels.policy(*PROD).policy["approvals"] == 1


def test_a_quick_look_is_refused_as_what_a_channel_asks_for_and_its_pass_counts_nowhere(two):
    with pytest.raises(InvalidInput, match="fast is a quick look that counts for no channel"):
        two.channels.set_policy("team/lora", "dev", {"suites": ["smoke", "fast"]})


def test_each_rule_refuses_a_promotion_and_explains_itself(two):
    dev = ("team/lora", "dev")
    for policy, rule, error in (
        ({"kinds": ["ia3"]}, "kind", Blocked),
        ({"bases": ["blake3:" + "0" * 64]}, "base", Blocked),
        ({"freeze": ALWAYS}, "frozen", Blocked),
        ({"approvals": 2}, "approvals", GatePending),
        ({"sandbox": ["network"]}, "sandbox", GatePending),
        ({"environment": "strict"}, "environment", GatePending),
    ):
        two.channels.set_policy(*dev, policy)
        answer = two.gate(V2, "dev")
        assert [r.rule for r in answer.unmet] == [rule]
        assert [r.rule for r in answer.rules if not r.is_met] == [rule]
        with pytest.raises(error) as refused:
            two.promote(V2, "dev")
        assert [problem.code for problem in refused.value.problems] == [rule]
    two.channels.set_policy(*dev, {"bases": ["tinyllama"], "kinds": ["lora"], "evidence": "exact"})
    assert two.promote(V2, "dev").version == 2


def test_a_verdict_grows_stale_by_the_databases_clock(two, registry_server):
    two.channels.set_policy("team/lora", "dev", {"suites": [{"suite": "smoke", "max_age": "2d"}]})
    assert unmet(two, V2) == []

    with write(registry_server.registry.engine) as conn, rows.unguarded(conn, t.verdicts):
        conn.execute(sa.update(t.verdicts).values(created_at=now_us() - 3 * 86_400_000_000))

    assert unmet(two, V2) == ["stale"]
    assert "--again" in two.gate(V2, "dev").unmet[0].fix


def test_a_verdict_asked_for_a_channel_is_bound_to_its_policy(two, registry_server):
    worker = registry_server.client(("read", "verify"), principal="worker", kind="wrk")
    run = two.verify(V2, channel="dev", again=True)
    grant = worker.lease(LeaseRequest(worker="scripted"))
    assert grant.run == run.id
    worker.complete_run(grant.run, report(grant))
    bound = two.runs.show(run.id).verdict
    engine = registry_server.registry.engine
    with (  # leave it as the only one
        write(engine) as conn,
        rows.unguarded(conn, t.verdicts),
        rows.unguarded(conn, t.verdict_envelopes),
        rows.unguarded(conn, t.verdict_bases),
    ):
        for beside in (t.verdict_envelopes, t.verdict_bases):
            conn.execute(sa.delete(beside).where(beside.c.verdict_id != bound.id))
        conn.execute(sa.delete(t.verdicts).where(t.verdicts.c.id != bound.id))

    assert bound.policy_digest == two.channels.policy("team/lora", "dev").digest
    assert unmet(two, V2) == []
    two.channels.set_policy("team/lora", "dev", {"rollback": {"days": 9}})
    assert unmet(two, V2) == ["policy"]


def test_a_rollback_waits_for_a_window_as_for_a_freeze(two):
    two.channels.set_policy(*PROD, {"freeze": ALWAYS})

    with pytest.raises(Blocked, match="freeze window until 2100-01-01T00:00:00Z: fair"):
        two.rollback(*PROD)
    shown = two.channels.show(*PROD)
    assert shown.is_frozen
    assert shown.frozen_because == "a freeze window until 2100-01-01T00:00:00Z: fair"


def test_steps_back_do_not_count_freezes(two):
    two.channels.freeze(*PROD, reason="x")
    two.channels.unfreeze(*PROD, reason="y")

    assert two.show("team/lora@prod~1").ref == "team/lora:v1"
    assert two.show("team/lora@prod#3").ref == V2
    with pytest.raises(NotFound):
        two.show("team/lora@prod~2")
