"""Logging in: what a code, a token and a cookie are good for, and for how long."""

import httpx
import pytest
import sqlalchemy as sa

from deltareg.db.session import write
from deltareg.db.sql.clock import now_us
from deltareg.db.tables import audit, sessions, tokens
from deltareg.pages.guard import own_path
from deltareg.service.access.tokens import mint_secret
from tests.pages.conftest import FROM_OURS, browser, word_of

LEFT = {"Accept": "text/html"}
ELSEWHERE = [
    "//evil.example",
    "https://evil.example",
    "/\\evil.example",
    "/ui//evil.example/..//",
    "/ui\\@evil.example",
    "javascript:alert(1)",
    "/uix",
    "/api/v1/whoami",
    "/ui/\r\nX: y",
    "/ui/../api",
    " /ui/",
    "/ui/%0d%0aSet-Cookie:x",
    "/ui/?a=<b>",
    "\t//evil.example",
    "",
]


@pytest.fixture(scope="module")
def desk(shared_registry):
    """Take what many modules share: nothing here asks for more than a line."""
    return shared_registry


@pytest.fixture
def stranger(desk):
    with httpx.Client(base_url=desk.url, headers=LEFT | FROM_OURS, timeout=30) as client:
        yield client


def code_of(desk, token=None):
    return desk.http(token or desk.admin_token).post("/sessions").json()["code"]


def test_a_code_is_good_once(desk, stranger):
    code = code_of(desk)

    first = stranger.post("/ui/login", data={"code": code, "next": "/ui/deltas"})
    stranger.cookies.clear()
    second = stranger.post("/ui/login", data={"code": code})

    assert (first.status_code, first.headers["Location"]) == (303, "/ui/deltas")
    assert (second.status_code, second.cookies) == (401, httpx.Cookies())
    assert "this code was used before, or is too old" in second.text


def test_a_code_is_good_for_a_minute(desk, stranger):
    code = code_of(desk)
    with write(desk.registry.engine) as conn:
        conn.execute(sa.update(sessions).where(sessions.c.code_hash.is_not(None)).values(expires_at=now_us()))

    assert stranger.post("/ui/login", data={"code": code}).status_code == 401


def test_a_code_is_no_session_and_no_token(desk, stranger):
    code = code_of(desk)

    as_cookie = stranger.get("/ui/deltas", headers={"Cookie": f"{name_of(desk)}={code}"})
    as_token = desk.http(code).get("/whoami")

    assert as_cookie.headers["Location"].startswith("/ui/login?")
    assert as_token.status_code == 401


def name_of(desk):
    return f"deltareg-{desk.url.rpartition(':')[2]}"


def test_a_pasted_token_is_not_kept(desk, stranger):
    answer = stranger.post("/ui/login", data={"token": f" {desk.admin_token}\n"})

    kept = answer.headers["Set-Cookie"]
    assert answer.status_code == 303
    assert desk.admin_token not in kept
    assert "HttpOnly" in kept
    assert "Path=/ui" in kept
    assert "SameSite=lax" in kept
    assert "Secure" not in kept
    assert stranger.get("/ui/deltas").status_code == 200


@pytest.mark.parametrize("token", ["", "nonsense", mint_secret("pat", choose=lambda _: "a")])
def test_nobodys_token_is_refused(stranger, token):
    answer = stranger.post("/ui/login", data={"token": token})

    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    assert 'role="alert"' in answer.text


def test_a_worker_has_nothing_to_look_at(desk, stranger):
    token = desk.token("verify", principal="worker-9", kind="wrk")

    pasted = stranger.post("/ui/login", data={"token": token})
    asked = desk.http(token).post("/sessions")

    assert (pasted.status_code, asked.status_code) == (403, 403)


def test_where_tls_ends_the_cookie_is_of_this_host_alone(desk):
    with httpx.Client(headers=LEFT) as client:
        answer = client.post(
            f"{desk.url}/ui/login", data={"token": desk.admin_token}, headers=FROM_OURS | {"Host": "localhost"}
        )
    assert answer.headers["Set-Cookie"].startswith("deltareg-80=")
    from starlette.requests import Request

    from deltareg.pages.cookie import _name, bound_to

    scope = {
        "type": "http",
        "scheme": "http",
        "path": "/ui/",
        "query_string": b"",
        "server": ("x", 80),
        "headers": [(b"host", b"registry.example.org")],
    }
    assert _name(Request(scope)) == "__Host-deltareg"
    assert bound_to(Request(scope)) == ""


