"""What somebody has to know stands where they look for it, and leads to what they can do."""

import pytest

from deltareg.wire import AgentReport, Observed
from tests.fixtures.registries import SAMPLES
from tests.folders import naming_base
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
        by_own = own.post(f"{LINE}/channels/dev/review", data={"word": word_of(own), "revision": "1", "reason": "fine"})
        may = [client.get(f"{standing}?format=json").json() for client in (mara, own)]
        done = mara.post(f"{LINE}/channels/dev/review", data=form | {"reason": "it was right"})
        after = home_of(mara)
        ledger = mara.get(f"{LINE}/channels/dev").text

    assert [(each["channel"], each["to_review"], each["revision"]) for each in odd] == [("dev", 1, 2)]
    assert f'href="{standing}#to-review">Review…' in shown
    assert (unsaid.status_code, by_own.status_code) == (422, 403)
    assert [(each["may_review"], each["overdue"]) for each in may] == [([1], []), ([], [])]
    assert (done.status_code, done.headers["Location"]) == (303, f"{LINE}/channels/dev#r1")
    assert "mara, who reviewed it:</span> it was right" in ledger
    assert (after["odd"], after["is_all"], after["seen"]) == ([], True, 2)


def test_where_nothing_is_to_go_back_to_nothing_is_alarming_and_nothing_is_offered(night):
    maker = night.token("read", "promote", principal="maker")
    with browser(night, maker) as own:
        before = own.get("/ui/").text
        dev = f"{LINE}/channels/dev"
        form = {"word": word_of(own), "kind": "rollback", "revision": "2", "reason": "slow"}
        moved = own.post(f"{dev}/move", data=form)  # what is kept away there is not kept away here
        elsewhere = own.get("/ui/").text
        form = {"word": word_of(own), "kind": "rollback", "revision": "2", "reason": "slow"}
        own.post(f"{PROD}/move", data=form)
        after, way = own.get("/ui/").text, own.get(f"{PROD}/rollback").text
        never = own.get(f"{LINE}/channels/staging").text
        first = own.get(f"{LINE}/channels/staging/rollback").text

    offer = f'href="{PROD}/rollback"'
    assert moved.status_code == 303
    assert (offer in before, offer in elsewhere, offer in after) == (True, True, False)
    assert "v2 was served too and rolled back" in way
    assert "Ready to roll back?" not in never
    assert "It serves nothing yet" in first
    assert all("st bad" not in page for page in (way, first))


def test_what_cannot_be_done_is_not_offered_and_whom_to_ask_is_named(desk):
    maker = desk.token("read", "push", "promote", "approve", principal="maker")
    reader = desk.token("read", principal="looker")
    with browser(desk, maker) as own, browser(desk, reader) as looker:
        failed = own.get(f"{PROD}/promote?version=v3").text
        served = own.get(f"{PROD}/promote?version=v2").text
        waits = own.get(f"{LINE}/v2/gate?channel=staging").text
        asked = own.get(f"{LINE}/channels/staging/promote?version=v1").text
        page = own.get(f"{LINE}/v2").text
        seen = [looker.get(path).text for path in (f"{PROD}/promote?version=v1", f"{LINE}/v1")]
        form = {"word": word_of(looker), "kind": "rollback", "revision": "2", "reason": "x"}
        refused = looker.post(f"{PROD}/move", data=form).text

    button = '<button class="primary">'
    assert [button in each for each in (failed, served, asked)] == [False, False, True]
    assert "The gate does not let it through" in failed
    assert "@prod serves v2 already" in served
    assert "accept_warnings" not in asked
    assert "not deleted" in waits
    assert "v2 waits for approvals to go to @staging; all else is met" in waits
    assert '<a class="btn" href="/ui/requests/1">Request 1</a>' in waits
    assert "<option selected>staging</option>" in waits
    assert ">@prod</a> serves it" in page
    assert ('/move"' in seen[0], "Promote…" in seen[1]) == (False, False)
    assert "deltareg member add team looker --role" in refused


