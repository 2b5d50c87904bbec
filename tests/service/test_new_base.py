"""A channel changes its base only where somebody says so: its hosts would need the new one."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from deltareg.errors import ApprovalDue, DeltaregError, NewBase
from tests.fixtures.registries import SAMPLES
from tests.folders import naming_base

LINE, OTHER = "team/lora", "team/lora:v2"


@pytest.fixture
def moving(registry_server, tmp_path):
    """Give the client of a line whose `prod` serves v1 on tinyllama; v2 passed on another base."""
    client = registry_server.line("lora")
    registry_server.step(("another base", LINE), lambda: _push_other(client, tmp_path))
    registry_server.verified(OTHER)
    return client


def _push_other(client, tmp_path):
    client.bases.push(SAMPLES / "bases" / "tinyllama_other", "other")
    folder = naming_base(SAMPLES / "deltas" / "tinyllama" / "lora", "other", tmp_path / "other_lora")
    client.push(folder, LINE, base="other", golden=False)


def rules(answer):
    return [rule.rule for rule in answer.unmet]


def test_a_promotion_onto_another_base_is_refused_and_names_both(moving):
    with pytest.raises(NewBase, match="for base other, and prod serves tinyllama") as refused:
        moving.promote(OTHER, "prod")

    assert refused.value.fix == f"deltareg promote {OTHER} --channel prod --new-base"
    assert refused.value.exit_code == 13
    assert moving.channels.show(LINE, "prod").version == 1


def test_the_word_lets_it_through_and_the_record_names_both(moving):
    move = moving.promote(OTHER, "prod", new_base=True)

    assert (move.version, move.previous_base, move.base) == (2, "tinyllama", "other")
    assert [entry.base for entry in moving.channels.history(LINE, "prod")] == ["other", "tinyllama"]
    assert moving.channels.show(LINE, "prod").base == "other"
    row = moving.audit.list(action="channel.promote").items[0]
    assert (row.before["base"], row.after["base"]) == ("tinyllama", "other")


def test_the_gate_shows_both_bases_and_takes_the_word(moving):
    asked, accepted = moving.gate(OTHER, "prod"), moving.gate(OTHER, "prod", new_base=True)

    assert (asked.base, asked.served_base, rules(asked)) == ("other", "tinyllama", ["new_base"])
    assert accepted.allowed
    assert "prod changes its base from tinyllama to other" in [rule.message for rule in accepted.rules]


def test_the_first_version_and_one_on_the_same_base_need_no_word(moving):
    first = moving.promote(OTHER, "dev")
    moving.push(SAMPLES / "deltas" / "tinyllama" / "lora_v2", LINE, base="tinyllama", golden=False)

    assert (first.base, first.previous_base) == ("other", "")
    assert "new_base" not in rules(moving.gate("team/lora:v3", "prod"))
    assert "new_base" in rules(moving.gate("team/lora:v3", "dev"))


def test_a_policy_may_always_allow_it(moving):
    moving.channels.set_policy(LINE, "prod", {"new_base": True}, reason="for tries")
    moving.verify(OTHER, channel="prod")

    assert moving.promote(OTHER, "prod").base == "other"
    assert moving.channels.policy(LINE, "prod").policy["new_base"] is True


def test_a_floor_does_not_say_it(moving, registry_server):
    admin = registry_server.client(("admin",), principal="admin")

    with pytest.raises(DeltaregError, match="new_base: is for a channel to say"):
        admin.floors.set({"new_base": True}, reason="everywhere")


def test_a_rollback_goes_back_to_the_former_base_in_one_command(moving):
    moving.promote(OTHER, "prod", new_base=True)

    ready = moving.channels.readiness(LINE, "prod")
    back = moving.rollback(LINE, "prod", reason="the hosts are not there yet")

    assert (ready.base, ready.served_base, ready.ready) == ("tinyllama", "other", "warn")
    assert "hosts need tinyllama again: the channel serves other now" in [one.message for one in ready.lights]
    assert (back.version, back.base, back.previous_base) == (1, "tinyllama", "other")


def test_break_glass_says_what_it_passed_over(moving):
    moving.promote(OTHER, "prod", break_glass=True, reason="outage 4711")

    row = moving.audit.list(action="channel.promote").items[0]
    assert any(rule.startswith("new_base: ") for rule in row.after["passed_over"])


def test_who_asks_for_approvals_says_it_and_approvers_see_it(moving, registry_server):
    moving.channels.set_policy(LINE, "prod", {"approvals": 1}, reason="two people")
    cyd = registry_server.client(("read", "approve"), principal="cyd")
    with pytest.raises(NewBase):
        moving.promote(OTHER, "prod")
    with pytest.raises(ApprovalDue) as due:
        moving.promote(OTHER, "prod", new_base=True)

    shown = cyd.requests.show(due.value.request)
    approved = cyd.requests.approve(due.value.request)

    assert (shown.accepted, shown.unmet) == (["new_base"], [])
    assert (shown.base, shown.served_base) == ("other", "tinyllama")
    assert approved.state == "promoted"
    assert moving.channels.show(LINE, "prod").base == "other"


def test_an_old_client_that_knows_no_such_word_gets_the_sentence(moving, registry_server):
    http = registry_server.http(registry_server.token("read", "promote"))
    answer = http.post(
        f"/deltas/{LINE}/channels/prod/revisions", json={"kind": "promote", "version": 2}, headers={"If-Match": '"r1"'}
    )

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "new_base")
    assert "its hosts would need another base" in problem["detail"]
    assert "--new-base" in problem["fix"]


def test_of_two_promotions_at_once_none_changes_the_base_unseen(moving, registry_server):
    """Both see an empty channel, on which neither base is new; the one that comes second does not get through."""
    clients = [registry_server.client(principal=name) for name in ("ada", "bob")]

    def promote(client, ref):
        try:
            return client.promote(ref, "staging")
        except DeltaregError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(promote, clients, ["team/lora:v1", OTHER]))

    assert sum(isinstance(result, DeltaregError) for result in results) == 1
    assert moving.channels.show(LINE, "staging").revision == 1
