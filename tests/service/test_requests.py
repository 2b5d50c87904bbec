"""Requests: opened by a promotion, approved by others, ended by what happens meanwhile."""

import threading

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.errors import ApprovalDue, Blocked, Conflict, Forbidden, GatePending, InvalidInput, NotFound, WaitTimeout
from deltareg.wire import ChannelMove, MoveResult, RequestInfo
from tests.fixtures.registries import SAMPLES

PROD = ("team/lora", "prod")


@pytest.fixture
def two(registry_server):
    """Promote v1 and v2 of maker's to `prod`, then let it ask for two approvals."""
    client = registry_server.line("lora", "lora_v2")
    asks(registry_server, approvals=2)
    return client


@pytest.fixture
def people(registry_server):
    """Give bob, who promotes, and cyd, dan and eve, who approve."""
    scopes = {"bob": ("read", "promote"), "maker": ("read", "promote", "approve")}
    names = ("maker", "bob", "cyd", "dan", "eve")
    return {name: registry_server.client(scopes.get(name, ("read", "approve")), principal=name) for name in names}


def asks(server, **policy):
    """Let `prod` ask for something else from now on."""
    with write(server.registry.engine) as conn:
        own = sa.update(t.channels).where(t.channels.c.name == "prod")
        conn.execute(own.values(policy={"suites": ["smoke"], **policy}))


def opened(client, ref="team/lora:v1", channel="prod", **options):
    with pytest.raises(ApprovalDue) as due:
        client.promote(ref, channel, **options)
    return due.value.request


def third(server, maker):
    """Push and verify v3."""
    ref = maker.push(SAMPLES / "deltas/tinyllama/lora_qv", "team/lora", base="tinyllama")
    server.verified(ref.version.ref)
    return ref.version.ref


def test_a_promotion_opens_a_request_and_moves_nothing(registry_server, two, people):
    ref = third(registry_server, two)

    with pytest.raises(ApprovalDue, match=r"v3 waits for 2 approvals on prod: request 1 is opened"):
        people["bob"].promote(ref, "prod", reason="better on refunds")

    request = people["cyd"].requests.show(1)
    assert (request.state, request.due, request.missing) == ("open", 2, 2)
    assert (request.opener, request.uploader, request.previous) == ("bob", "maker", 2)
    assert (request.reason, request.unmet) == ("better on refunds", [])
    assert two.channels.show(*PROD).version == 2
    with pytest.raises(ApprovalDue, match="request 1 is open already") as again:
        two.promote(ref, "prod")
    assert again.value.fix == (
        "somebody other than bob and maker whose token allows `approve`: deltareg request approve 1"
    )
    assert [r.id for r in two.requests.list().items] == [1]


def test_the_last_approval_moves_the_channel(registry_server, two, people):
    ref = third(registry_server, two)
    request = opened(people["bob"], ref, reason="better on refunds")

    first = people["cyd"].requests.approve(request, message="fine")
    again = people["cyd"].requests.approve(request)
    done = people["dan"].requests.approve(request)

    assert (first.state, first.missing, again.approvals) == ("open", 1, first.approvals)
    assert (done.state, done.revision, done.decided_by) == ("promoted", 3, "dan")
    assert people["dan"].requests.approve(request) == done, "as for an answer that was lost"
    newest = two.channels.history(*PROD).items[0]
    assert (newest.version, newest.actor, newest.reason) == (3, "dan", "better on refunds")
    assert (newest.request, newest.break_glass) == (request, False)
    trail = [(r.action, r.actor) for r in two.audit.list(subject=f"team/lora@prod/request/{request}").items]
    assert trail == [
        ("request.promote", "dan"),
        ("request.approve", "dan"),
        ("request.approve", "cyd"),
        ("request.open", "bob"),
    ]
    (moved,) = two.audit.list(subject="team/lora@prod", action="channel.promote", limit=1).items
    assert moved.after == {
        "revision": 3,
        "version": 3,
        "reason": newest.reason,
        "request": request,
        "digest": newest.digest,
    }
    with pytest.raises(Conflict, match="request 1 is promoted by dan"):
        people["eve"].requests.approve(request)


