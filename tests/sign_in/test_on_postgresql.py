"""The same on PostgreSQL, with several servers' worth of haste: who signs in, stays in and is logged out."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from deltareg.db.session import as_writer, read
from deltareg.db.tables import identities, principals, sign_ins
from deltareg.service.access.sign_in.refreshing import refresh_due
from tests.api.test_same_names_at_once import until_it_waits
from tests.fixtures.openid import browsing, sign_in
from tests.fixtures.registries import running
from tests.sign_in.conftest import GROUPS, let_group
from tests.sign_in.test_command_line import ask, confirm, fetch
from tests.sign_in.test_staying_in import is_in, roles, wait_in_effect

pytestmark = pytest.mark.postgres


@pytest.fixture
def desk(postgresql_url, tmp_path, openid):
    """Run a registry on PostgreSQL."""
    providers = (openid.open(groups=GROUPS),)
    with running(postgresql_url, (tmp_path / "blobs").as_uri(), tmp_path, providers=providers) as server:
        openid.serves(server.url)
        yield server


def test_signing_in_staying_in_and_logging_out(desk, openid):
    openid.person("p-1", "anna", groups=["ml-engineers"])
    let_group(desk, "engineers", "promoter")
    with browsing() as browser, browsing() as machine:
        sign_in(browser, desk.url, "p-1")
        asked = ask(desk.http())
        confirm(machine, desk, asked["code"], "p-1")
        token = fetch(desk.http(), asked).json()["token"]
        before = roles(browser, desk)

        openid.person("p-1", "anna")
        wait_in_effect(desk)
        with ThreadPoolExecutor(4) as pool:
            asked_about = sum(pool.map(lambda _: refresh_due(desk.registry), range(4)))
        after = roles(browser, desk)
        gone = openid.tell("logout_token", subject="p-1")["token"]
        answers = [browser.post(f"{desk.url}/ui/sign-in/acme/logout", data={"logout_token": gone}) for _ in range(2)]

        assert any("promoter" in role for role in before)
        assert (asked_about, after) == (2, [])
        assert [answer.status_code for answer in answers] == [200, 400]
        assert not is_in(browser, desk)
        assert desk.http(token).get("/whoami").status_code == 401


@pytest.mark.soak
def test_who_comes_for_the_first_time_from_many_windows_is_one_person(desk, openid):
    openid.person("p-2", "ben")

    def come(_):
        with browsing() as client:
            return sign_in(client, desk.url, "p-2").status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(come, range(6)))

    with read(desk.registry.engine) as conn:
        people = conn.execute(sa.select(identities.c.principal_id)).scalars().all()
        number = conn.execute(sa.select(sa.func.count()).select_from(sign_ins)).scalar()
    assert set(statuses) == {303}
    assert len(people) == 1
    assert number == 6


def test_a_service_that_is_made_while_somebody_of_its_name_signs_in_is_another_principal(desk, openid):
    openid.person("p-3", "release-bot")
    wanted = {"principal": "release-bot", "kind": "ci", "scopes": ["push"], "acts_for": "admin", "everywhere": True}
    engine = desk.registry.engine

    with browsing() as browser, ThreadPoolExecutor(1) as pool, engine.connect() as rival:
        as_writer(rival)
        with rival.begin():
            rival.execute(sa.insert(principals).values(name="release-bot", kind="service"))
            coming = pool.submit(sign_in, browser, desk.url, "p-3")
            until_it_waits(engine, coming)
        status = coming.result().status_code
        made = desk.http(desk.admin_token).post("/tokens", json=wanted)
        who = browser.get(f"{desk.url}/ui/sessions?format=json").json()["who"]

    assert (status, made.status_code) == (303, 201)
    assert (who["principal"], who["roles"]) == ("release-bot-2", [])
