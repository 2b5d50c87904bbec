"""What somebody tries who wants to be somebody else, or to have somebody be them."""

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
import sqlalchemy as sa

from deltareg.db.session import read
from deltareg.db.tables import audit, sign_ins
from tests.fixtures.openid import browsing, sign_in, to_the_way_back, way_out
from tests.pages.conftest import FROM_OURS
from tests.pages.test_login import ELSEWHERE, name_of
from tests.sign_in.conftest import registry_with

HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def desk(sqlite_template, tmp_path_factory, openid):
    """Run a registry with two providers, which are one behind two names."""
    providers = openid.open(), openid.open("other")
    with registry_with(sqlite_template, tmp_path_factory.mktemp("desk"), providers) as server:
        openid.serves(server.url, names=("acme", "other"))
        openid.person("victim", "victim")
        openid.person("mallory", "mallory")
        yield server


@pytest.fixture
def browser():
    with browsing() as client:
        yield client


def begin(client, desk, *, name="acme", form=None):
    """Be sent to a provider; returns where."""
    left = client.post(f"{desk.url}/ui/sign-in/{name}", data=form or {}, headers=FROM_OURS)
    assert left.status_code == 200, left.text
    return way_out(left.text)


def way_back(client, desk, who, *, name="acme"):
    """Be sent, sign in there, and stop before the way back; returns its address."""
    return to_the_way_back(client, begin(client, desk, name=name), who)


def count_sign_ins(desk):
    with read(desk.registry.engine) as conn:
        return conn.execute(sa.select(sa.func.count()).select_from(sign_ins)).scalar()


def is_refused(answer, status=401):
    return answer.status_code == status and not any(
        "deltareg-" in each and "sign-in" not in each for each in answer.headers.get_list("Set-Cookie")
    )


def test_nobody_is_logged_in_as_who_sends_them_a_link(desk, browser):
    with browsing() as mallory:
        link = way_back(mallory, desk, "mallory")

    assert is_refused(browser.get(link, headers=HTML))
    begin(browser, desk)  # one that was sent away itself, with another state
    assert is_refused(browser.get(link, headers=HTML))


@pytest.mark.parametrize("path", ["/ui/sign-in/acme", "/ui/device"])
@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://evil"}, {}]
)
def test_another_site_sends_nobody_away(desk, browser, path, headers):
    answer = browser.post(f"{desk.url}{path}", data={"next": "/ui/"}, headers=headers)

    assert answer.status_code == 403
    assert "http-equiv" not in answer.text


@pytest.mark.parametrize("path", ELSEWHERE[:3])  # tests/pages asks for all of them
def test_a_sign_in_leads_nowhere_else(desk, browser, path):
    back = sign_in(browser, desk.url, "victim", path=path)

    assert (back.status_code, back.headers["Location"]) == (303, "/ui")


def test_a_way_back_is_good_once(desk, browser):
    link = way_back(browser, desk, "victim")
    cookies = dict(browser.cookies)

    first = browser.get(link, headers=HTML)
    again = httpx.get(link, cookies=cookies, headers=HTML)

    assert first.status_code == 303
    assert is_refused(again)


def test_of_many_who_come_back_at_once_one_comes_in(desk, browser):
    link = way_back(browser, desk, "victim")
    cookies, before = dict(browser.cookies), count_sign_ins(desk)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: httpx.get(link, cookies=cookies, headers=HTML, timeout=30), range(6)))

    assert sorted(each.status_code for each in answers) == [303] + 5 * [401]
    assert count_sign_ins(desk) == before + 1


def test_a_code_of_somebody_else_is_worth_nothing(desk, browser):
    stolen = parse_qs(urlsplit(way_back(browser, desk, "victim")).query)["code"][0]
    with browsing() as mallory:
        own = urlsplit(way_back(mallory, desk, "mallory"))
        query = {key: values[0] for key, values in parse_qs(own.query).items()} | {"code": stolen}

        answer = mallory.get(own._replace(query=urlencode(query)).geturl(), headers=HTML)

    assert is_refused(answer)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"state": "x" * 64},
        {"state": None},
        {"code": None},
        {"code": "x"},
        {"code": "\x00\ud800"[:1]},
        {"state": "é" * 10},
    ],
    ids=str,
)
def test_what_comes_back_otherwise_is_refused(desk, browser, change):
    own = urlsplit(way_back(browser, desk, "victim"))
    query = {key: values[0] for key, values in parse_qs(own.query).items()} | change
    query = {key: value for key, value in query.items() if value is not None}

    answer = browser.get(own._replace(query=urlencode(query)).geturl(), headers=HTML)

    assert answer.status_code in {400, 401}
    assert is_refused(answer, answer.status_code)


def test_who_was_sent_to_one_provider_comes_back_from_no_other(desk, browser):
    link = way_back(browser, desk, "victim", name="acme")

    assert is_refused(browser.get(link.replace("/sign-in/acme/", "/sign-in/other/"), headers=HTML))
    assert is_refused(browser.get(link.replace("/sign-in/acme/", "/sign-in/none/"), headers=HTML), 404)


def test_a_secret_that_was_there_is_not_taken_over(desk, browser):
    chosen = "chosen-by-mallory"
    browser.cookies.set(f"deltareg-sign-in-{desk.url.rpartition(':')[2]}", chosen, domain="127.0.0.1", path="/ui")
    browser.cookies.set(name_of(desk), chosen, domain="127.0.0.1", path="/ui")

    back = sign_in(browser, desk.url, "victim")

    assert back.status_code == 303
    again = httpx.get(f"{desk.url}/ui/", cookies={name_of(desk): chosen})
    assert again.headers["Location"].startswith("/ui/login")


def test_the_way_there_asks_for_a_code_with_pkce_and_shows_no_secret(desk, browser):
    query = {key: values[0] for key, values in parse_qs(urlsplit(begin(browser, desk)).query).items()}
    secret = next(iter(browser.cookies.values()))

    assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
    assert {"state", "nonce", "code_challenge", "redirect_uri", "client_id"} <= query.keys()
    assert secret not in str(query)
    assert len({query["state"], query["nonce"], query["code_challenge"]}) == 3


def test_the_trail_says_who_signed_in_with_what(desk, browser):
    sign_in(browser, desk.url, "mallory")

    with read(desk.registry.engine) as conn:
        newest = conn.execute(sa.select(audit).order_by(audit.c.id.desc()).limit(1)).one()
    assert newest.actor == "mallory"
    assert newest.action == "session.begin"
    assert (newest.after["provider"], newest.after["subject"]) == ("acme", "mallory")