def test_who_pushed_or_opened_or_may_not_does_not_approve(registry_server, two, people):
    request = opened(people["bob"], third(registry_server, two))
    bob = registry_server.client(("read", "approve"), principal="bob")

    with pytest.raises(Forbidden, match="maker pushed its version"):
        people["maker"].requests.approve(request)
    with pytest.raises(Forbidden, match="bob opened it"):
        bob.requests.approve(request)
    with pytest.raises(Forbidden, match="does not allow 'approve'"):
        people["bob"].requests.approve(request)
    with pytest.raises(Forbidden, match="does not allow 'approve'"):
        people["bob"].requests.reject(request, reason="x")
    assert people["cyd"].requests.show(request).approvals == []


def test_a_request_that_was_rejected_or_withdrawn_stays_so(registry_server, two, people):
    ref = third(registry_server, two)
    request = opened(people["bob"], ref)
    with pytest.raises(InvalidInput):
        people["cyd"].requests.reject(request, reason="")
    people["cyd"].requests.reject(request, reason="worse on refunds")

    with pytest.raises(Conflict, match="is rejected by cyd: worse on refunds"):
        people["dan"].requests.approve(request)
    another = opened(people["bob"], ref)
    assert another != request
    with pytest.raises(Forbidden, match="was opened by bob"):
        registry_server.client(("read", "promote"), principal="zoe").requests.withdraw(another)
    assert people["bob"].requests.withdraw(another).state == "withdrawn"
    assert people["bob"].requests.withdraw(another).state == "withdrawn"
    states = [r.state for r in two.requests.list("team/lora", channel="prod").items]
    assert states == ["withdrawn", "rejected"]
    assert two.requests.list(state="open").items == []
    with pytest.raises(NotFound, match="no request 99"):
        two.requests.show(99)


def test_it_is_stale_once_the_channel_has_moved_on(registry_server, two, people):
    request = opened(people["bob"], third(registry_server, two))
    people["cyd"].requests.approve(request)

    two.rollback(*PROD, reason="refunds broke")

    stale = two.requests.show(request)
    assert (stale.state, stale.decision) == ("stale", "the channel moved on")
    with pytest.raises(Conflict, match="is stale by maker: the channel moved on"):
        people["dan"].requests.approve(request)
    assert opened(people["bob"], "team/lora:v3") != request


def test_it_is_stale_once_the_policy_has_changed(registry_server, two, people):
    ref = third(registry_server, two)
    request = opened(people["bob"], ref)
    people["cyd"].requests.approve(request)

    asks(registry_server, approvals=1)

    assert two.requests.show(request).state == "stale"
    another = opened(people["bob"], ref)
    assert two.requests.show(another).approvals == [], "what was agreed to was another policy"
    assert people["dan"].requests.approve(another).state == "promoted"


def test_approved_but_unmet_it_stays_open_until_it_is_promoted(registry_server, two, people):
    ref = third(registry_server, two)
    request = opened(people["bob"], ref)
    people["cyd"].requests.approve(request)
    two.channels.freeze(*PROD, reason="release week")

    stuck = people["dan"].requests.approve(request)

    assert (stuck.state, stuck.missing, [u.rule for u in stuck.unmet]) == ("open", 0, ["frozen"])
    with pytest.raises(Blocked, match="release week"):
        people["bob"].promote(ref, "prod")
    two.channels.unfreeze(*PROD, reason="done")
    assert people["bob"].promote(ref, "prod").version == 3
    assert two.requests.show(request).state == "promoted"


def test_a_failing_verdict_after_the_approvals_refuses(registry_server, two, people):
    ref = third(registry_server, two)
    request = opened(people["bob"], ref)
    people["cyd"].requests.approve(request)
    registry_server.verified(ref, verdict="fail", again=True)

    stuck = people["dan"].requests.approve(request)

    assert (stuck.state, [u.rule for u in stuck.unmet]) == ("open", ["failed"])
    assert two.channels.show(*PROD).version == 2