def test_who_is_not_logged_in_is_led_to_the_login_and_back(stranger):
    answer = stranger.get("/ui/deltas?q=lora")
    twin = stranger.get("/ui/deltas?format=json")

    assert answer.headers["Location"] == "/ui/login?next=%2Fui%2Fdeltas%3Fq%3Dlora"
    assert (twin.status_code, twin.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_login_leads_nowhere_else(desk, stranger, path):
    answer = stranger.post("/ui/login", data={"token": desk.admin_token, "next": path})

    assert own_path(path) == "/ui"
    assert answer.headers["Location"] == "/ui"


def test_a_login_takes_over_no_secret_that_was_there(desk, stranger):
    stranger.cookies.set(name_of(desk), "chosen-by-somebody-else")
    answer = stranger.post("/ui/login", data={"code": code_of(desk)})

    assert "chosen-by-somebody-else" not in answer.headers["Set-Cookie"]
    again = stranger.get("/ui/", headers={"Cookie": f"{name_of(desk)}=chosen-by-somebody-else"})
    assert again.headers["Location"].startswith("/ui/login")


def test_a_code_of_another_site_is_not_sent_by_itself(desk, stranger):
    ours = stranger.get("/ui/login", headers={"Sec-Fetch-Site": "none"})
    theirs = stranger.get("/ui/login", headers={"Sec-Fetch-Site": "cross-site"})

    assert 'data-direct="yes"' in ours.text
    assert 'data-direct="no"' in theirs.text
    assert "Another site sent you here" in theirs.text


def test_who_logs_out_is_out_at_once(desk):
    with browser(desk, desk.admin_token) as client:
        cookie = client.cookies[name_of(desk)]
        answer = client.post("/ui/logout", data={"word": word_of(client)})
        again = client.get("/ui/", headers={"Cookie": f"{name_of(desk)}={cookie}"})

    assert answer.headers["Location"] == "/ui/login?out=yes"
    assert again.headers["Location"].startswith("/ui/login")


def test_the_owner_ends_a_session_and_nobody_else_does(desk):
    ada, bob = desk.token("read", principal="ada-2"), desk.token("read", principal="bob-2")
    with browser(desk, ada) as first, browser(desk, ada) as second, browser(desk, bob) as other:
        listed = first.get("/ui/sessions?format=json").json()
        mine, theirs = listed["this"], {each["id"] for each in listed["sessions"]["items"]}
        (second_id,) = theirs - {mine}
        path = f"/ui/sessions/{second_id}/end"

        refused = other.post(path, data={"word": word_of(other)})
        still = second.get("/ui/").status_code
        ended = first.post(path, data={"word": word_of(first)})

        assert (refused.status_code, still, ended.status_code) == (404, 200, 303)
        assert second.get("/ui/").status_code == 303
        assert first.get("/ui/").status_code == 200
    http = desk.http(ada)
    assert [each["id"] for each in http.get("/sessions").json()["items"]] == [mine]
    assert http.delete(f"/sessions/{mine}").status_code == 204
    assert http.delete(f"/sessions/{mine}").status_code == 404


@pytest.mark.parametrize("column", ["expires_at", "used_at", "bound_to"])
def test_a_session_ends_with_its_time_without_use_and_with_the_server(desk, column):
    late = {"expires_at": now_us(), "used_at": now_us() - 9 * 3600 * 1_000_000, "bound_to": "other"}
    with browser(desk, desk.token("read", principal="ada-3")) as client:
        with write(desk.registry.engine) as conn:
            newest = sa.select(sa.func.max(sessions.c.id)).scalar_subquery()
            conn.execute(sa.update(sessions).where(sessions.c.id == newest).values({column: late[column]}))
        assert client.get("/ui/").status_code == 303


def test_a_session_ends_with_its_token_and_may_no_more(desk):
    token = desk.token("read", principal="ada-4")
    with browser(desk, token) as client:
        assert client.get("/ui/").status_code == 200
        assert client.get("/ui/audit").status_code == 403
        with write(desk.registry.engine) as conn:
            newest = sa.select(sa.func.max(tokens.c.id)).scalar_subquery()
            conn.execute(sa.update(tokens).where(tokens.c.id == newest).values(revoked_at=now_us()))
        assert client.get("/ui/").status_code == 303


def test_logins_are_in_the_audit_trail(desk):
    with browser(desk, desk.token("read", principal="ada-5")) as client:
        client.post("/ui/logout", data={"word": word_of(client)})

    with desk.registry.engine.connect() as conn:
        found = conn.execute(
            sa.select(audit.c.action, audit.c.subject).where(audit.c.actor == "ada-5").order_by(audit.c.id)
        ).all()
    assert [row.action for row in found] == ["session.begin", "session.end"]
    assert found[0].subject == found[1].subject


def test_sessions_hold_hashes_alone(desk):
    with browser(desk, desk.admin_token) as client:
        secret = client.cookies[name_of(desk)]
    with desk.registry.engine.connect() as conn:
        rows = conn.execute(sa.select(sessions)).all()

    assert rows
    assert all(secret not in str(row) for row in rows)


def test_the_root_leads_browsers_to_the_pages(desk):
    with httpx.Client(base_url=desk.url) as client:
        person = client.get("/", headers=LEFT)
        script = client.get("/")

    assert (person.status_code, person.headers["Location"]) == (303, "/ui")
    assert script.json() == {"api": "/api/v1", "pages": "/ui"}
