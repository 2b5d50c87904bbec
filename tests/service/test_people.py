"""Approving, reviewing and waiving count people, whatever their names and tokens are."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.errors import ApprovalDue, Forbidden, InvalidInput
from deltareg.wire import TokenCreate

APPROVES = ("read", "approve")


@pytest.fixture
def asking(registry_server):
    """Serve v2, and let `prod` ask for two approvals."""
    registry_server.line("lora", "lora_v2")
    with write(registry_server.registry.engine) as conn:
        own = sa.update(t.channels).where(t.channels.c.name == "prod")
        conn.execute(own.values(policy={"suites": ["smoke"], "approvals": 2}))
    return registry_server


def opened_by(server, principal, **more):
    client = server.client(("read", "promote"), principal=principal, **more)
    with pytest.raises(ApprovalDue) as due:
        client.promote("team/lora:v1", "prod")
    return due.value.request


def id_of(server, name):
    with read(server.registry.engine) as conn:
        query = sa.select(t.principals.c.id).where(t.principals.c.name == name)
        return conn.execute(query).scalar_one()


def approve_by_hand(server, name, request):
    """Write an approval past every use case, as somebody who may write the table would."""
    who = id_of(server, name)
    with write(server.registry.engine) as conn:
        of = sa.select(sa.func.max(t.tokens.c.id)).where(t.tokens.c.principal_id == who)
        values = {"request_id": request, "principal_id": who, "message": "", "token_id": conn.execute(of).scalar_one()}
        conn.execute(sa.insert(t.approvals).values(values))


def test_a_script_opens_no_request_for_who_made_it_to_approve(asking):
    request = opened_by(asking, "bot", kind="ci")
    admin = asking.client(APPROVES, principal="admin")

    with pytest.raises(Forbidden, match="admin, under another name, opened it"):
        admin.requests.approve(request)
    with pytest.raises(sa.exc.IntegrityError, match="who opened a request does not approve it"):
        approve_by_hand(asking, "admin", request)


def test_a_script_approves_reviews_and_waives_nothing_whoever_it_acts_for(asking):
    """Its secret lies in a CI that developers write to: nobody knows which of them it speaks for."""
    request = opened_by(asking, "bob")
    bot = asking.client((*APPROVES, "promote", "admin"), principal="bot", kind="ci")
    with pytest.raises(Forbidden, match="bot is a service, and an approval is a person's word"):
        bot.requests.approve(request)
    glass = asking.client(("read", "break-glass"), principal="cyd")
    moved = glass.promote("team/lora:v1", "prod", break_glass=True, reason="outage")
    verdict = asking.verified("team/lora:v2", verdict="fail", again=True)

    with pytest.raises(Forbidden, match="bot is a service, and a review is a person's word"):
        bot.channels.review("team/lora", "prod", moved.revision, message="fine")
    with pytest.raises(Forbidden, match="bot is a service, and a waiver is a person's word"):
        bot.verdicts.waive(verdict.id, "effect", channel="prod", reason="known")


def test_an_approval_that_a_script_gave_before_does_not_count(asking):
    request = opened_by(asking, "bob")
    asking.client(APPROVES, principal="bot", kind="ci")

    approve_by_hand(asking, "bot", request)

    shown = asking.client(APPROVES, principal="cyd").requests.approve(request)
    assert (shown.state, shown.missing, [one.principal for one in shown.approvals]) == ("open", 1, ["cyd"])


def test_the_first_token_of_a_script_says_whose_it_is(asking):
    """Else it would act for the admin who makes it, and who gets it would approve what it opened."""
    dev = asking.client((*APPROVES, "promote"), principal="dev")
    admin = asking.client(("admin", "read"), principal="boss")
    wanted = TokenCreate(principal="dev-ci", kind="ci", scopes=["read", "promote"], everywhere=True)

    with pytest.raises(InvalidInput, match="nobody has said whose script dev-ci is") as caught:
        admin.tokens.create(wanted)
    made = admin.tokens.create(wanted.model_copy(update={"acts_for": "dev"}))
    bot = asking._client(made.token, ("read", "promote"), "dev-ci", "ci")
    with pytest.raises(ApprovalDue) as due:
        bot.promote("team/lora:v1", "prod")

    assert "--acts-for" in caught.value.fix
    assert made.people == ["dev"]
    with pytest.raises(Forbidden, match="dev, under another name, opened it"):
        dev.requests.approve(due.value.request)
    second = admin.tokens.create(wanted)
    assert second.people == ["boss", "dev"], "who makes one more without saying so has seen it"


def test_two_tokens_of_one_principal_are_one(asking):
    request = opened_by(asking, "bob")
    first, second = (asking.client(APPROVES, principal="cyd") for _ in range(2))

    assert first.requests.approve(request).missing == 1
    assert second.requests.approve(request).missing == 1


def test_who_breaks_the_glass_as_a_script_does_not_review_it(asking):
    bot = asking.client(("read", "break-glass"), principal="bot", kind="ci")
    moved = bot.promote("team/lora:v1", "prod", break_glass=True, reason="outage")
    admin = asking.client(APPROVES, principal="admin")

    with pytest.raises(Forbidden, match="somebody else has to review it"):
        admin.channels.review("team/lora", "prod", moved.revision, message="fine")


def test_an_approval_takes_a_role_in_the_namespace_of_the_request(asking):
    """In the database, too: a token's scopes alone are no right to approve."""
    request = opened_by(asking, "bob")
    with asking.client() as admin:
        body = TokenCreate(principal="dan", scopes=["read", "approve"], everywhere=False)
        admin.tokens.create(body)

    with pytest.raises(sa.exc.IntegrityError, match="a role that approves in the namespace"):
        approve_by_hand(asking, "dan", request)
    with asking.client() as admin:
        admin.members.add("dan", "approver", namespace="team")
    approve_by_hand(asking, "dan", request)


