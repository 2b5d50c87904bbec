"""What becomes of who is signed in: new groups, an end at the provider, new keys, and a provider that is away."""

import pytest
import sqlalchemy as sa

from deltareg.db.session import read, write
from deltareg.db.sql.clock import US_PER_S, now_us
from deltareg.db.tables import group_members, identities, sign_ins, tokens
from deltareg.service.access.sign_in.refreshing import end_lapsed_groups, refresh_due
from tests.fixtures.openid import browsing, sign_in
from tests.pages.conftest import FROM_OURS
from tests.sign_in.conftest import let_group


@pytest.fixture
def browser():
    with browsing() as client:
        yield client


def wait_in_effect(desk, *, seconds=600, is_used=True):
    """Let it be later: sign-ins were confirmed a while ago, and used since, or not."""
    with write(desk.registry.engine) as conn:
        conn.execute(sa.update(sign_ins).values(checked_at=sign_ins.c.checked_at - seconds * US_PER_S, held_until=None))
        if is_used:
            conn.execute(
                sa.update(tokens).where(tokens.c.id.in_(sa.select(sign_ins.c.token_id))).values(last_used_at=now_us())
            )


def roles(client, desk):
    return client.get(f"{desk.url}/ui/sessions?format=json").json()["who"]["roles"]


def is_in(client, desk):
    return client.get(f"{desk.url}/ui/deltas").status_code == 200


def newest(desk, subject):
    """Give the newest sign-in of somebody, with its token."""
    with read(desk.registry.engine) as conn:
        query = (
            sa.select(sign_ins, tokens.c.expires_at, tokens.c.revoked_at)
            .join(tokens, tokens.c.id == sign_ins.c.token_id)
            .join(identities, identities.c.id == sign_ins.c.identity_id)
            .where(identities.c.subject == subject)
            .order_by(sign_ins.c.id.desc())
        )
        return conn.execute(query).first()


def test_other_groups_are_other_rights_without_a_new_sign_in(desk, openid, browser):
    let_group(desk, "engineers", "approver")
    openid.person("g-1", "ida", groups=["ml-engineers"])
    sign_in(browser, desk.url, "g-1")
    assert any("approver" in role for role in roles(browser, desk))

    openid.person("g-1", "ida", groups=[])
    soon = refresh_due(desk.registry)
    wait_in_effect(desk)
    later = refresh_due(desk.registry)

    assert (soon, later) == (0, 1)
    assert roles(browser, desk) == []
    openid.person("g-1", "ida", groups=["ml-engineers"])
    wait_in_effect(desk)
    refresh_due(desk.registry)  # by the refresh token that came with the last one
    assert any("approver" in role for role in roles(browser, desk))


def test_what_nobody_uses_is_asked_about_twice_a_day(desk, openid, browser):
    openid.person("g-2", "jon")
    sign_in(browser, desk.url, "g-2")
    wait_in_effect(desk, seconds=0)
    refresh_due(desk.registry, checked_s=-1)  # all that is left of other tests

    wait_in_effect(desk, seconds=600, is_used=False)
    with write(desk.registry.engine) as conn:
        conn.execute(sa.update(tokens).values(last_used_at=None))
    unused = refresh_due(desk.registry)
    wait_in_effect(desk, seconds=13 * 3600, is_used=False)
    due = refresh_due(desk.registry)

    assert unused == 0
    assert due >= 1


def test_who_is_gone_there_is_out_here(desk, openid, browser):
    openid.person("g-3", "kim")
    sign_in(browser, desk.url, "g-3")
    openid.tell("disable", subject="g-3")

    wait_in_effect(desk)
    refresh_due(desk.registry)

    assert not is_in(browser, desk)
    assert newest(desk, "g-3").revoked_at is not None


def test_who_may_not_come_in_any_more_is_out_and_in_no_group(desk, openid, browser):
    openid.person("g-4", "lea", groups=["ml-engineers"])
    sign_in(browser, desk.url, "g-4")
    provider = desk.registry.providers[0]
    settings = provider.settings
    provider.settings = openid.settings(admit=("ops",), groups=dict(settings.groups))
    try:
        wait_in_effect(desk)
        refresh_due(desk.registry)
        again = sign_in(browser, desk.url, "g-4")
    finally:
        provider.settings = settings

    assert not is_in(browser, desk)
    assert (again.status_code, "this registry does not let you in" in again.text) == (403, True)


