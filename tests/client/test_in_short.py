"""What a prompt and a traceback show: one line for a result, and with an error what helps."""

import traceback

import pytest

from deltareg.errors import ApprovalDue, Blocked, DeltaregError, NotFound, Problem, Refused
from deltareg.suites.suite import built_in
from tests.fixtures.registries import SAMPLES

CHECKS = len(built_in("smoke").checks)
DELTAS, LINE, V1 = SAMPLES / "deltas" / "tinyllama", "team/lora", "team/lora:v1"


@pytest.fixture
def client(local_registry):
    return local_registry.line("lora")


def shown(error):
    return "".join(traceback.format_exception(error))


def test_a_traceback_shows_what_helps(client):
    client.versions.revoke(V1, reason="wrong data", even_if_served=True)

    with pytest.raises(Blocked) as refused:
        client.promote(V1, "dev")

    text = shown(refused.value)
    assert "Blocked: team/lora:v1 was revoked" in text
    assert f"fix:   {refused.value.fix}" in text
    assert text.rstrip().endswith("see:   deltareg explain blocked")


def test_a_refused_push_shows_the_other_problems_and_its_own_code():
    error = Refused([Problem("shape", "a is odd", fix="mend a"), Problem("rank", "b is odd")])

    assert error.__notes__ == ["fix:   mend a", "also:  b is odd", "see:   deltareg explain shape"]


def test_an_error_without_a_fix_shows_none():
    assert NotFound("gone").__notes__ == ["see:   deltareg explain not_found"]


def test_a_long_list_of_problems_is_cut():
    error = Refused([Problem("shape", f"{n} is odd") for n in range(50)])

    assert len(error.__notes__) == 5


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda c: c.show(V1), "<VersionDetail team/lora:v1: lora on tinyllama, pass, on prod>"),
        (lambda c: c.versions.list(LINE), "<Listing of 1: team/lora:v1>"),
        (lambda c: c.promote(V1, "dev"), "<MoveResult promote: dev serves team/lora:v1, revision 1>"),
        (lambda c: c.gate(V1, "dev"), "<GateAnswer team/lora:v1 to dev: allowed>"),
        (lambda c: c.channels.show(LINE, "prod"), "<ChannelInfo prod serves team/lora:v1, revision 1>"),
        (lambda c: c.verify(V1).verdict, f"<VerdictInfo team/lora:v1: smoke pass, {CHECKS} checks>"),
        (lambda c: c.bases.show("tinyllama"), "<BaseInfo tinyllama: llama, 21 tensors, stored>"),
        (
            lambda c: c.push(DELTAS / "lora", LINE, base="tinyllama"),
            "<PushReport team/lora:v1: was there already, pass>",
        ),
    ],
)
def test_a_result_is_one_line(client, make, line):
    result = make(client)

    assert repr(result) == str(result) == line


def test_a_run_is_one_line_as_well(client):
    run = client.verify(V1)

    assert repr(run) == f"<RunInfo {run.id}: verify team/lora:v1 by smoke, done, pass>"


def test_a_result_that_people_see_seldom_shows_its_first_fields(client):
    assert repr(client.whoami()).startswith("<WhoAmI principal=")
    assert all(len(repr(one)) < 200 for one in (client.whoami(), client.meta(), *client.audit.list()))


def test_a_pull_says_what_is_where(client, tmp_path):
    pulled = client.pull(V1, tmp_path / "served")

    assert repr(pulled).startswith(f"<PullReport team/lora:v1 in {tmp_path / 'served'}, ")


def test_everything_that_names_a_version_has_its_reference(client):
    pushed = client.push(DELTAS / "lora", LINE, base="tinyllama")
    moved = client.promote(pushed.ref, "dev")
    entry = next(iter(client.channels.history(LINE, "dev")))

    assert {pushed.ref, pushed.version.ref, moved.ref, entry.ref, client.verify(V1).ref} == {V1}
    assert client.channels.show(LINE, "dev").ref == V1
    assert next(iter(client.lines.list())).ref == LINE


def test_a_push_and_a_merge_wait_for_the_verdict_where_they_are_asked_to(client, local_registry):
    local_registry.verified(V1)

    pushed = client.push(DELTAS / "lora", LINE, base="tinyllama", wait=True)

    assert pushed.run is not None
    assert pushed.run.verdict is not None
    assert (pushed.run.verdict.verdict, pushed.version.verdict) == ("pass", "pass")
    assert client.verify(V1, wait=True).is_over


def test_a_wait_that_takes_too_long_says_that_it_goes_on(client):
    with pytest.raises(DeltaregError, match="it goes on"):
        client.push(DELTAS / "lora_v2", LINE, base="tinyllama", golden=False, wait=True, timeout_s=0)

    assert client.show(LINE).ref == "team/lora:v2"


def test_a_promotion_waits_for_its_approvals(client, local_registry):
    client.channels.set_policy(LINE, "dev", {"approvals": 1, "smoke": False}, reason="two people")
    cyd = local_registry.client(("read", "approve"), principal="cyd")
    with pytest.raises(ApprovalDue) as due:
        client.promote(V1, "dev")
    cyd.requests.approve(due.value.request)
    client.channels.set_policy(LINE, "staging", {"approvals": 1, "smoke": False}, reason="two people")

    with pytest.raises(DeltaregError, match="is still open"):
        client.promote(V1, "staging", wait=True, timeout_s=0)

    assert client.channels.show(LINE, "dev").ref == V1