def test_a_version_that_was_rolled_back_says_so_wherever_it_is_decided_on(desk):
    maker = desk.token("read", "push", "promote", "approve", principal="maker")
    mara = desk.token("read", "approve", principal="mara")
    with browser(desk, maker) as own, browser(desk, mara) as other:
        never = other.get(f"{LINE}/channels/staging").text
        waits = other.get(LINE).text
        form = {"word": word_of(own), "kind": "rollback", "version": "1", "revision": "2"}
        own.post(f"{PROD}/move", data=form | {"reason": "p95 doubled"})
        request, version, line = (other.get(path).text for path in ("/ui/requests/1", f"{LINE}/v2", LINE))
        form = {"word": word_of(other), "decision": "approve", "reason": ""}
        other.post("/ui/requests/1/decide", data=form)
        ledger = other.get(f"{LINE}/channels/staging").text
        own.post(f"{PROD}/clear", data={"word": word_of(own), "version": "2", "reason": "the proxy"})
        cleared = other.get(f"{LINE}/v2").text

    for page in (never, waits, version):
        assert '<a href="/ui/requests/1">Request 1</a> of maker waits for approval' in page
    for page in (request, version):
        assert "v2 was rolled back from" in page
        assert "p95 doubled" in page
    assert "rolled back from @prod" in line
    assert "smoke" in request
    assert f'<a href="{LINE}/v2">team/lora:v2</a>' in request.replace("<wbr>", "")
    assert "by mara" in ledger
    assert 'who approved <a href="/ui/requests/1">request 1</a> of maker: for the weekend' in ledger
    assert "was rolled back from" not in cleared
    assert ">@prod</a> serves it" not in cleared


def test_a_version_for_another_base_is_promoted_by_a_word_of_its_own(local_registry, tmp_path):
    maker = local_registry.line("lora")
    maker.bases.push(SAMPLES / "bases" / "tinyllama_other", "other")
    maker.push(
        naming_base(SAMPLES / "deltas" / "tinyllama" / "lora", "other", tmp_path / "lora"), "team/lora", base="other"
    )
    local_registry.verified("team/lora:v2")
    maker.channels.set_policy("team/lora", "staging", {"approvals": 1}, reason="two people")
    maker.promote("team/lora:v1", "staging", break_glass=True, reason="the first")
    token = local_registry.token("read", "promote", principal="mara")

    with browser(local_registry, token) as mara:
        page = mara.get(f"{PROD}/promote?version=v2").text
        form = {"word": word_of(mara), "kind": "promote", "version": "2", "revision": "1", "reason": "x"}
        refused = mara.post(f"{PROD}/move", data=form)
        done = mara.post(f"{PROD}/move", data=form | {"new_base": "yes"})
        mara.post(f"{LINE}/channels/staging/move", data=form | {"new_base": "yes"})
        request = mara.get("/ui/requests/1").text
        back = mara.get(f"{PROD}/rollback").text

    assert "Change its base from tinyllama to other" in page
    assert "--channel prod --new-base" in page
    assert (refused.status_code, done.status_code) == (409, 303)
    assert "its hosts would need another base" in refused.text
    assert "changes from <b>tinyllama</b> to <b>other</b>" in request
    assert "hosts need tinyllama again: the channel serves other now" in back


def test_who_serves_what_was_revoked_is_told_on_the_first_page_and_in_the_fleet(local_registry):
    maker = local_registry.line("lora")
    host = local_registry.client(("read", "serve"), principal="host")
    digest = maker.show("team/lora:v1").digest
    serves = [Observed(channel="team/lora@prod", revision=1, version=1, digest=digest)]
    host._api.send("PUT", "/fleet/agents/host-1", body=AgentReport(engine="dir", every_s=60, serves=serves))
    maker.versions.revoke("team/lora:v1", reason="wrong data", even_if_served=True)

    with browser(local_registry, local_registry.token("read", principal="mara")) as mara:
        home, fleet = mara.get("/ui/").text, mara.get("/ui/fleet?of=team/lora:v1").text

    assert "serves v1 (revoked)" in home
    assert "host-1" in fleet
    assert "1 of 1 out of step" in fleet


def test_a_channel_that_was_rolled_back_and_is_well_is_not_shown_in_red(local_registry):
    maker = local_registry.line("lora", "lora_v2")
    maker.rollback("team/lora", "prod", reason="slow")

    with browser(local_registry, local_registry.token("read", principal="mara")) as mara:
        home = mara.get("/ui/").text

    moved = home[home.index("Moved last") :]
    assert "rolled back</span>" in moved
    assert "st bad" not in moved
