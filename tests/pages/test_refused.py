"""A form that is refused: its page again, with why, with what was written, and a way on."""

import pytest

from tests.pages.conftest import browser, word_of
from tests.pages.test_pages import LINE, PROD, Checked

WHY = "because </textarea><script>alert(1)</script> of p95"
MENU = 'aria-label="Parts of the registry"'


@pytest.fixture(scope="module")
def mover(desk):
    with browser(desk, desk.token("read", "approve", "promote", principal="mara")) as client:
        yield client


def post(client, path, **form):
    return client.post(path, data={"word": word_of(client), **form})


def whole(answer):
    page = Checked()
    page.feed(answer.text)
    assert page.open == []
    assert "<script>alert" not in answer.text
    return answer.text


@pytest.mark.parametrize(
    ("path", "form", "status", "page"),
    [
        (f"{PROD}/move", {"kind": "promote", "version": "1", "revision": "0"}, 412, f"{PROD}/promote?version=1"),
        (f"{PROD}/move", {"kind": "rollback", "version": "1", "revision": "0"}, 412, f"{PROD}/rollback"),
        (f"{PROD}/move", {"kind": "freeze", "revision": "2", "until": "soon"}, 422, f"{PROD}/freeze"),
        ("/ui/requests/1/decide", {"decision": "perhaps"}, 422, "/ui/requests/1"),
    ],
)
def test_a_refused_form_is_shown_again_with_what_stood_in_it(mover, path, form, status, page):
    answer = post(mover, path, reason=WHY, **form)
    shown = whole(answer)

    assert answer.status_code == status
    assert "Nothing was done:" in shown
    assert MENU in shown
    assert f'data-here="{page}"' in shown
    assert "because &lt;/textarea&gt;&lt;script&gt;alert(1)&lt;/script&gt; of p95</textarea>" in (shown)
    assert mover.get(page).status_code == 200
    assert f'action="{path}"' in shown
    told = post(mover, f"{path}?format=json", reason=WHY, **form)
    assert told.json()["status"] == status


def test_a_prompt_is_not_lost_where_asking_is_refused(mover):
    sent = {"prompt": WHY, "a": "v1", "b": "v2", "form": "chat", "tokens": "0", "seed": "7"}
    answer = post(mover, f"{LINE}/ask/act", **sent)
    shown = whole(answer)

    assert answer.status_code == 422
    assert "because &lt;/textarea&gt;" in shown
    assert '<option value="chat" selected>' in shown
    assert 'name="seed" inputmode="numeric" pattern="[0-9]{1,9}" value="7"' in shown


def test_a_rejection_without_a_reason_is_asked_for_one(mover):
    shown = whole(post(mover, "/ui/requests/1/decide", decision="reject"))

    assert "a rejection needs a reason" in shown
    assert "Method not allowed" not in shown


def test_what_a_form_shows_again_is_what_stands_now(pages):
    seen = post(pages, f"{PROD}/move", kind="rollback", version="1", revision="0", reason=WHY)

    assert seen.status_code == 412
    assert f'name="revision" value="{pages.get(f"{PROD}?format=json").json()["revision"]}"' in (whole(seen))


def test_an_error_keeps_the_menu_and_leads_back(mover):
    nowhere = mover.get("/ui/no/such/page").text
    looked_at = mover.get(f"{PROD}/move")
    from_form = mover.post(f"{PROD}/move", data={"word": "x"}, headers={"Referer": f"http://x{PROD}/promote?version=1"})
    from_afar = mover.post(f"{PROD}/move", data={"word": "x"}, headers={"Referer": "http://evil.example//evil"})

    assert MENU in nowhere
    assert (looked_at.status_code, "Try again" in looked_at.text) == (405, False)
    assert MENU in looked_at.text
    assert f'href="{PROD}/promote?version=1">Back to where you were' in from_form.text
    assert "evil" not in from_afar.text
    assert f'href="{LINE}/v99">Try again' in mover.get(f"{LINE}/v99").text


def test_who_is_not_logged_in_sees_no_menu(desk):
    with browser(desk, desk.admin_token) as client:
        client.cookies.clear()
        assert MENU not in client.get("/ui/no/such/page").text
