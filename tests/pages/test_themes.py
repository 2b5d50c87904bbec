"""The scheme of the pages: the browser's, or the one that somebody chose, without scripts."""

import httpx
import pytest

from tests.pages.conftest import FROM_OURS, word_of


@pytest.fixture(scope="module")
def desk(shared_registry):
    return shared_registry


@pytest.fixture
def client(desk):
    with httpx.Client(base_url=desk.url, headers={"Accept": "text/html", **FROM_OURS}) as client:
        yield client


def choose(client, theme, back="/ui/login"):
    return client.post("/ui/theme", data={"theme": theme, "back": back})


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_scheme_is_chosen_kept_and_given_up_again(client, theme):
    before = client.get("/ui/login").text
    chosen = choose(client, theme)
    shown = client.get("/ui/login").text
    choose(client, "")

    assert "data-theme" not in before
    assert (chosen.status_code, chosen.headers["Location"]) == (303, "/ui/login")
    kept = chosen.headers["Set-Cookie"]
    assert all(sign in kept for sign in ("Path=/ui", "HttpOnly", "SameSite=lax"))
    assert f'<html lang="en" data-theme="{theme}">' in shown
    assert f'value="{theme}" aria-pressed="true"' in shown
    assert "data-theme" not in client.get("/ui/login").text


def test_an_address_may_say_it_and_what_is_none_is_not_taken(client):
    assert 'data-theme="dark"' in client.get("/ui/login?theme=dark").text
    assert "data-theme" not in client.get("/ui/login?theme=x%22%20onload=").text
    assert "data-theme" not in client.get("/ui/login", headers={"Cookie": "deltareg-theme=<b>"}).text
    assert choose(client, "<b>").status_code == 422


def test_nobody_chooses_for_somebody_else_or_leads_them_away(client):
    elsewhere = client.post("/ui/theme", data={"theme": "dark"}, headers={"Sec-Fetch-Site": "cross-site"})

    assert elsewhere.status_code == 403
    assert choose(client, "dark", "//evil.example").headers["Location"] == "/ui"
    assert choose(client, "dark", "https://evil.example/ui/").headers["Location"] == "/ui"


def test_one_comes_back_to_where_one_was(pages):
    text = pages.get("/ui/deltas?verdict=fail&theme=dark").text

    assert 'name="back" value="/ui/deltas?verdict=fail"' in text
    assert word_of(pages)
