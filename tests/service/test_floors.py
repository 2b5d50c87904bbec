"""What the server and namespaces ask of every channel: who says so, and nothing goes past it."""

import pytest

from deltareg.errors import ApprovalDue, Blocked, Forbidden, GatePending, InvalidInput, NotFound

LINE, V2 = "team/lora", "team/lora:v2"
ALWAYS = [{"from": "2000-01-01", "to": "2100-01-01", "zone": "UTC", "reason": "fair"}]


@pytest.fixture
def two(registry_server):
    """Promote v1 and v2 of a line to `prod`, one after the other."""
    return registry_server.line("lora", "lora_v2")


@pytest.fixture
def admin(registry_server):
    return registry_server.client(("read", "push", "promote", "admin"), principal="root")


def test_a_floor_is_asked_beside_the_channels_own_and_named(two, admin):
    two.channels.set_policy(LINE, "dev", {"smoke": False})
    assert two.gate(V2, "dev").allowed

    admin.floors.set({"approvals": 1}, reason="everywhere")
    two.floors.set({"suites": ["deep"], "kinds": ["ia3"]}, namespace="team", reason="our own")

    answer = two.gate(V2, "dev")
    assert {rule.rule: rule.asked_by for rule in answer.unmet} == {
        "kind": ["namespace team"],
        "missing": ["namespace team"],
        "approvals": ["the server"],
    }
    with pytest.raises(Blocked, match=r"is of kind lora, dev takes ia3 \(asked by namespace team"):
        two.promote(V2, "dev")
    shown = two.channels.show(LINE, "dev")
    assert shown.policy == {"suites": [], "smoke": False}
    assert [(floor.of, floor.policy) for floor in shown.floors] == [
        ("the server", {"approvals": 1}),
        ("namespace team", {"suites": ["deep"], "kinds": ["ia3"]}),
    ]
    assert shown.suites == ["deep"]
    assert two.channels.policy(LINE, "dev").floors == shown.floors
    two.floors.set({}, namespace="team", reason="a trial")
    with pytest.raises(ApprovalDue):
        two.promote(V2, "dev")


def test_who_may_set_one(two, admin, registry_server):
    promoter = registry_server.client(("read", "push", "promote"), principal="pro")

    for namespace in (None, "team"):
        with pytest.raises(Forbidden):
            promoter.floors.set({"approvals": 1}, namespace=namespace, reason="x")
    with pytest.raises(NotFound):
        admin.floors.set({"approvals": 1}, namespace="nowhere", reason="x")
    assert two.floors.set({"approvals": 1}, namespace="team", reason="x").is_changed
    assert promoter.floors.show("team").actor == "maker"
    assert promoter.floors.show().policy == {}
    audit = admin.audit.list(action="floor.set").items
    assert [(row.subject, row.actor) for row in audit] == [("namespace/team/policy", "maker")]


def test_an_owner_cannot_go_below_what_the_server_asks(two, admin):
    admin.floors.set({"suites": ["smoke"], "approvals": 2}, reason="x")

    two.floors.set({"approvals": 1}, namespace="team", reason="x")
    two.channels.set_policy(LINE, "dev", {"smoke": False, "approvals": 1})

    with pytest.raises(ApprovalDue, match="waits for 2 approvals"):
        two.promote(V2, "dev")
    assert two.channels.show(LINE, "dev").suites == ["smoke"]


def test_a_floor_that_changes_lets_open_requests_be_stale(two, admin, registry_server):
    two.channels.set_policy(LINE, "dev", {"approvals": 1})
    two.channels.set_policy(LINE, "staging", {"approvals": 2})
    with pytest.raises(ApprovalDue) as first:
        two.promote(V2, "dev")
    with pytest.raises(ApprovalDue) as second:
        two.promote(V2, "staging")

    would = admin.floors.set({"approvals": 2}, reason="x", dry_run=True)
    assert two.requests.show(first.value.request).state == "open"
    change = admin.floors.set({"approvals": 2}, reason="x")

    assert would.stale_requests == change.stale_requests == [first.value.request]
    assert two.requests.show(first.value.request).state == "stale"
    assert two.requests.show(second.value.request).state == "open", "it asked for two already"


def test_a_window_of_a_floor_holds_back_rollbacks_too(two, admin):
    admin.floors.set({"freeze": ALWAYS}, reason="fair")

    with pytest.raises(Blocked, match=r"fair \(asked by the server\)") as refused:
        two.rollback(LINE, "prod")
    assert refused.value.fix == "wait; what the server asks: deltareg policy get"
    assert two.channels.show(LINE, "prod").is_frozen
    assert [rule.asked_by for rule in two.gate(V2, "dev").unmet] == [["the server"]]


def test_the_widest_window_of_rollbacks_is_the_floors(two, admin, registry_server):
    registry_server.verified("team/lora:v1", verdict="inconclusive", again=True)
    assert two.rollback(LINE, "prod", dry_run=True).version == 1

    admin.floors.set({"rollback": {"revisions": 0, "days": 0}}, reason="x")

    with pytest.raises(GatePending.__mro__[1]):
        two.rollback(LINE, "prod", dry_run=True)


def test_slips_are_refused_and_nothing_is_overwritten(two, admin, registry_server):
    with pytest.raises(InvalidInput, match="there is no suite 'smok'"):
        admin.floors.set({"suites": ["smok"]}, reason="x")
    http = registry_server.http(registry_server.admin_token)
    tag = http.get("/policy").headers["ETag"]
    admin.floors.set({"approvals": 1}, reason="x")

    late = http.put("/policy", json={"policy": {}, "reason": "x"}, headers={"If-Match": tag})
    blind = http.put("/policy", json={"policy": {}, "reason": "x"})

    assert (late.status_code, blind.status_code) == (412, 428)
    assert admin.floors.show().policy == {"approvals": 1}
    assert not admin.floors.set({"approvals": 1}, reason="again").is_changed
