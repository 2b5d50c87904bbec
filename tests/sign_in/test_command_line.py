"""Signing a command line in: it waits, somebody types its code into a browser, and what it keeps is a token of ours."""

import re
import sys
import threading

import pytest
import sqlalchemy as sa

from deltareg.client import Client, ClientConfig
from deltareg.db.session import read, write
from deltareg.db.sql.clock import now_us
from deltareg.db.tables import device_requests, sign_ins
from deltareg.errors import Misconfigured
from deltareg.host.token_files import read_token
from deltareg.service.access.sign_in import devices
from deltareg.service.access.tokens import hash_secret
from tests.fixtures.openid import browsing, come_back, sign_in, way_out
from tests.pages.conftest import FROM_OURS

CODE = re.compile(r"[B-Z]{4}-[B-Z]{4}")


@pytest.fixture
def browser():
    with browsing() as client:
        yield client


@pytest.fixture
def stranger(desk):
    return desk.http()


def ask(stranger, machine="anna-laptop"):
    return stranger.post("/sign-in/devices", json={"machine": machine}).raise_for_status().json()


def fetch(stranger, asked):
    return stranger.post("/sign-in/devices:fetch", json={"secret": asked["secret"]})


def confirm(browser, desk, code, who):
    """Type a code, look at what is asked for, and sign in; returns both pages."""
    shown = browser.post(f"{desk.url}/ui/device", data={"code": code}, headers=FROM_OURS)
    left = browser.post(f"{desk.url}/ui/sign-in/acme", data={"device": code}, headers=FROM_OURS)
    return shown, come_back(browser, way_out(left.text), who)


def test_a_command_line_is_signed_in_by_a_code(desk, openid, browser, stranger):
    openid.person("d-1", "anna")
    asked = ask(stranger)
    waits = fetch(stranger, asked).json()

    shown, arrived = confirm(browser, desk, asked["code"].lower().replace("-", " "), "d-1")
    token = fetch(stranger, asked).json()
    again = fetch(stranger, asked)

    assert waits == {"is_waiting": True, "token": ""}
    for told in ("anna-laptop", "127.0.0.1", "Is this you?", "started <code>deltareg auth login</code> yourself"):
        assert told in shown.text
    assert "anna-laptop is signed in" in arrived.text
    assert not any("deltareg-" in each and "sign-in" not in each for each in arrived.headers.get_list("Set-Cookie"))
    who = desk.http(token["token"]).get("/whoami").json()
    assert (who["principal"], who["kind"]) == ("anna", "pat")
    assert again.status_code == 404


def test_no_link_signs_a_stranger_in(desk, openid, browser, stranger):
    asked = ask(stranger, "mallory")

    page = browser.get(f"{desk.url}/ui/device?code={asked['code']}")
    straight = browser.get(f"{desk.url}/ui/sign-in/acme?device={asked['code']}")
    sent = browser.post(
        f"{desk.url}/ui/sign-in/acme", data={"device": asked["code"]}, headers={"Sec-Fetch-Site": "cross-site"}
    )

    assert f'value="{asked["code"]}"' not in page.text
    assert straight.status_code == 405
    assert sent.status_code == 403
    assert fetch(stranger, asked).json()["is_waiting"]


@pytest.mark.parametrize("code", ["", "BBBB-BBBB", "' OR 1=1 --", "<script>", "x" * 500, "\x00"])
def test_a_code_that_nothing_waits_with_is_refused(desk, browser, code):
    shown = browser.post(f"{desk.url}/ui/device", data={"code": code}, headers=FROM_OURS)
    left = browser.post(f"{desk.url}/ui/sign-in/acme", data={"device": code or "-"}, headers=FROM_OURS)

    assert (shown.status_code, left.status_code) == (401, 401)
    assert "<script>" not in shown.text
    assert "http-equiv" not in left.text


def test_a_code_is_good_for_ten_minutes_and_once(desk, openid, browser, stranger):
    openid.person("d-2", "ben")
    late, used = ask(stranger), ask(stranger)
    confirm(browser, desk, used["code"], "d-2")
    with write(desk.registry.engine) as conn:
        late_hash = hash_secret(late["secret"])
        update = sa.update(device_requests).where(device_requests.c.device_hash == late_hash)
        conn.execute(update.values(expires_at=now_us()))

    for asked in (late, used):
        answer = browser.post(f"{desk.url}/ui/device", data={"code": asked["code"]}, headers=FROM_OURS)
        assert answer.status_code == 401
    assert fetch(stranger, late).status_code == 404


def test_a_machine_is_shown_as_text_and_never_more(desk, browser, stranger):
    asked = ask(stranger, "<b>you</b>\u202e\x1b[2J\n")

    shown = browser.post(f"{desk.url}/ui/device", data={"code": asked["code"]}, headers=FROM_OURS)

    assert "&lt;b&gt;you&lt;/b&gt;[2J</b>" in shown.text
    assert "\u202e" not in shown.text


