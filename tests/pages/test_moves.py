"""What is done from a page is what the API does: by the same rules, into the same ledger."""

import pytest

from tests.pages.conftest import browser, word_of

LINE = "/ui/deltas/team/lora"
PROD = f"{LINE}/channels/prod"


@pytest.fixture(scope="module")
def two(desk):
    """Give browsers of who made what lies on the desk, and of somebody else who may approve."""
    others = desk.token("read", "approve", "promote", principal="mara")
    maker = desk.token("read", "push", "promote", "approve", principal="maker")
    with browser(desk, maker) as first, browser(desk, others) as second:
        yield first, second


def post(client, path, **form):
    return client.post(path, data={"word": word_of(client), **form})


def revision_of(desk, line, channel):
    return desk.client(("read",), principal="looker").channels.show(line, channel).revision


def test_a_second_person_approves_and_the_channel_moves(desk, two):
    maker, mara = two
    waits = maker.get("/ui/requests/1?format=json").json()
    own = post(maker, "/ui/requests/1/decide", decision="approve")
    unsaid = post(mara, "/ui/requests/1/decide", decision="reject")

    seen = mara.get("/ui/requests/1")
    given = post(mara, "/ui/requests/1/decide", decision="approve", reason="looks right")

    assert (waits["may_approve"], waits["may_withdraw"]) == (False, True)
    assert own.status_code == 403
    assert "somebody else has to approve" in own.text
    assert unsaid.status_code == 422
    assert "Yours is the last that is due" in seen.text
    assert (given.status_code, given.headers["Location"]) == (303, "/ui/requests/1?done=approve")
    assert "You approved it." in mara.get(given.headers["Location"]).text
    assert maker.get("/ui/requests/1?done=approve&format=json").json()["done"] == ""
    after = mara.get("/ui/requests/1?format=json").json()["request"]
    assert (after["state"], after["revision"]) == ("promoted", 1)
    ledger = mara.get(f"{LINE}/channels/staging?format=json").json()
    assert ledger["now"]["version"] == 2
    assert post(mara, "/ui/requests/1/decide", decision="nothing").status_code == 422


def test_a_rollback_says_where_it_goes_and_goes_there(desk, two):
    maker, _ = two
    before = maker.get(f"{PROD}/rollback?format=json").json()
    stale = post(maker, f"{PROD}/move", kind="rollback", revision="1", reason="x")
    done = post(
        maker,
        f"{PROD}/move",
        kind="rollback",
        version=str(before["readiness"]["version"]),
        revision=str(before["revision"]),
        reason="p95 doubled",
    )

    assert (before["serves"], before["readiness"]["version"]) == (2, 1)
    assert [agent["agent"] for agent in before["agents"]] == ["host-1"]
    assert stale.status_code == 412
    assert "somebody moved it meanwhile" in stale.text.replace("\n", " ")
    assert (done.status_code, done.headers["Location"]) == (303, f"{PROD}?done=3")
    shown = maker.get(done.headers["Location"]).text
    assert 'serves <a href="/ui/deltas/team/lora/v1">v1</a> again' in shown
    assert "1 of 1 agent does not serve yet what @prod says, v1:" in shown
    assert "<b>host-1</b> serves v1 of another digest" in shown
    assert 'data-hx-trigger="every 5s"' in shown
    assert maker.get(f"{PROD}?done=2&format=json").json()["done"] is None
    ledger = maker.get(f"{PROD}?format=json").json()
    newest = ledger["revisions"]["items"][0]
    assert (newest["kind"], newest["version"], newest["reason"]) == ("rollback", 1, "p95 doubled")
    assert ledger["quarantined"] == [2]

    cleared = post(maker, f"{PROD}/clear", version="2", reason="it was the proxy")
    assert cleared.status_code == 303
    assert maker.get(f"{PROD}?format=json").json()["quarantined"] == []


def test_the_gate_refuses_here_what_it_refuses_there(desk, two):
    maker, _ = two
    at = str(revision_of(desk, "team/lora", "prod"))

    refused = post(maker, f"{PROD}/move", kind="promote", version="3", revision=at, reason="x")

    assert refused.status_code == 409
    assert "failed suite smoke" in refused.text
    assert str(revision_of(desk, "team/lora", "prod")) == at


def test_a_channel_is_frozen_and_moves_again(desk, two):
    maker, _ = two
    path = f"{LINE}/channels/dev"
    frozen = post(maker, f"{path}/move", kind="freeze", revision="0", reason="holidays")
    shown = maker.get(f"{path}/freeze")
    promoted = post(maker, f"{path}/move", kind="promote", version="1", revision="1", reason="x")
    thawed = post(maker, f"{path}/move", kind="unfreeze", revision="1", reason="over")

    assert (frozen.status_code, promoted.status_code, thawed.status_code) == (303, 409, 303)
    assert 'name="kind" value="unfreeze"' in shown.text
    assert "frozen" in promoted.text
    assert revision_of(desk, "team/lora", "dev") == 2


@pytest.mark.parametrize(
    "form",
    [
        {"kind": "delete"},
        {"kind": "rollback", "version": "x"},
        {"kind": "promote"},
        {"kind": "freeze", "revision": "-1"},
        {"kind": "freeze", "revision": "9" * 30},
        {"kind": "freeze", "reason": "a\0b", "revision": "0"},
        {},
    ],
)
def test_a_form_that_is_none_of_ours_is_refused(two, form):
    answer = post(two[0], f"{LINE}/channels/dev/move", **({"revision": "0"} | form))

    assert answer.status_code in {400, 412, 422}


def test_who_may_only_read_moves_nothing(desk):
    with browser(desk, desk.token("read", principal="reader-1")) as reader:
        moved = post(reader, f"{PROD}/move", kind="freeze", revision="1", reason="x")
        decided = post(reader, "/ui/requests/1/decide", decision="approve")
        listed = reader.get("/ui/?format=json").json()["moved"]

    assert (moved.status_code, decided.status_code) == (403, 403)
    assert not any(each["may_move"] for each in listed)


def test_a_run_is_cancelled_and_carried_out_again(desk, two):
    maker, _ = two
    desk.client().verify("team/lora:v1", again=True)
    (run,) = [
        each for each in maker.get("/ui/runs?format=json").json()["runs"]["items"] if each["ref"] == "team/lora:v1"
    ]
    shown = maker.get(f"/ui/runs/{run['id']}")
    cancelled = post(maker, f"/ui/runs/{run['id']}/act", act="cancel")
    again = post(maker, f"/ui/runs/{run['id']}/act", act="cancel")
    repeated = post(maker, f"/ui/runs/{run['id']}/act", act="rerun")

    assert 'data-hx-trigger="every 3s"' in shown.text
    assert (cancelled.status_code, again.status_code, repeated.status_code) == (303, 409, 303)
    assert repeated.headers["Location"] != f"/ui/runs/{run['id']}"