def test_while_the_provider_is_away_who_is_in_goes_on_and_who_comes_is_told(desk, openid, browser):
    openid.person("g-5", "max")
    sign_in(browser, desk.url, "g-5")
    openid.tell("down")
    try:
        wait_in_effect(desk)
        refresh_due(desk.registry)
        stays = is_in(browser, desk)
        left = browser.post(f"{desk.url}/ui/sign-in/acme", data={}, headers=FROM_OURS)
    finally:
        openid.tell("up")

    assert stays
    assert left.status_code == 200  # where to is known, and its own page says that it is away
    assert newest(desk, "g-5").revoked_at is None
    wait_in_effect(desk)
    refresh_due(desk.registry)
    assert is_in(browser, desk)


def test_a_provider_that_never_answered_is_named(desk, openid, browser):
    provider = desk.registry.providers[0]
    settings, metadata, asked = provider.settings, provider._metadata, provider._asked_at
    provider._metadata, provider._asked_at = None, float("-inf")
    openid.tell("down")
    try:
        left = browser.post(f"{desk.url}/ui/sign-in/acme", data={}, headers=FROM_OURS)
    finally:
        openid.tell("up")
        provider.settings, provider._metadata, provider._asked_at = settings, metadata, asked
        provider._failure = None

    assert left.status_code == 503
    assert "the provider acme cannot be asked" in left.text
    assert "With a token" in left.text


def test_a_sign_in_that_nobody_confirms_ends_within_a_day(desk, openid, browser):
    openid.person("g-6", "nia")
    sign_in(browser, desk.url, "g-6")
    row = newest(desk, "g-6")
    assert row.expires_at - row.checked_at <= 24 * 3600 * US_PER_S

    with write(desk.registry.engine) as conn:
        conn.execute(sa.update(tokens).where(tokens.c.id == row.token_id).values(expires_at=now_us()))

    assert not is_in(browser, desk)


def test_the_provider_may_change_its_keys(desk, openid, browser):
    openid.person("g-7", "oli")
    sign_in(browser, desk.url, "g-7")
    openid.tell("rotate")
    desk.registry.providers[0]._keys._asked_at -= 60  # a minute goes by

    wait_in_effect(desk)
    refresh_due(desk.registry)
    with browsing() as other:
        back = sign_in(other, desk.url, "g-7")

    assert back.status_code == 303
    assert is_in(browser, desk)


def test_what_the_provider_is_asked_with_is_sealed(desk, openid, browser):
    openid.person("g-8", "pam")
    sign_in(browser, desk.url, "g-8")
    sealed = newest(desk, "g-8").refresh

    opened = desk.registry.box.open(sealed, "sign-in")

    assert opened.encode() not in sealed
    assert len(opened) > 20


def test_who_logs_out_there_is_out_here_at_once(desk, openid, browser):
    openid.person("g-9", "quin")
    sign_in(browser, desk.url, "g-9")

    with browsing() as elsewhere:  # another session there, which goes on
        sign_in(elsewhere, desk.url, "g-9")
        sent = openid.tell("logout", subject="g-9", first=True)
        after = is_in(browser, desk), is_in(elsewhere, desk)

    assert sent == {"sent": 1}
    assert sorted(after) == [False, True]


def test_a_logout_token_is_good_once_and_for_what_was_before_it(desk, openid, browser):
    openid.person("g-10", "rob")
    sign_in(browser, desk.url, "g-10")
    token = openid.tell("logout_token", subject="g-10")["token"]
    path = f"{desk.url}/ui/sign-in/acme/logout"

    first = browser.post(path, data={"logout_token": token})
    out = is_in(browser, desk)
    sign_in(browser, desk.url, "g-10")
    again = browser.post(path, data={"logout_token": token})

    assert (first.status_code, out) == (200, False)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_request")
    assert is_in(browser, desk)
    assert first.headers["Cache-Control"] == "no-store"


def test_of_what_has_ended_nothing_is_kept_to_ask_with(desk, openid, browser):
    openid.person("g-11", "sol")
    sign_in(browser, desk.url, "g-11")
    ended = newest(desk, "g-11")
    with write(desk.registry.engine) as conn:
        conn.execute(sa.update(tokens).where(tokens.c.id == ended.token_id).values(revoked_at=now_us()))

    sign_in(browser, desk.url, "g-11")

    with read(desk.registry.engine) as conn:
        left = conn.execute(sa.select(sign_ins.c.refresh).where(sign_ins.c.token_id == ended.token_id)).scalar_one()
    assert left is None
    let_time_pass(desk, "g-11", days=31)
    sign_in(browser, desk.url, "g-11")
    with read(desk.registry.engine) as conn:
        row = conn.execute(sa.select(sign_ins.c.id).where(sign_ins.c.token_id == ended.token_id)).first()
    assert row is None