def test_one_address_lets_few_wait(desk, stranger):
    with write(desk.registry.engine) as conn:
        conn.execute(sa.delete(device_requests))
    answers = [stranger.post("/sign-in/devices", json={}).status_code for _ in range(22)]
    with write(desk.registry.engine) as conn:
        conn.execute(sa.delete(device_requests))

    assert answers == 20 * [201] + 2 * [503]


def test_a_secret_is_no_token_and_a_token_no_secret(desk, stranger):
    asked = ask(stranger)

    assert desk.http(asked["secret"]).get("/whoami").status_code == 401
    assert fetch(stranger, {"secret": desk.admin_token[:100]}).status_code == 404
    assert fetch(stranger, {"secret": asked["code"]}).status_code == 404


def test_auth_login_signs_in_and_auth_logout_out(desk, openid, browser, shell, monkeypatch):
    openid.person("d-3", "carl")
    monkeypatch.setattr(devices, "INTERVAL_S", 0)
    monkeypatch.setenv("DELTAREG_SERVER", desk.url)
    monkeypatch.setattr("deltareg_cli.invocation.is_terminal", lambda _: True)
    monkeypatch.delenv("CI", raising=False)
    opened = []

    def type_the_code(page):
        opened.append(page)
        (code,) = CODE.findall(sys.stderr.getvalue())  # type: ignore[union-attr]  # the shell's own
        thread = threading.Thread(target=confirm, args=(browser, desk, code, "d-3"))
        thread.start()
        return True

    monkeypatch.setattr("webbrowser.open", type_the_code)

    ended = shell("auth", "login")
    token = read_token(desk.url)
    status = shell("auth", "status", "--json")
    out = shell("auth", "logout")

    assert ended.status == 0, ended.err
    assert opened == [f"{desk.url}/ui/device"]
    assert token is not None
    assert token.startswith("drg_pat_")
    assert status.json["principal"] == "carl"
    assert out.status == 0
    assert read_token(desk.url) is None
    assert desk.http(token).get("/whoami").status_code == 401


def test_a_script_is_told_to_bring_a_token(desk, shell, monkeypatch):
    monkeypatch.setenv("DELTAREG_SERVER", desk.url)

    ended = shell("auth", "login", "--no-input")

    assert ended.status == 2
    assert "--token-stdin" in ended.err


def test_plain_http_to_elsewhere_is_refused_before_anything_is_asked():
    config = ClientConfig(server="http://deltas.example")
    with Client(config) as client, pytest.raises(Misconfigured, match="plain http"):
        client.signins.ask_to_sign_in("here")


def test_command_lines_are_listed_and_ended_by_their_owner_alone(desk, openid, browser, stranger):
    openid.person("d-4", "dora")
    openid.person("d-5", "eve")
    asked = ask(stranger, "gpu-box")
    confirm(browser, desk, asked["code"], "d-4")
    token = fetch(stranger, asked).json()["token"]
    sign_in(browser, desk.url, "d-4")
    text = browser.get(f"{desk.url}/ui/sessions").text
    word = text.partition('name="word" value="')[2].partition('"')[0]
    with read(desk.registry.engine) as conn:
        number = conn.execute(sa.select(sa.func.max(sign_ins.c.id)).where(sign_ins.c.machine == "gpu-box")).scalar()
    path = f"{desk.url}/ui/sessions/machines/{number}/end"

    with browsing() as other:
        sign_in(other, desk.url, "d-5")
        theirs = other.get(f"{desk.url}/ui/sessions").text
        their_word = theirs.partition('name="word" value="')[2].partition('"')[0]
        refused = other.post(path, data={"word": their_word}, headers=FROM_OURS)
    still = desk.http(token).get("/whoami").status_code
    ended = browser.post(path, data={"word": word}, headers=FROM_OURS)

    assert "gpu-box" in text
    assert "gpu-box" not in theirs
    assert (refused.status_code, still, ended.status_code) == (404, 200, 303)
    assert desk.http(token).get("/whoami").status_code == 401
    assert browser.get(f"{desk.url}/ui/deltas").status_code == 200


def test_identities_are_listed_and_linked_by_command(desk, openid, browser, shell, monkeypatch):
    openid.person("d-6", "fred", email="fred@acme.example", email_verified=True)
    desk.token("read", principal="fred")
    sign_in(browser, desk.url, "d-6")
    monkeypatch.setenv("DELTAREG_SERVER", desk.url)
    monkeypatch.setenv("DELTAREG_TOKEN", desk.admin_token)

    listed = shell("identity", "ls", "--json").json
    (own,) = [each for each in listed["items"] if each["subject"] == "d-6"]
    linked = shell("identity", "link", str(own["id"]), "fred")
    gone = shell("identity", "link", "99999", "fred")

    assert own["principal"] == "fred-2"
    assert "is fred now" in linked.out
    assert "fred@acme.example" in shell("identity", "ls").out
    assert gone.status == 3
