"""Policies and suites written in a browser: read and saved as elsewhere, and tried before that."""

import pytest

from tests.pages.conftest import browser, word_of

LINE = "/ui/deltas/team/lora"
DEV = f"{LINE}/channels/dev/policy"
PROD = f"{LINE}/channels/prod/policy"
SUITE = "name: mine\nabout: our own\nchecks: [digests, finite, effect]\n"
FORMS = [DEV, "/ui/policy", "/ui/policy?namespace=team", "/ui/suites/-/new"]


def send(client, path, text, act="try", **form):
    shown = client.get(
        path, params={"format": "json"} if "?" not in path else None, headers={"Accept": "application/json"}
    ).json()
    said = {"seen": shown["written"]["seen"], "reason": "as agreed"} | form
    sent = {"word": word_of(client), "text": text, "act": act, **said}
    return client.post(path, data=sent)


def policy_of(desk, channel="prod"):
    return desk.client(("read",), principal="looker").channels.policy("team/lora", channel)


def test_a_policy_says_what_it_would_say_of_what_is_served(desk, pages):
    before = policy_of(desk)
    shown = pages.get(PROD).text
    tried = send(pages, PROD, "kinds: [ia3]\r\napprovals: 2\r\n")

    assert "- smoke" in shown
    assert tried.status_code == 200
    assert "What it would say of what is served today" in tried.text
    for told in ("allowed", "not met", "at the next move", "kind"):
        assert told in tried.text
    assert "kinds: [ia3]\napprovals: 2\n" in tried.text  # what was written is still there
    assert policy_of(desk) == before


def test_what_it_would_say_is_what_the_gate_says_once_it_is_saved(desk, pages):
    text = "suites: [smoke]\nindependent: 2\n"
    tried = send(pages, PROD, text).text
    saved = send(pages, PROD, text, act="save")
    served = desk.client(("read",), principal="looker").channels.show("team/lora", "prod")
    rules = desk.client(("read",), principal="looker").gate(served.ref, "prod").unmet
    undone = send(pages, PROD, "suites: [smoke]\n", act="save")

    assert (saved.status_code, undone.status_code) == (303, 303)
    assert saved.headers["Location"] == f"{LINE}/channels/prod/standing"
    assert rules
    assert all(f"<b>{rule.rule}</b>" in tried for rule in rules)
    assert policy_of(desk).policy == {"suites": ["smoke"]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("suites: [smoke]\napprovals: many\n", "Line 2: <code>approvals: many</code>"),
        ("suites: [smoke]\nsurprise: 1\n", "surprise"),
        ("suites: [smoke\n", "no valid YAML"),
        ("- a\n", "mapping"),
        ("a: &x [*x]", "alias"),
        ("suites: [nowhere]\n", "there is no suite"),
        ("kinds: [none]\n", "none"),
        ("freeze: [{from: x}]\n", "freeze"),
        ("", ""),
        ("suites: !!python/name:os.system x", "tag"),
    ],
)
@pytest.mark.parametrize("act", ["try", "save"])
def test_what_is_wrong_is_told_at_its_line_and_what_was_written_stays(desk, pages, text, told, act):
    before = policy_of(desk, "dev")
    answer = send(pages, DEV, text, act=act)

    assert answer.status_code in {404, 422}
    assert told in answer.text
    assert "Nothing was saved" in answer.text
    assert text.split("\n")[0].replace("&", "&amp;") in answer.text
    assert policy_of(desk, "dev") == before


@pytest.mark.parametrize("path", [DEV, "/ui/policy?namespace=team"])
def test_what_somebody_else_saved_meanwhile_is_not_overwritten(pages, path):
    answer = send(pages, path, "approvals: 1\n", act="save", seen="sha256:" + "0" * 64)

    assert answer.status_code == 412
    assert "was changed meanwhile" in answer.text
    assert "approvals: 1" in answer.text