def test_the_approval_of_who_is_no_approver_any_more_does_not_count(asking):
    """Somebody who left, or whose token was in the wrong hands, before the last approval came."""
    request = opened_by(asking, "bob")
    asking.client(APPROVES, principal="cyd").requests.approve(request)
    admin = asking.client()
    (role,) = [row for row in admin.members.list(limit=99).items if (row.principal, row.role) == ("cyd", "approver")]

    admin.members.end(role.id)
    left = admin.requests.show(request)
    waits = asking.client(APPROVES, principal="dan").requests.approve(request)
    with pytest.raises(ApprovalDue):
        asking.client(("read", "promote"), principal="bob").promote("team/lora:v1", "prod")
    moved = asking.client(APPROVES, principal="eve").requests.approve(request)

    assert (left.missing, [one.principal for one in left.approvals]) == (2, [])
    assert (waits.state, waits.missing) == ("open", 1)
    assert (moved.state, [one.principal for one in moved.approvals]) == ("promoted", ["dan", "eve"])


def test_an_approver_of_one_channel_approves_there_alone(asking):
    with asking.client() as admin:
        body = TokenCreate(principal="dan", scopes=["read", "approve"], everywhere=False)
        admin.tokens.create(body)
        given = admin.members.add("dan", "approver", namespace="team", pattern="*@dev")
    request = opened_by(asking, "bob")
    with asking.client() as admin:
        token = admin.tokens.create(body).token
    dan = asking.http(token)

    refused = dan.post(f"/requests/{request}:approve", json={})
    with asking.client() as admin:
        admin.members.end(given.id)
        admin.members.add("dan", "approver", namespace="team", pattern="lor*@prod")
    allowed = dan.post(f"/requests/{request}:approve", json={})

    assert (refused.status_code, allowed.status_code) == (403, 200)
    assert "'approve' on team/lora@prod" in refused.json()["detail"]
