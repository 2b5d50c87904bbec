"""What holds for pages holds for each of them: asked of the list of routes, not of a few."""

import httpx
import pytest

from tests.pages.conftest import FROM_OURS, browser, word_of
from tests.pages.routes import ACTS, FORMS, OPEN, READ, STREAMS, routes_of

RUN = "00000000-0000-4000-8000-000000000000"
ELSEWHERE = [{"Sec-Fetch-Site": site} for site in ("cross-site", "same-site", "none")]
ELSEWHERE += [{"Origin": "https://evil.example"}, {"Origin": "null"}, {}]
KEPT = {
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
}
POLICY = ("default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'")
OTHERS = {"GET": ("POST", "PUT", "PATCH", "DELETE"), "POST": ("GET", "PUT", "PATCH", "DELETE")}


@pytest.fixture(scope="module")
def desk(shared_registry):
    """Take what many modules share: nothing here gets to what a page shows."""
    return shared_registry


@pytest.fixture(scope="module")
def stranger(desk):
    with httpx.Client(base_url=desk.url, headers=FROM_OURS, timeout=30) as client:
        yield client


def addresses(rows):
    return [pytest.param(to.format(run=RUN, verdict=RUN), id=path) for path, to in rows.items()]


def is_closed(answer):
    policy = answer.headers["Content-Security-Policy"]
    kept = {name: answer.headers.get(name) for name in KEPT}
    return kept == KEPT and all(part in policy for part in POLICY) and "unsafe" not in policy


def test_every_route_has_a_row(desk):
    listed = {f"GET {path}" for path in READ | STREAMS} | {f"POST {path}" for path in ACTS} | OPEN

    assert routes_of(desk.registry) == listed


@pytest.mark.parametrize("address", addresses(READ | STREAMS))
def test_a_page_shows_nothing_to_who_is_not_logged_in(stranger, address):
    as_page = stranger.get(address, headers={"Accept": "text/html"})
    as_json = stranger.get(address, headers={"Accept": "application/json"})

    assert (as_page.status_code, as_page.content) == (303, b"")
    assert as_page.headers["Location"].startswith("/ui/login?next=%2Fui%2F")
    assert (as_json.status_code, as_json.json()["code"]) == (401, "unauthenticated")
    assert is_closed(as_page)
    assert is_closed(as_json)


@pytest.mark.parametrize("address", addresses(READ | STREAMS))
def test_a_page_is_framed_kept_and_fetched_by_nobody_else(pages, address):
    foreign = [
        pages.get(address, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode})
        for site in ("cross-site", "same-site")
        for mode in ("no-cors", "cors", "same-origin")
    ]

    assert {answer.status_code for answer in foreign} == {403}
    assert all("team" not in answer.headers.get("Location", "") for answer in foreign)
    assert all(is_closed(answer) for answer in foreign)
    assert is_closed(pages.get(address))


@pytest.mark.parametrize("address", addresses(ACTS))
def test_nothing_acts_but_a_form_of_this_very_session(desk, stranger, address):
    with browser(desk, desk.admin_token) as client, browser(desk, desk.admin_token) as other:
        words = {"word": word_of(client)}
        del client.headers["Sec-Fetch-Site"]
        foreign = [client.post(address, data=words, headers=headers) for headers in ELSEWHERE]
        wrong = [
            client.post(address, data=said, headers=FROM_OURS)
            for said in ({}, {"word": "0" * 32}, {"word": word_of(other)}, {"word": "\U0001f600"})
        ]
        still = client.get("/ui/sessions", headers=FROM_OURS)
    anonymous = stranger.post(address, data=words)

    assert {answer.status_code for answer in [*foreign, *wrong]} == {403}
    assert still.status_code == 200  # nobody was logged out by it
    assert anonymous.status_code in {401, 403}
    assert all(is_closed(answer) for answer in [*foreign, *wrong, anonymous])


@pytest.mark.parametrize("method", OTHERS)
def test_a_route_has_one_method(pages, method):
    rows = READ if method == "GET" else ACTS
    for address in rows.values():
        for other in OTHERS[method]:
            if other in {"GET", "POST"} and address in FORMS.values():
                continue
            answer = pages.request(other, address.format(run=RUN, verdict=RUN))
            assert answer.status_code in {404, 405}, (other, address)
            assert is_closed(answer), (other, address)