def test_a_floor_is_tried_on_every_channel_below_it(pages):
    for path in ("/ui/policy?namespace=team", "/ui/policy"):
        tried = send(pages, path, "kinds: [ia3]\n")
        assert tried.status_code == 200
        assert "@prod" in tried.text
        assert "asked by" in tried.text
    assert send(pages, "/ui/policy", "approvals: 1\n", act="save", reason="").status_code == 422
    saved = send(pages, "/ui/policy?namespace=team", "evidence: shapes\n", act="save")
    shown = pages.get("/ui/policy?namespace=team&format=json").json()
    undone = send(pages, "/ui/policy?namespace=team", "{}\n", act="save")

    assert (saved.status_code, undone.status_code) == (303, 303)
    assert (shown["written"]["text"], shown["why"]) == ("evidence: shapes\n", "as agreed")


def test_a_suite_is_kept_tried_and_changed(desk, pages):
    kept = send(pages, "/ui/suites/-/new", SUITE, act="save")
    asks = send(pages, DEV, "suites: [mine]\n", act="save")
    desk.http(desk.admin_token).post(
        "/deltas/team/lora/channels/dev/revisions",
        headers={"If-Match": '"r0"'},
        json={"kind": "promote", "version": 1, "reason": "x"},
    )
    listed, shown = pages.get("/ui/suites").text, pages.get("/ui/suites/mine").text
    edit = "/ui/suites/mine/edit"
    tried = send(pages, edit, SUITE.replace("effect]", "effect, deterministic]"))
    stale = send(pages, edit, SUITE + "seed: 7\n", act="save", seen="")
    changed = send(pages, edit, SUITE + "seed: 7\n", act="save")

    assert (kept.status_code, kept.headers["Location"]) == (303, "/ui/suites/mine")
    assert asks.status_code == 303
    assert "our own" in listed
    assert "finite" in shown
    assert "mine v2" in tried.text
    assert stale.status_code == 412
    assert changed.status_code == 303
    versions = pages.get("/ui/suites/mine?format=json").json()["versions"]
    assert [each["version"] for each in versions] == [2, 1]
    send(pages, DEV, "suites: [smoke]\n", act="save")


def test_a_suite_says_of_who_asks_for_it_that_it_has_to_pass_again(desk, pages):
    send(pages, "/ui/suites/-/new", SUITE.replace("mine", "own"), act="save")
    send(pages, PROD, "suites: [smoke, own]\n", act="save")
    tried = send(pages, "/ui/suites/own/edit", SUITE.replace("mine", "own") + "seed: 9\n")
    send(pages, PROD, "suites: [smoke]\n", act="save")

    assert "@prod" in tried.text
    assert "not met" in tried.text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: smoke\nchecks: [effect]\n", "built-in"),
        ("name: x\n", "checks"),
        ("name: x\nchecks: [nowhere]\n", "nowhere"),
        ("name: [\n", "line"),
        ("name: x\nchecks: [{check: perplexity, probes: p}]\nsets: {p: {file: p.jsonl}}\n", ""),
    ],
)
@pytest.mark.parametrize("act", ["try", "save"])
def test_a_suite_that_is_none_is_told_so(pages, text, told, act):
    answer = send(pages, "/ui/suites/-/new", text, act=act)

    assert answer.status_code in {409, 422}
    assert told in answer.text
    assert "Nothing was saved" in answer.text


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("act", ["try", "save"])
def test_who_may_not_change_it_sees_the_text_and_no_form(desk, path, act):
    with browser(desk, desk.token("read", "promote", principal="reader-2")) as reader:
        shown = reader.get(path)
        answer = send(reader, path, "approvals: 1\n", act=act)

    assert shown.status_code == 200
    assert "<textarea" not in shown.text
    assert '<pre class="log"' in shown.text
    assert answer.status_code == 403


def test_a_word_of_another_session_saves_nothing(pages):
    answer = pages.post(DEV, data={"word": "0" * 32, "text": "{}", "act": "save"})

    assert answer.status_code == 403