def test_what_the_gate_refuses_opens_no_request(registry_server, two, people):
    two.rollback(*PROD, reason="x")

    with pytest.raises(Blocked, match="quarantined"):
        people["bob"].promote("team/lora:v2", "prod")
    assert two.requests.list().items == []


def test_to_wait_for_a_request(registry_server, two, people):
    ref = third(registry_server, two)
    request = opened(people["bob"], ref)
    seen: list[RequestInfo] = []

    def approve(_seconds):
        people["cyd" if len(seen) == 1 else "dan"].requests.approve(request)

    def wait(timeout_s):
        return people["bob"].requests.wait(
            request, timeout_s=timeout_s, on_change=seen.append, retry=pytest.fail, sleep=approve
        )

    with pytest.raises(WaitTimeout, match="request 1 is still open after 0 s"):
        wait(0)
    seen.clear()
    assert wait(60).revision == 3
    assert [(r.state, r.missing) for r in seen] == [("open", 2), ("open", 1), ("promoted", 0)]


def test_of_approvals_at_once_each_counts_and_one_moves(registry_server, two, people):
    request = opened(people["bob"], third(registry_server, two))
    found = together([lambda who=people[name]: who.requests.approve(request).state for name in ("cyd", "dan", "eve")])

    done = two.requests.show(request)
    assert done.state == "promoted"
    assert len(done.approvals) == 2, "the third came too late"
    assert sorted(map(str, found)) == ["<class 'deltareg.errors.Conflict'>", "open", "promoted"]
    assert two.channels.show(*PROD).revision == 3


def test_of_an_approval_and_what_ends_the_request_at_once_one_wins(registry_server, two, people):
    ref = third(registry_server, two)
    for act in (people["bob"].requests.withdraw, lambda request: people["eve"].requests.reject(request, reason="x")):
        request = opened(people["bob"], ref)
        people["cyd"].requests.approve(request)
        before = two.channels.show(*PROD).revision

        together([lambda: people["dan"].requests.approve(request), lambda: act(request)])  # noqa: B023

        state, moved = two.requests.show(request).state, two.channels.show(*PROD).revision - before
        assert (state, moved) in {("promoted", 1), ("withdrawn", 0), ("rejected", 0)}
        if moved:
            two.rollback(*PROD, reason="again")
            two.channels.clear_quarantine(*PROD, 3, reason="again")


def test_of_promotions_at_once_one_opens_the_request(registry_server, two, people):
    ref = third(registry_server, two)
    bobs = [registry_server.client(("read", "promote"), principal=f"bob-{n}") for n in range(3)]

    def ask(who):
        try:
            return who.promote(ref, "prod")
        except ApprovalDue as due:
            return due.request

    assert together([lambda who=who: ask(who) for who in bobs]) == [1, 1, 1]


def test_a_protected_channel_takes_a_reason_for_every_move(registry_server, two):
    asks(registry_server, protected=True)

    for act in (
        lambda: two.promote("team/lora:v1", "prod"),
        lambda: two.rollback(*PROD),
        lambda: two.rollback(*PROD, reason="  "),
    ):
        with pytest.raises(InvalidInput, match="is protected: every move takes a reason") as told:
            act()
        assert told.value.fix == "say why: -m REASON"
    assert two.rollback(*PROD, reason="refunds broke").version == 1


def test_a_plan_opens_no_request(registry_server, two, people):
    ref = third(registry_server, two)
    path = "/deltas/team/lora/channels/prod/revisions"
    plan = ChannelMove(kind="promote", version=3, dry_run=True)

    with pytest.raises(GatePending, match="asks for 2 approvals more"):
        people["bob"]._api.post(path, plan, MoveResult, headers={"If-Match": '"r2"'})

    assert ref.endswith(":v3")
    assert two.requests.list().items == []


def together(acts):
    """Run all at once; give what each returned, or the class of what it raised."""
    start, found = threading.Barrier(len(acts)), []

    def run(act):
        start.wait()
        try:
            found.append(act())
        except Conflict as error:
            found.append(type(error))

    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
