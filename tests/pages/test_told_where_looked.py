"""What somebody has to know stands where they look for it, and leads to what they can do."""

import pytest

from tests.pages.conftest import browser, word_of

LINE = "/ui/deltas/team/lora"
PROD = f"{LINE}/channels/prod"


@pytest.fixture
def night(local_registry):
    """Give a registry where somebody broke the glass and moved the channel again since."""
    maker = local_registry.line("lora", "lora_v2")
    maker.promote("team/lora:v2", "dev", reason="no time", break_glass=True)
    maker.promote("team/lora:v1", "dev", reason="the other one after all")
    return local_registry


def home_of(client):
    return client.get("/ui/?format=json").json()


def test_a_move_that_broke_the_glass_waits_on_the_first_page_until_it_is_reviewed(night):
    others = night.token("read", "approve", principal="mara")
    maker = night.token("read", "push", "promote", "approve", principal="maker")
    standing = f"{LINE}/channels/dev/standing"
    with browser(night, others) as mara, browser(night, maker) as own:
        odd = home_of(mara)["odd"]
        shown = mara.get("/ui/").text
        form = {"word": word_of(mara), "revision": "1"}
        unsaid = mara.post(f"{LINE}/channels/dev/review", data=form)
        by_own = own.post(
            f"{LINE}/channels/dev/review",
            data={"word": word_of(own), "revision": "1", "reason": "fine"},
        )
        may = [client.get(f"{standing}?format=json").json() for client in (mara, own)]
        done = mara.post(f"{LINE}/channels/dev/review", data=form | {"reason": "it was right"})
        after = home_of(mara)

    assert [(each["channel"], each["to_review"], each["revision"]) for each in odd] == [
        ("dev", True, 2)
    ]
    assert f'href="{standing}#to-review">Review…' in shown
    assert (unsaid.status_code, by_own.status_code) == (422, 403)
    assert [(each["may_review"], each["overdue"]) for each in may] == [([1], []), ([], [])]
    assert (done.status_code, done.headers["Location"]) == (303, f"{LINE}/channels/dev#r1")
    assert (after["odd"], after["is_all"], after["seen"]) == ([], True, 2)


def test_where_nothing_is_to_go_back_to_nothing_is_alarming_and_nothing_is_offered(night):
    maker = night.token("read", "promote", principal="maker")
    with browser(night, maker) as own:
        before = own.get("/ui/").text
        form = {"word": word_of(own), "kind": "rollback", "revision": "2", "reason": "slow"}
        own.post(f"{PROD}/move", data=form)
        after, way = own.get("/ui/").text, own.get(f"{PROD}/rollback").text
        never = own.get(f"{LINE}/channels/staging").text
        first = own.get(f"{LINE}/channels/staging/rollback").text

    offer = f'href="{PROD}/rollback"'
    assert (offer in before, offer in after) == (True, False)
    assert "v2 was served too and rolled back" in way
    assert "Ready to roll back?" not in never
    assert "It serves nothing yet" in first
    assert all("st bad" not in page for page in (way, first))
