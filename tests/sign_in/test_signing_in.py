"""Signing in with a real provider, as browsers do: who somebody is then, and what they may do."""

import pytest
import sqlalchemy as sa

from deltareg.db.access.grants import add_grant
from deltareg.db.access.principals import principal_id
from deltareg.db.session import read, write
from deltareg.db.sql.clock import now_us
from deltareg.db.tables import principals, sign_in_attempts, sign_ins, tokens
from tests.fixtures.openid import browsing, come_back, sign_in, way_out
from tests.pages.conftest import FROM_OURS
from tests.sign_in.conftest import let_group


def who_is_in(client, desk):
    """Ask who a browser is logged in as."""
    return client.get(f"{desk.url}/ui/sessions?format=json").json()["who"]


@pytest.fixture
def browser():
    with browsing() as client:
        yield client


def test_who_signs_in_is_a_person_of_their_own(desk, openid, browser):
    openid.person("s-1", "Anna.Meyer@acme.example", email="Anna@acme.example", email_verified=True)

    back = sign_in(browser, desk.url, "s-1", path="/ui/deltas")

    assert (back.status_code, back.headers["Location"]) == (303, "/ui/deltas")
    assert who_is_in(browser, desk)["principal"] == "anna.meyer"
    admin = desk.http(desk.admin_token)
    (listed,) = [each for each in admin.get("/identities").json()["items"] if each["subject"] == "s-1"]
    assert (listed["provider"], listed["principal"], listed["email"]) == ("acme", "anna.meyer", "anna@acme.example")


def test_the_groups_of_the_provider_are_what_somebody_may(desk, openid, browser):
    openid.person("s-2", "ben", groups=["ml-engineers", "deltareg-readers", "unmapped"])
    let_group(desk, "engineers", "promoter")

    sign_in(browser, desk.url, "s-2")

    assert [role for role in who_is_in(browser, desk)["roles"] if "promoter" in role]
    with read(desk.registry.engine) as conn:
        made = set(conn.execute(sa.select(principals.c.name).where(principals.c.kind == "group")).scalars())
    assert {"engineers", "readers"} <= made
    assert "unmapped" not in made


def test_a_name_that_somebody_has_is_not_taken_over(desk, openid, browser):
    desk.token("read", "admin", principal="carl")
    openid.person("s-3", "carl", email="carl@acme.example", email_verified=True)
    openid.person("s-3b", "admin")

    sign_in(browser, desk.url, "s-3")
    first = who_is_in(browser, desk)
    with browsing() as other:
        sign_in(other, desk.url, "s-3b")
        second = who_is_in(other, desk)["principal"]

    assert (first["principal"], first["roles"]) == ("carl-2", [])
    assert second == "admin-2"


def test_who_signs_in_under_the_name_of_a_service_to_be_does_not_get_its_rights(desk, openid, browser):
    openid.person("n-1", "release-bot")
    admin = desk.http(desk.admin_token)
    wanted = {"principal": "release-bot", "kind": "ci", "scopes": ["push", "promote"], "everywhere": True}

    sign_in(browser, desk.url, "n-1")
    made = admin.post("/tokens", json=wanted)

    assert made.status_code == 409
    assert "release-bot is a user, and no service" in made.json()["detail"]
    who = who_is_in(browser, desk)
    assert (who["principal"], who["roles"]) == ("release-bot", [])


def test_who_signs_in_under_the_name_of_a_service_is_another_one(desk, openid):
    desk.token("read", "push", principal="deploy-bot", kind="ci")
    names = {"n-2": "Deploy-Bot", "n-3": "local-worker", "n-4": "pod-1-verifier"}
    for subject, name in names.items():
        openid.person(subject, name)

    became = []
    for subject in names:
        with browsing() as browser:
            sign_in(browser, desk.url, subject)
            became.append(who_is_in(browser, desk))

    assert [each["principal"] for each in became] == ["deploy-bot-2", "local-worker-2", "person-pod-1-verifier"]
    assert [each["roles"] for each in became] == [[], [], []]


def test_an_admin_links_who_was_here_before(desk, openid, browser):
    desk.token("read", principal="dora")
    openid.person("s-4", "dora")
    sign_in(browser, desk.url, "s-4")
    admin = desk.http(desk.admin_token)
    (own,) = [each for each in admin.get("/identities").json()["items"] if each["subject"] == "s-4"]

    path = f"/identities/{own['id']}:link"
    refused = desk.http(desk.token("read", principal="eve")).post(path, json={"principal": "eve"})
    to_worker = admin.post(path, json={"principal": desk.token("verify", principal="w-1", kind="wrk") and "w-1"})
    linked = admin.post(path, json={"principal": "dora"})
    before = browser.get(f"{desk.url}/ui/deltas")
    sign_in(browser, desk.url, "s-4")

    assert (refused.status_code, to_worker.status_code, linked.status_code) == (403, 422, 200)
    assert before.headers["Location"].startswith("/ui/login")
    assert who_is_in(browser, desk)["principal"] == "dora"


def test_who_is_disabled_is_out_at_once_and_comes_in_no_more(desk, openid, browser):
    openid.person("s-5", "fred")
    sign_in(browser, desk.url, "s-5")
    assert browser.get(f"{desk.url}/ui/deltas").status_code == 200

    with write(desk.registry.engine) as conn:
        conn.execute(sa.update(principals).where(principals.c.name == "fred").values(disabled_at=now_us()))
    then = browser.get(f"{desk.url}/ui/deltas")
    again = sign_in(browser, desk.url, "s-5")

    assert then.headers["Location"].startswith("/ui/login")
    assert again.status_code == 403
    assert "fred is disabled in this registry" in again.text


def test_who_logs_out_leaves_no_token_behind(desk, openid, browser):
    openid.person("s-6", "gina")
    sign_in(browser, desk.url, "s-6")
    text = browser.get(f"{desk.url}/ui/sessions").text
    word = text.partition('name="word" value="')[2].partition('"')[0]

    browser.post(f"{desk.url}/ui/logout", data={"word": word}, headers=FROM_OURS)

    with read(desk.registry.engine) as conn:
        query = sa.select(tokens.c.revoked_at).join(sign_ins, sign_ins.c.token_id == tokens.c.id)
        mine = principal_id(conn, "gina")
        assert all(conn.execute(query.where(tokens.c.principal_id == mine)).scalars())


def test_a_sign_in_is_for_all_but_the_glass_and_verdicts(desk, openid, browser):
    openid.person("s-7", "hana")
    sign_in(browser, desk.url, "s-7")
    with write(desk.registry.engine) as conn:
        hana = principal_id(conn, "hana")
        assert hana is not None
        add_grant(conn, hana, role="break-glass", namespace_id=None, created_by=None)

    assert set(who_is_in(browser, desk)["scopes"]) == {"read", "push", "promote", "approve", "serve", "admin"}


def test_who_says_no_there_is_told_so_here(desk, browser):
    left = browser.post(f"{desk.url}/ui/sign-in/acme", data={"next": "/ui/"}, headers=FROM_OURS)

    back = come_back(browser, way_out(left.text), None)

    assert back.status_code == 401
    assert "Acme did not sign you in: they said no" in back.text
    assert "Sign in with Acme" in back.text
    with read(desk.registry.engine) as conn:
        assert not conn.execute(sa.select(sa.func.count()).select_from(sign_in_attempts)).scalar()
