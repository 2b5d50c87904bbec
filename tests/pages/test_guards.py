"""Other sites: what they can make a browser do here, and what they can see of it. Nothing."""

import pytest
from fastapi.routing import iter_route_contexts

from deltareg.wire import API
from tests.api.test_authz import BODIES, HEADERS, MATRIX, NAMES, QUERIES
from tests.pages.conftest import browser, word_of

PATH = "/ui/deltas/team/lora/channels/dev/move"
FREEZE = {"kind": "freeze", "reason": "x", "revision": "0"}
STRANGE = {
    "another site": {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    "another port of the host": {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"},
    "typed": {"Sec-Fetch-Site": "none"},
    "an old browser, elsewhere": {"Origin": "https://evil.example"},
    "an old browser, another port": {"Origin": "http://127.0.0.1:1"},
    "an old browser, a sandbox": {"Origin": "null"},
    "an old browser, an address that is none": {"Origin": "http://["},
    "nobody says": {},
}
KEPT = (
    "Content-Security-Policy",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "Referrer-Policy",
    "Cross-Origin-Opener-Policy",
    "Cross-Origin-Resource-Policy",
)


@pytest.fixture(scope="module")
def desk(shared_registry):
    """Take what many modules share: nothing here asks for more than a line."""
    return shared_registry


@pytest.mark.parametrize("headers", STRANGE.values(), ids=STRANGE)
def test_what_comes_from_elsewhere_does_nothing(desk, headers):
    with browser(desk, desk.admin_token) as client:
        form = FREEZE | {"word": word_of(client)}
        del client.headers["Sec-Fetch-Site"]
        moved = client.post(PATH, data=form, headers=headers)
        login = client.post("/ui/login", data={"token": desk.admin_token}, headers=headers)
        logout = client.post("/ui/logout", data=form, headers=headers)

    assert (moved.status_code, login.status_code, logout.status_code) == (403, 403, 403)
    assert "Set-Cookie" not in login.headers
    assert desk.client().channels.show("team/lora", "dev").revision == 0


@pytest.mark.parametrize("name", ["Host", "Referer", "Origin"])
def test_an_address_that_is_none_is_no_fault_of_the_server(desk, name):
    with browser(desk, desk.admin_token) as client:
        word = word_of(client)
        answers = [
            client.request(method, path, headers={name: "http://["}, data=data)
            for method, path, data in (("GET", "/ui/", None), ("GET", "//[", None), ("POST", PATH, {"word": word}))
        ]

    assert all(answer.status_code < 500 for answer in answers)


def test_an_old_browser_is_told_by_its_origin(desk):
    with browser(desk, desk.admin_token) as client:
        del client.headers["Sec-Fetch-Site"]
        word = word_of(client)
        answer = client.post("/ui/logout", data={"word": word}, headers={"Origin": desk.url})

    assert answer.status_code == 303


@pytest.mark.parametrize("word", ["", "0" * 32, "of another session"])
def test_a_form_holds_the_word_of_its_own_session(desk, word):
    with browser(desk, desk.admin_token) as client, browser(desk, desk.admin_token) as other:
        said = word_of(other) if "another" in word else word
        answer = client.post(PATH, data=FREEZE | {"word": said})

    assert answer.status_code == 403
    assert desk.client().channels.show("team/lora", "dev").revision == 0


def test_a_page_is_fetched_by_no_other_site(pages):
    asked = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    linked = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}

    assert pages.get("/ui/deltas?format=json", headers=asked).status_code == 403
    assert pages.get("/ui/deltas", headers=linked).status_code == 200


@pytest.mark.parametrize(
    "path", ["/ui/", "/ui/login", "/ui/nowhere", "/ui/deltas?format=json", "/ui/find?q=team/lora", "/ui/audit"]
)
def test_nothing_is_kept_framed_or_guessed_at(pages, path):
    answer = pages.get(path)

    assert answer.headers["Cache-Control"] == "no-store"
    assert all(answer.headers[name] for name in KEPT)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


def test_a_cookie_opens_no_route_of_the_api(desk):
    routes = sorted(
        f"{method} {route.path}"
        for route in iter_route_contexts(desk.app.routes)
        for method in route.methods or ()
        if method != "HEAD" and (route.path or "").startswith(API)
    )
    closed = [route for route in routes if MATRIX[route] != ["nobody"]]
    assert len(closed) > 100

    with browser(desk, desk.admin_token) as client:
        client.cookies.set("__Host-deltareg", next(iter(client.cookies.values())))
        for route in closed:
            method, _, path = route.partition(" ")
            answer = client.request(
                method,
                path.format(**NAMES, agent="a"),
                params=QUERIES.get(route),
                json=BODIES.get(route),
                headers=HEADERS.get(route),
            )
            assert answer.status_code == 401, route


def test_a_token_opens_no_page(desk):
    http = desk.http(desk.admin_token)
    answer = http.get(f"{desk.url}/ui/deltas?format=json")

    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["..%2fapp.py", "pages.css", "%2e%2e", "pages.000000000000.css"])
def test_no_file_but_its_own_is_sent(pages, path):
    assert pages.get(f"/ui/static/{path}").status_code == 404


def test_files_are_named_by_what_they_hold_and_kept_for_ever(pages):
    text = pages.get("/ui/login").text
    path = text.partition('<link rel="stylesheet" href="')[2].partition('"')[0]
    answer = pages.get(path)

    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Type"].startswith("text/css")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