def member_with_token(desk, openid, browser, subject, name):
    """Let somebody sign in who is an engineer there, and have a token of an admin's beside it; give a client of it."""
    let_group(desk, "engineers", "approver")
    openid.person(subject, name, groups=["ml-engineers"])
    sign_in(browser, desk.url, subject)
    made = desk.http(desk.admin_token).post("/tokens", json={"principal": name, "scopes": ["read", "approve"]})
    return desk.http(made.json()["token"])


def let_time_pass(desk, subject, *, days):
    """Let the sign-ins and memberships of somebody be older, and their sign-ins have ended by themselves."""
    mine = sa.select(identities.c.id).where(identities.c.subject == subject)
    who = sa.select(identities.c.principal_id).where(identities.c.subject == subject)
    late = days * 24 * 3600 * US_PER_S
    with write(desk.registry.engine) as conn:
        own = sign_ins.c.identity_id.in_(mine)
        conn.execute(sa.update(sign_ins).where(own).values(checked_at=sign_ins.c.checked_at - late))
        of_sign_in = tokens.c.id.in_(sa.select(sign_ins.c.token_id).where(own))
        conn.execute(sa.update(tokens).where(of_sign_in).values(expires_at=now_us()))
        older = group_members.c.created_at - late
        conn.execute(sa.update(group_members).where(group_members.c.member_id.in_(who)).values(created_at=older))


def test_who_is_gone_there_has_no_group_of_the_provider_with_any_token(desk, openid, browser):
    own = member_with_token(desk, openid, browser, "g-20", "uma")
    before = own.get("/whoami").json()["roles"]
    openid.tell("disable", subject="g-20")

    wait_in_effect(desk)
    refresh_due(desk.registry)

    assert any("approver" in role for role in before)
    assert own.get("/whoami").json()["roles"] == []


def test_who_is_signed_in_elsewhere_keeps_the_groups(desk, openid, browser):
    own = member_with_token(desk, openid, browser, "g-21", "vera")
    with browsing() as elsewhere:
        sign_in(elsewhere, desk.url, "g-21")
        with write(desk.registry.engine) as conn:  # what it asks with is old
            sealed = desk.registry.box.seal("a-token-that-nobody-has", "sign-in")
            first = sa.select(sa.func.min(sign_ins.c.id)).where(sign_ins.c.token_id.in_(sign_in_tokens("g-21")))
            conn.execute(sa.update(sign_ins).where(sign_ins.c.id == first.scalar_subquery()).values(refresh=sealed))
        wait_in_effect(desk)
        refresh_due(desk.registry)

        assert (is_in(browser, desk), is_in(elsewhere, desk)) == (False, True)
        assert any("approver" in role for role in own.get("/whoami").json()["roles"])


def sign_in_tokens(subject):
    mine = sa.select(identities.c.id).where(identities.c.subject == subject)
    return sa.select(sign_ins.c.token_id).where(sign_ins.c.identity_id.in_(mine))


@pytest.mark.parametrize(("days", "left"), [(29, True), (31, False)])
def test_the_groups_of_who_signs_in_no_more_lapse_after_thirty_days(desk, openid, browser, days, left):
    own = member_with_token(desk, openid, browser, f"g-22-{days}", f"wim-{days}")
    let_time_pass(desk, f"g-22-{days}", days=days)

    end_lapsed_groups(desk.registry)

    assert bool(own.get("/whoami").json()["roles"]) == left


@pytest.mark.parametrize("change", [{"name": "acme-2"}, {"issuer": "https://elsewhere.example"}], ids=str)
@pytest.mark.parametrize("has_ended", [False, True])
def test_the_groups_of_a_provider_that_is_another_one_now_end(desk, openid, browser, change, has_ended):
    """By another name, or by another issuer under its name; whoever is signed in, or has been."""
    subject = f"g-23-{next(iter(change))}-{has_ended}"
    own = member_with_token(desk, openid, browser, subject, f"x-{subject.lower()}")
    if has_ended:
        let_time_pass(desk, subject, days=1)
    provider = desk.registry.providers[0]
    settings = provider.settings
    provider.settings = openid.settings(**{"groups": dict(settings.groups), **change})
    try:
        wait_in_effect(desk)
        refresh_due(desk.registry)
        end_lapsed_groups(desk.registry)
        after = own.get("/whoami").json()["roles"]
    finally:
        provider.settings = settings

    assert (is_in(browser, desk), after) == (False, [])
